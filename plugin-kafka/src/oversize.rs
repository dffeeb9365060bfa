//! Takes message sets apart that a broker finds too large.
//!
//! librdkafka sends many messages as one set, and a broker whose limit (or whose topic's limit) is
//! lower than the client's refuses the set as a whole, also for the sake of one message. So the
//! messages of a refused set are sent again in halves, and only one that is refused on its own is
//! too large itself. Such messages come after later ones: their order is lost.

use std::time::Duration;

use evbus_sdk::Batch;
use evbus_sdk::tokio;
use evbus_sdk::tracing::warn;
use rdkafka::producer::Producer as _;
use rdkafka::types::RDKafkaErrorCode;

use crate::provider::Kafka;
use crate::reports::Failure;

/// How often it is asked whether nothing is under way any more.
const ALONE_EVERY: Duration = Duration::from_millis(2);

/// Whether a message failed for its size, or for that of the set it was in.
pub(crate) fn is_oversize(failure: &Failure) -> bool {
    // The latter: larger than a segment of the topic.
    matches!(
        failure.1,
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge
    )
}

/// Sends the messages that failed for their size again, in smaller sets, and gives the failures
/// that remain. Holds up the instance's other batches meanwhile, since their messages could
/// otherwise join a set and be what is too large about it.
pub(crate) async fn take_apart(
    kafka: &Kafka,
    batch: &Batch,
    failures: Vec<Failure>,
) -> Vec<Failure> {
    let (refused, mut remaining): (Vec<_>, Vec<_>) = failures.into_iter().partition(is_oversize);
    warn!(
        messages = refused.len(),
        "a broker refused message sets as too large; `max_batch_size` and `max_request_size` should \
         not be above its limit"
    );
    let _turn = kafka.turn.lock().await;
    // Bounded by `message.timeout.ms`.
    while kafka.producer.in_flight_count() > 0 {
        tokio::time::sleep(ALONE_EVERY).await;
    }
    let mut sets: Vec<Vec<usize>> = Vec::new();
    split(
        refused.iter().map(|(position, _)| *position).collect(),
        &mut sets,
    );
    while let Some(set) = sets.pop() {
        let handed = kafka.hand_over(batch, set.iter().copied()).await;
        remaining.extend(handed.refused);
        let failures = handed.expected.wait().await;
        let (refused, others): (Vec<_>, Vec<_>) = failures
            .into_iter()
            .map(|(index, code)| (set[index], code))
            .partition(is_oversize);
        remaining.extend(others);
        if set.len() == 1 {
            remaining.extend(refused);
        } else {
            split(
                refused.iter().map(|(position, _)| *position).collect(),
                &mut sets,
            );
        }
    }
    remaining
}

/// Adds the halves of a set, the earlier messages to be taken first.
fn split(mut set: Vec<usize>, sets: &mut Vec<Vec<usize>>) {
    set.sort_unstable();
    let later = set.split_off(set.len().div_ceil(2));
    sets.extend([later, set].into_iter().filter(|half| !half.is_empty()));
}
