//! The built-in provider `internal`: queues that the embedding program reads itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use evbus_abi::v1::{
    BatchOutcomeV1, BatchV1, CompletionV1, FateV1, InstanceObjectV1, InstanceV1, LimitsV1,
    OutcomeCodeV1, OutcomeV1,
};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Notify;

use crate::lane::ConnectFailure;

/// The provider's name in acct files.
pub const INTERNAL: &str = "internal";

/// How many events wait in one queue. Where nobody reads it, the oldest make room; where somebody
/// does, the destination waits and its own policy decides.
pub const INTERNAL_QUEUE_EVENTS: usize = 65_536;

/// What stands under a profile of `internal`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Names the queue; none or null is the queue with the empty name.
    #[serde(default)]
    routing_key: Option<String>,
}

/// An event as the program itself receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalEvent {
    /// The name it was fired under.
    pub profile: String,
    /// The body, in the form of the host's serial plugin.
    pub body: Bytes,
}

/// One queue per routing key. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct InternalQueues(Arc<Mutex<HashMap<String, Arc<InternalQueue>>>>);

#[derive(Debug, Default)]
struct InternalQueue {
    inner: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<InternalEvent>,
    readers: usize,
    discarded: u64,
}

impl InternalQueues {
    /// Opens the queue of a routing key for reading.
    pub(crate) fn reader(&self, routing_key: &str) -> InternalReader {
        let queue = self.queue(routing_key);
        queue.inner.lock().readers += 1;
        InternalReader { queue }
    }

    fn queue(&self, routing_key: &str) -> Arc<InternalQueue> {
        Arc::clone(self.0.lock().entry(routing_key.to_owned()).or_default())
    }

    /// Faults of a configuration, as path and message.
    pub(crate) fn check(config: &serde_json::Value) -> Vec<(String, String)> {
        match serde_json::from_value::<Config>(config.clone()) {
            Ok(_) => Vec::new(),
            Err(error) => vec![(String::new(), error.to_string())],
        }
    }

    pub(crate) fn connect(&self, config: &str) -> Result<InstanceV1, ConnectFailure> {
        let config: Config = serde_json::from_str(config).map_err(|error| ConnectFailure {
            permanent: true,
            reason: error.to_string(),
        })?;
        let limits = LimitsV1 {
            max_batch_events: 1024,
            max_batch_bytes: u64::MAX,
            max_in_flight: 1,
        };
        let queue = self.queue(config.routing_key.as_deref().unwrap_or_default());
        Ok(InstanceV1::new(InternalInstance { queue }, limits))
    }
}

struct InternalInstance {
    queue: Arc<InternalQueue>,
}

impl InstanceObjectV1 for InternalInstance {
    fn publish(&self, batch: BatchV1, done: CompletionV1<BatchOutcomeV1>) {
        let mut outcome = BatchOutcomeV1 {
            all: OutcomeV1::accepted(),
            exceptions: evbus_abi::RVec::new(),
            instance: FateV1::WORKS,
        };
        let mut waiting = self.queue.inner.lock();
        for (index, event) in batch.events().iter().enumerate() {
            if waiting.events.len() == INTERNAL_QUEUE_EVENTS {
                if waiting.readers > 0 {
                    outcome
                        .exceptions
                        .extend((index..batch.events().len()).map(full));
                    break;
                }
                waiting.events.pop_front();
                waiting.discarded += 1;
                if waiting.discarded == 1 {
                    tracing::warn!(
                        "provider internal: nobody reads the queue, and only its newest {INTERNAL_QUEUE_EVENTS} events are kept"
                    );
                }
            }
            waiting.events.push_back(InternalEvent {
                profile: event.profile.to_string(),
                body: Bytes::copy_from_slice(event.body.as_slice()),
            });
        }
        drop(waiting);
        self.queue.filled.notify_one();
        done.complete(outcome);
    }

    fn close(&self, done: CompletionV1<()>) {
        done.complete(());
    }
}

fn full(index: usize) -> evbus_abi::v1::ExceptionV1 {
    evbus_abi::v1::ExceptionV1 {
        // A batch has at most 1024 events.
        index: u32::try_from(index).unwrap_or(u32::MAX),
        outcome: OutcomeV1 {
            code: OutcomeCodeV1::RETRY,
            retry_after_ms: 10,
            reason: "the internal queue is full; its reader is slow".into(),
        },
    }
}

/// Reads one internal queue. Several readers of one queue share its events.
#[derive(Debug)]
pub struct InternalReader {
    queue: Arc<InternalQueue>,
}

impl InternalReader {
    /// Waits for the next event. Cancel safe.
    pub async fn recv(&mut self) -> InternalEvent {
        loop {
            if let Some(event) = self.try_recv() {
                return event;
            }
            self.queue.filled.notified().await;
        }
    }

    /// The next event, where one waits.
    pub fn try_recv(&mut self) -> Option<InternalEvent> {
        let mut waiting = self.queue.inner.lock();
        let event = waiting.events.pop_front();
        if !waiting.events.is_empty() {
            // There may be another reader of this queue.
            self.queue.filled.notify_one();
        }
        event
    }
}

impl Drop for InternalReader {
    fn drop(&mut self) {
        self.queue.inner.lock().readers -= 1;
    }
}
