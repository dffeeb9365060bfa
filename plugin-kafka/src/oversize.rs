//! Resends messages of sets that a broker finds too large, each in a set of its own.
//!
//! librdkafka sends many messages as one set, and a broker whose limit (or whose topic's limit) is
//! lower than the client's refuses the set as a whole, also for the sake of one message; nothing of
//! it is stored. Which message it was about is found out by a second producer, which makes a set of
//! every message: all of them are under way at the same time, so that it costs the batch one more
//! round trip or a few, however many are too large, and only these are refused. Such messages come
//! after later ones: their order is lost. So the second producer is not idempotent: a connection
//! that breaks while it sends can cost duplicates, as an attempt of the host's can.

use std::sync::Arc;

use evbus_sdk::tokio::sync::{Mutex, OnceCell};
use evbus_sdk::tracing::warn;
use evbus_sdk::{Batch, ConnectError};
use rdkafka::ClientConfig;
use rdkafka::types::RDKafkaErrorCode;

use crate::client::{Client, Producer};
use crate::connect;
use crate::link::Link;
use crate::provider::{Handed, Kafka};
use crate::reports::{Failure, Reports};

/// The producer of single messages, created when it is first needed.
pub(crate) struct Singles {
    config: ClientConfig,
    producer: OnceCell<Producer>,
    /// Its holder sends messages; the others follow in order.
    turn: Mutex<()>,
}

impl Singles {
    /// `config` is that of the ordinary producer.
    pub(crate) fn new(mut config: ClientConfig) -> Self {
        config.set("batch.num.messages", "1");
        config.set("queue.buffering.max.ms", "0");
        // After every refused message, an idempotent producer stops to renumber the others: hundreds of them would
        // take minutes. The order is lost here anyway.
        config.set("enable.idempotence", "false");
        // The batch is sent twice, but must be answered before the host's deadline.
        let timeout = config
            .get("message.timeout.ms")
            .and_then(|ms| ms.parse().ok());
        if let Some(milliseconds) = timeout.filter(|ms: &u32| *ms > 1) {
            config.set("message.timeout.ms", (milliseconds / 2).to_string());
        }
        Self {
            config,
            producer: OnceCell::new(),
            turn: Mutex::new(()),
        }
    }

    /// The producer, if it was ever needed.
    pub(crate) fn producer(&self) -> Option<&Producer> {
        self.producer.get()
    }

    async fn make(
        &self,
        reports: &Arc<Reports>,
        link: &Arc<Link>,
    ) -> Result<&Producer, ConnectError> {
        let client = || Client {
            reports: Arc::clone(reports),
            link: Arc::clone(link),
        };
        self.producer
            .get_or_try_init(async || connect::producer(self.config.clone(), client()))
            .await
    }
}

/// Whether a message failed because of its size, or that of its message set.
pub(crate) fn is_oversize(failure: &Failure) -> bool {
    // `MessageBatchTooLarge` means larger than a segment of the topic.
    matches!(
        failure.1,
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge
    )
}

/// Sends messages that failed because of their size again, one by one, and returns the remaining failures. Takes half
/// of `message.timeout.ms` at most.
pub(crate) async fn send_singly(
    kafka: &Kafka,
    batch: &Batch,
    failures: Vec<Failure>,
) -> Vec<Failure> {
    let (refused, mut remaining): (Vec<_>, Vec<_>) = failures.into_iter().partition(is_oversize);
    warn!(
        messages = refused.len(),
        "a broker refused batches as too large; sending their messages one by one; set `max_batch_size` no higher than the limit of the broker and the topic"
    );
    let mut positions: Vec<usize> = refused.iter().map(|(position, _)| *position).collect();
    positions.sort_unstable();
    let producer = match kafka.singles.make(&kafka.reports, &kafka.link).await {
        Ok(producer) => producer,
        Err(error) => {
            warn!("cannot create the second producer: {error:?}");
            let again = |position| (position, RDKafkaErrorCode::Fail);
            return positions.into_iter().map(again).chain(remaining).collect();
        }
    };
    let Handed { expected, refused } = {
        let _turn = kafka.singles.turn.lock().await;
        kafka
            .hand_over(producer, batch, positions.iter().copied())
            .await
    };
    let failed = expected.wait().await.into_iter();
    remaining.extend(failed.map(|(index, code)| (positions[index], code)));
    remaining.extend(refused);
    remaining
}
