//! The provider: batches in, outcomes out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evbus_sdk::tokio;
use evbus_sdk::tokio::sync::Mutex;
use evbus_sdk::tracing;
use evbus_sdk::{
    Batch, ConfigFault, ConnectError, Context, Event, Limits, Outcome, Outcomes, Provider, Task,
};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;

use crate::client::Producer;
use crate::config::{Config, Headers};
use crate::link::Link;
use crate::missing::{Missing, Search};
use crate::outcome::{Undelivered, worse};
use crate::oversize::Singles;
use crate::pace::{self, Pace};
use crate::property_names::OTHER_NAMES;
use crate::reports::{Expected, Failure, Reports};
use crate::{cause, connect, message, oversize, properties};

/// How long a batch waits for the answers to those before it. Together with librdkafka's own attempts
/// (`message.timeout.ms`) less than the host waits for an answer, so that the host learns why there is none.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// How long a batch waits for room in librdkafka's queue before it is returned to the host.
const ROOM_WITHIN: Duration = Duration::from_secs(30);
/// How often it checks for room.
const ROOM_EVERY: Duration = Duration::from_millis(2);

/// An instance: one librdkafka producer, and another where a broker finds message sets too large.
pub struct Kafka {
    producer: Arc<Producer>,
    pub(crate) reports: Arc<Reports>,
    /// Its holder passes messages to librdkafka; the others follow in order.
    turn: Mutex<Pace>,
    pub(crate) singles: Singles,
    pub(crate) link: Arc<Link>,
    watch: Task,
    search: Search,
    /// If empty, the topic is the event's profile name.
    topics: Vec<String>,
    key: Option<String>,
    partition: Option<i32>,
    headers: Headers,
}

/// The result of passing messages to librdkafka.
pub(crate) struct Handed {
    /// The expected reports of the accepted messages.
    pub(crate) expected: Expected,
    /// The messages that were not accepted.
    pub(crate) refused: Vec<Failure>,
}

impl Provider for Kafka {
    const NAMES: &'static [&'static str] = &["kafka"];
    const OTHER_NAMES: &'static [(&'static str, &'static str)] = OTHER_NAMES;
    type Config = Config;

    fn check(config: &Config) -> Result<(), Vec<ConfigFault>> {
        let mut faults = properties::client_config(config).err().unwrap_or_default();
        for (position, topic) in config.topics.as_slice().iter().enumerate() {
            if let Some(fault) = message::topic_fault(topic) {
                faults.push(ConfigFault::of_key(format!("topics[{position}]"), fault));
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    async fn connect(config: Config, context: Context) -> Result<Self, ConnectError> {
        let client_config = properties::client_config(&config).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            ConnectError::permanent(faults.join("; "))
        })?;
        let singles = Singles::new(client_config.clone());
        if client_config.get("request.required.acks") == Some("0") {
            tracing::warn!(
                "`acks: 0`: no broker acknowledges events; an event counts as accepted once it is written to the connection"
            );
        }
        let linger = client_config
            .get("queue.buffering.max.ms")
            .and_then(|linger| linger.parse::<f64>().ok())
            .and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok())
            .unwrap_or_default();
        let topics = config.topics.as_slice().to_vec();
        let connecting = tokio::task::spawn_blocking({
            let (topics, context) = (topics.clone(), context.clone());
            move || connect::connect(client_config, &topics, &context)
        });
        let (producer, reports, link) = connecting.await.map_err(|error| {
            ConnectError::retry(format!("the attempt was interrupted: {error}"))
        })??;
        let producer = Arc::new(producer);
        let watch = Arc::clone(&link).watch(Arc::downgrade(&producer));
        Ok(Self {
            reports,
            turn: Mutex::new(Pace::new(linger)),
            singles,
            link,
            watch: context.spawn(watch),
            search: Search::default(),
            topics,
            key: config.key,
            partition: config.partition,
            headers: config.headers,
            producer,
        })
    }

    /// Batches that fill one request each, and as many as come one by one while the first of them lingers; `Pace` says
    /// when the next is handed over.
    fn limits(&self) -> Limits {
        Limits {
            max_batch_events: pace::batch_events(self.headers, self.fan_out()),
            max_batch_bytes: pace::batch_bytes(self.fan_out()),
            max_in_flight: 4,
        }
    }

    async fn publish(&self, batch: Batch) -> Outcomes {
        let all = 0..batch.len() * self.fan_out();
        let until = tokio::time::Instant::now() + TURN_WITHIN;
        let (handed, answering) = {
            let mut turn = self.turn.lock().await;
            // Brokers that do not answer for so long are out of order.
            let _ = tokio::time::timeout_at(until, turn.admit()).await;
            let answering = turn.begin();
            let handed = self.hand_over(&self.producer, &batch, all).await;
            (handed, answering)
        };
        let mut failures = handed.expected.wait().await;
        answering.answered();
        if failures.iter().any(oversize::is_oversize) {
            failures = oversize::send_singly(self, &batch, failures).await;
        }
        failures.extend(handed.refused);
        self.outcomes(&batch, &failures)
    }

    async fn close(&self) {
        // Every publish was answered, so at most messages of batches that the host gave up remain; nobody waits for
        // them.
        self.watch.end();
    }
}

