//! From librdkafka's errors to outcomes.
//!
//! | what happened | outcome |
//! |---|---|
//! | the message is larger than the client, the broker or the topic takes | rejected |
//! | the topic does not exist and the brokers do not create it; its name is invalid | rejected |
//! | a constant `partition` does not exist, or the topic has none | retry: it is looked for, topics can grow |
//! | a partition that the template gives does not exist | rejected: it concerns this event |
//! | the user may not write to the topic, or not at all | rejected |
//! | the brokers find the record invalid (timestamp, format, policy of the topic) | rejected |
//! | everything else: connection, timeouts, change of leader, too few replicas, quotas | retry |
//! | a fatal error of the idempotent producer | retry, on a new instance |
//!
//! An event that goes to several topics is retried when one of them may still take it; rejected
//! when one refuses it and no other is open.

use evbus_sdk::Outcome;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::message::topic_fault;

/// A message that was not delivered.
pub(crate) struct Undelivered<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    /// Whether another event may have another partition.
    pub(crate) is_of_event: bool,
    pub(crate) bytes: usize,
    pub(crate) code: Code,
}

impl Undelivered<'_> {
    /// The outcome of the event. `cause` is the current problem of the producer or a broker, if any.
    pub(crate) fn outcome(&self, cause: Option<&str>) -> Outcome {
        let topic = self.topic;
        match self.code {
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
                Outcome::rejected(format!(
                    "a message with a body of {} bytes is too large for topic `{topic}` (`max_request_size` here, \
                 `message.max.bytes` of the brokers, `max.message.bytes` and `segment.bytes` of the topic)",
                    self.bytes
                ))
            }
            Code::UnknownTopic | Code::UnknownTopicOrPartition => Outcome::rejected(format!(
                "topic `{topic}` does not exist and the brokers do not create it"
            )),
            Code::UnknownPartition if self.is_of_event => Outcome::rejected(format!(
                "topic `{topic}` has no partition {}, which the template of `partition` gives; add \
                 partitions to the topic, or correct the template",
                self.partition.unwrap_or_default()
            )),
            Code::UnknownPartition => Outcome::retry(match self.partition {
                Some(partition) => format!(
                    "topic `{topic}` has no partition {partition}; add partitions to the topic, or \
                     change `partition`"
                ),
                None => format!("topic `{topic}` has no partition"),
            }),
            Code::InvalidTopic => Outcome::rejected(match topic_fault(topic) {
                Some(fault) => format!("the topic {fault}"),
                None => format!("the brokers reject the topic name `{topic}` as invalid"),
            }),
            Code::TopicAuthorizationFailed => Outcome::rejected(format!(
                "the brokers do not allow this user to write to topic `{topic}`"
            )),
            Code::ClusterAuthorizationFailed => Outcome::rejected(format!(
                "the brokers do not allow this user to write to topic `{topic}`: {}",
                self.code
            )),
            Code::Fatal | Code::PurgeQueue | Code::PurgeInflight if cause.is_some() => {
                Outcome::retry(cause.unwrap_or_default())
            }
            Code::InvalidTimestamp
            | Code::InvalidRecord
            | Code::PolicyViolation
            | Code::UnsupportedForMessageFormat => {
                Outcome::rejected(format!("topic `{topic}` does not accept it: {}", self.code))
            }
            Code::MessageTimedOut => Outcome::retry(match cause {
                Some(cause) => format!("topic `{topic}` did not acknowledge in time: {cause}"),
                None => format!("topic `{topic}` did not acknowledge in time"),
            }),
            code => Outcome::retry(format!("topic `{topic}`: {code}")),
        }
    }
}

/// The worse of two outcomes for one event, which is the one that counts.
pub(crate) fn worse(one: Outcome, other: Outcome) -> Outcome {
    match (&one, &other) {
        (Outcome::Accepted, _) | (Outcome::Rejected { .. }, Outcome::Retry { .. }) => other,
        _ => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: Code) -> Outcome {
        let undelivered = Undelivered {
            topic: "t",
            partition: Some(7),
            is_of_event: false,
            bytes: 10,
            code,
        };
        undelivered.outcome(None)
    }

    #[test]
    fn what_another_attempt_cannot_cure_is_rejected_and_all_else_is_retried() {
        for code in [
            Code::MessageSizeTooLarge,
            Code::MessageBatchTooLarge,
            Code::InvalidMessageSize,
            Code::UnknownTopic,
            Code::UnknownTopicOrPartition,
            Code::TopicAuthorizationFailed,
            Code::ClusterAuthorizationFailed,
            Code::InvalidTopic,
            Code::InvalidRecord,
            Code::InvalidTimestamp,
            Code::PolicyViolation,
            Code::UnsupportedForMessageFormat,
        ] {
            assert!(matches!(outcome(code), Outcome::Rejected { .. }), "{code}");
        }
        for code in [
            Code::MessageTimedOut,
            Code::OperationTimedOut,
            Code::RequestTimedOut,
            Code::BrokerTransportFailure,
            Code::AllBrokersDown,
            Code::BrokerNotAvailable,
            Code::LeaderNotAvailable,
            Code::NotLeaderForPartition,
            Code::FencedLeaderEpoch,
            Code::UnknownLeaderEpoch,
            Code::ReplicaNotAvailable,
            Code::NotEnoughReplicas,
            Code::NotEnoughReplicasAfterAppend,
            Code::KafkaStorageError,
            Code::ThrottlingQuotaExceeded,
            Code::PurgeQueue,
            Code::Fatal,
            Code::QueueFull,
            Code::UnknownPartition,
            Code::Unknown,
        ] {
            assert!(matches!(outcome(code), Outcome::Retry { .. }), "{code}");
        }
    }

    #[test]
    fn a_partition_that_only_one_event_asks_for_does_not_hold_up_the_destination() {
        let undelivered = Undelivered {
            topic: "t",
            partition: Some(7),
            is_of_event: true,
            bytes: 10,
            code: Code::UnknownPartition,
        };
        let outcome = undelivered.outcome(None);
        assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
    }

    #[test]
    fn a_topic_that_may_still_take_the_event_outweighs_one_that_refuses_it() {
        let (retry, rejected) = (Outcome::retry("a"), Outcome::rejected("b"));
        assert_eq!(worse(rejected.clone(), retry.clone()), retry);
        assert_eq!(worse(retry.clone(), rejected.clone()), retry);
        assert_eq!(worse(Outcome::Accepted, rejected.clone()), rejected);
        assert_eq!(worse(rejected.clone(), Outcome::Accepted), rejected);
    }
}
