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
use serde_json::Value;
use tokio::sync::Notify;

use evbus_plugin::ConnectFailure;

/// The provider's name in acct files.
pub const INTERNAL: &str = "internal";

/// How many events one queue holds. If nothing reads it, the oldest events make room; otherwise the
/// destination waits and its own policy decides.
pub const INTERNAL_QUEUE_EVENTS: usize = 65_536;

/// How many bytes of bodies and profile names one queue holds; a single larger event is held alone.
pub const INTERNAL_QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// The configuration of an entry of `internal`.
#[derive(Debug, Default, Deserialize)]
struct Config {
    /// The name of the queue; empty if missing or null.
    #[serde(default)]
    routing_key: Option<String>,
}

/// An event as the program itself receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalEvent {
    /// The name it was fired under.
    pub profile: String,
    /// The body, in the host's serial form.
    pub body: Bytes,
}

impl InternalEvent {
    fn size(&self) -> usize {
        self.profile.len() + self.body.len()
    }
}

/// One queue per routing key. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct InternalQueues {
    queues: Arc<Mutex<HashMap<String, Arc<InternalQueue>>>>,
    /// Whether the program has no way to read them.
    unread: bool,
}

#[derive(Debug, Default)]
struct InternalQueue {
    inner: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<InternalEvent>,
    bytes: usize,
    readers: usize,
    discarded: u64,
}

impl Waiting {
    fn has_room(&self, bytes: usize) -> bool {
        self.events.is_empty()
            || (self.events.len() < INTERNAL_QUEUE_EVENTS
                && self.bytes.saturating_add(bytes) <= INTERNAL_QUEUE_BYTES)
    }

    fn push(&mut self, event: InternalEvent) {
        self.bytes += event.size();
        self.events.push_back(event);
    }

    fn pop(&mut self) -> Option<InternalEvent> {
        let event = self.events.pop_front()?;
        self.bytes -= event.size();
        Some(event)
    }
}

impl InternalQueues {
    /// The queues of a program that never reads them.
    pub fn unread() -> Self {
        Self {
            unread: true,
            ..Self::default()
        }
    }

    /// Whether the program may read them.
    pub fn has_reader(&self) -> bool {
        !self.unread
    }

    /// Opens the queue of a routing key for reading.
    pub fn reader(&self, routing_key: &str) -> InternalReader {
        let queue = self.queue(routing_key);
        queue.inner.lock().readers += 1;
        InternalReader { queue }
    }

    fn queue(&self, routing_key: &str) -> Arc<InternalQueue> {
        Arc::clone(
            self.queues
                .lock()
                .entry(routing_key.to_owned())
                .or_default(),
        )
    }

    /// Faults of a configuration, as path and message.
    pub fn check(config: &Value) -> Vec<(String, String)> {
        let Some(keys) = config.as_object() else {
            let message = "expected a mapping with the key routing_key, or nothing";
            return vec![(String::new(), message.to_owned())];
        };
        keys.iter()
            .filter_map(|(key, value)| {
                let message = match value {
                    _ if key != "routing_key" => {
                        "found an unknown key, expected one of: routing_key"
                    }
                    Value::String(_) | Value::Null => return None,
                    _ => "found a value that is not a string, expected a string or nothing",
                };
                Some((key.clone(), message.to_owned()))
            })
            .collect()
    }

    /// Creates the instance of an entry with this configuration.
    ///
    /// # Errors
    ///
    /// The configuration is not valid for `internal`.
    pub fn connect(&self, config: &str) -> Result<InstanceV1, ConnectFailure> {
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
            let size = event.profile.len() + event.body.len();
            if waiting.readers > 0 && !waiting.has_room(size) {
                outcome
                    .exceptions
                    .extend((index..batch.events().len()).map(full));
                break;
            }
            while !waiting.has_room(size) {
                waiting.pop();
                waiting.discarded += 1;
                if waiting.discarded == 1 {
                    tracing::warn!(
                        "provider internal: nothing reads the queue; keeping only its newest events, up to {INTERNAL_QUEUE_EVENTS} and {} MiB",
                        INTERNAL_QUEUE_BYTES / (1024 * 1024)
                    );
                }
            }
            waiting.push(InternalEvent {
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
            reason: "the internal queue is full: its reader is too slow".into(),
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

    /// The next event, if one is waiting.
    pub fn try_recv(&mut self) -> Option<InternalEvent> {
        let mut waiting = self.queue.inner.lock();
        let event = waiting.pop();
        if !waiting.events.is_empty() {
            // Another reader may be waiting for the remaining events.
            self.queue.filled.notify_one();
        }
        event
    }

    /// How many events were discarded for newer ones while nothing read the queue.
    pub fn discarded(&self) -> u64 {
        self.queue.inner.lock().discarded
    }
}

impl Drop for InternalReader {
    fn drop(&mut self) {
        self.queue.inner.lock().readers -= 1;
    }
}

#[cfg(test)]
mod tests {
    use evbus_abi::RSlice;
    use evbus_abi::v1::EventV1;
    use tokio::sync::oneshot;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Passes on one batch of `events` bodies of `bytes` each; returns how many were accepted.
    async fn publish(queues: &InternalQueues, events: usize, bytes: usize) -> usize {
        let instance = queues.connect("{}").expect("there is a queue");
        let body = vec![b'x'; bytes];
        let batch = BatchV1::new(body, events, move |body, views| {
            let event = EventV1 {
                id: [0; 16],
                time_unix_ns: 0,
                attempt: 1,
                profile: "p".into(),
                content_type: "text/plain".into(),
                body: body.as_slice().into(),
                attributes: RSlice::EMPTY,
            };
            (0..events).for_each(|_| views.push(event, []));
        });
        let (sender, answer) = oneshot::channel();
        let done = CompletionV1::new(move |outcome| {
            let _ = sender.send(outcome);
        });
        instance.publish(batch, done);
        let outcome = answer.await.ok().flatten().expect("it answers");
        assert_eq!(outcome.all.code, OutcomeCodeV1::ACCEPTED);
        events - outcome.exceptions.len()
    }

    #[tokio::test]
    async fn a_queue_that_nobody_reads_keeps_the_newest_events_within_its_bytes() {
        let queues = InternalQueues::default();
        assert_eq!(publish(&queues, 400, MIB).await, 400);
        let (bytes, events) = {
            let queue = queues.queue("");
            let waiting = queue.inner.lock();
            (waiting.bytes, waiting.events.len())
        };
        assert!(bytes <= INTERNAL_QUEUE_BYTES, "{bytes} bytes wait");
        assert_eq!(events, 63, "each is a little more than a MiB");
        assert_eq!(queues.reader("").discarded(), 400 - 63);
        assert_eq!(publish(&queues, 1, 2 * INTERNAL_QUEUE_BYTES).await, 1);
        let mut reader = queues.reader("");
        let large = reader.try_recv().expect("it waits alone");
        assert_eq!(large.body.len(), 2 * INTERNAL_QUEUE_BYTES);
        assert_eq!(reader.try_recv(), None);
    }

    #[tokio::test]
    async fn a_queue_with_a_reader_takes_what_it_has_room_for_and_discards_nothing() {
        let queues = InternalQueues::default();
        let mut reader = queues.reader("");
        assert_eq!(publish(&queues, 400, MIB).await, 63);
        assert_eq!(publish(&queues, 1, MIB).await, 0);
        assert!(reader.try_recv().is_some());
        assert_eq!(publish(&queues, 2, MIB).await, 1, "there is room again");
        assert_eq!(reader.discarded(), 0);
    }
}