impl Kafka {
    /// How many messages each event becomes.
    fn fan_out(&self) -> usize {
        self.topics.len().max(1)
    }

    /// The event and the topic of the message at a position of a batch.
    fn addressed<'a>(&'a self, batch: &'a Batch, position: usize) -> Option<(Event<'a>, &'a str)> {
        let event = batch.get(position / self.fan_out())?;
        let topic = self.topics.get(position % self.fan_out());
        Some((event, topic.map_or(event.profile(), String::as_str)))
    }

    /// Passes the messages at these positions of a batch to librdkafka, in order. The caller must hold the producer's
    /// turn. Waits only if librdkafka's queue is full.
    pub(crate) async fn hand_over(
        &self,
        producer: &Producer,
        batch: &Batch,
        positions: impl ExactSizeIterator<Item = usize>,
    ) -> Handed {
        let expected = self.reports.expect(positions.len());
        let mut refused = Vec::new();
        let mut room_until = None;
        let mut scratch = Vec::new();
        for (index, position) in positions.enumerate() {
            let ticket = expected.ticket(index);
            while let Err(code) = self.send(producer, batch, position, ticket, &mut scratch) {
                if code == RDKafkaErrorCode::QueueFull {
                    let until = *room_until.get_or_insert_with(|| Instant::now() + ROOM_WITHIN);
                    if Instant::now() < until {
                        tokio::time::sleep(ROOM_EVERY).await;
                        continue;
                    }
                }
                expected.forget(index);
                refused.push((position, code));
                break;
            }
        }
        Handed { expected, refused }
    }

    fn send(
        &self,
        producer: &Producer,
        batch: &Batch,
        position: usize,
        ticket: usize,
        scratch: &mut Vec<u8>,
    ) -> Result<(), RDKafkaErrorCode> {
        let Some((event, topic)) = self.addressed(batch, position) else {
            return Err(RDKafkaErrorCode::InvalidArgument);
        };
        if self.topics.is_empty() && message::topic_fault(topic).is_some() {
            return Err(RDKafkaErrorCode::InvalidTopic);
        }
        let headers = message::headers(self.headers, event, !self.topics.is_empty(), scratch);
        let record = BaseRecord {
            topic,
            partition: self.partition,
            payload: Some(event.body()),
            key: self.key.as_deref(),
            timestamp: Some(message::timestamp(event)),
            headers,
            delivery_opaque: ticket,
        };
        producer.send(record).map_err(|(error, _)| {
            // The only other error is a NUL in the topic's name.
            error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::InvalidTopic)
        })
    }

    /// Starts the search for the missing topic or partition of a failed message.
    fn look_for_missing(&self, batch: &Batch, failures: &[Failure]) {
        for (position, code) in failures {
            let partition = match code {
                RDKafkaErrorCode::UnknownTopic => None,
                RDKafkaErrorCode::UnknownPartition => self.partition,
                _ => continue,
            };
            if let Some((_, topic)) = self.addressed(batch, *position) {
                let topic = topic.to_owned();
                return self
                    .search
                    .begin(&self.producer, Missing { topic, partition });
            }
        }
    }

    /// Why a producer can never send again, if so.
    fn fatal(&self) -> Option<String> {
        let producers = [Some(&*self.producer), self.singles.producer()];
        let mut producers = producers.into_iter().flatten();
        let (code, said) = producers.find_map(|producer| producer.client().fatal_error())?;
        Some(cause::fatal(code, &said))
    }

    fn outcomes(&self, batch: &Batch, failures: &[Failure]) -> Outcomes {
        if failures.is_empty() {
            return Outcomes::accepted();
        }
        let fatal = self.fatal();
        let cause = fatal.clone().or_else(|| self.link.recent());
        let mut of_events = vec![Outcome::Accepted; batch.len()];
        for (position, code) in failures {
            if let Some((event, topic)) = self.addressed(batch, *position) {
                let undelivered = Undelivered {
                    topic,
                    partition: self.partition,
                    bytes: event.body().len(),
                    code: *code,
                };
                let outcome = match (undelivered.outcome(cause.as_deref()), &fatal) {
                    // Whatever the message itself failed for, no other attempt of this producer succeeds.
                    (Outcome::Retry { .. }, Some(fatal)) => Outcome::retry(fatal),
                    (outcome, _) => outcome,
                };
                let of_event = &mut of_events[position / self.fan_out()];
                *of_event = worse(std::mem::replace(of_event, Outcome::Accepted), outcome);
            }
        }
        let outcomes: Outcomes = of_events.into_iter().collect();
        if let Some(fatal) = fatal {
            self.link.failed(fatal);
            return outcomes.rebuild_instance();
        }
        self.look_for_missing(batch, failures);
        outcomes
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.watch.end();
    }
}
