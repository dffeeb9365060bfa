//! Batches that the plugin has not answered yet.

use std::collections::HashMap;
use std::sync::Arc;

use evbus_abi::RSlice;
use evbus_abi::v1::{BatchOutcomeV1, BatchV1, CompletionV1, EventV1, InstanceV1};
use evbus_event::Event;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use super::queued::Queued;

/// An answer: which batch, and the outcome, or nothing where the plugin dropped the completion.
pub(super) type Answer = (u64, Option<BatchOutcomeV1>);

struct Batch {
    events: Arc<Vec<Queued>>,
    deadline: Instant,
}

/// Keeps the events of each batch until they are settled.
pub(super) struct InFlight {
    batches: HashMap<u64, Batch>,
    next: u64,
    // Holds no more messages than batches were handed over, of which at most the plugin's limit
    // is unanswered; late answers of an instance that was given up are taken and ignored.
    sender: mpsc::UnboundedSender<Answer>,
    answers: mpsc::UnboundedReceiver<Answer>,
}

impl InFlight {
    pub(super) fn new() -> Self {
        let (sender, answers) = mpsc::unbounded_channel();
        Self {
            batches: HashMap::new(),
            next: 0,
            sender,
            answers,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// How many events are in them, and when the oldest was fired.
    pub(super) fn events(&self) -> (usize, Option<u64>) {
        let count = self.batches.values().map(|batch| batch.events.len()).sum();
        let events = self
            .batches
            .values()
            .filter_map(|batch| batch.events.first());
        (
            count,
            events.map(|queued| queued.event.time_unix_ns()).min(),
        )
    }

    /// Whether an event that is tried alone is in flight.
    pub(super) fn holds_suspect(&self) -> bool {
        self.batches
            .values()
            .any(|batch| batch.events.first().is_some_and(Queued::is_suspect))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// When the first batch is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.batches.values().map(|batch| batch.deadline).min()
    }

    /// Hands a batch over. The events are shared with the plugin, not copied. `bodies` has the same events with the
    /// bodies that the destination gets in place of their own.
    pub(super) fn publish(
        &mut self,
        instance: &InstanceV1,
        events: Vec<Queued>,
        bodies: Option<Vec<Event>>,
        deadline: Duration,
    ) {
        let number = self.next;
        self.next += 1;
        let events = Arc::new(events);
        let owner = (Arc::clone(&events), bodies);
        let batch = BatchV1::new(owner, events.len(), |(events, bodies), views| {
            for (position, queued) in events.iter().enumerate() {
                let event = match bodies {
                    None => &queued.event,
                    Some(bodies) => &bodies[position],
                };
                views.push(view(queued, event), event.attributes());
            }
        });
        self.batches.insert(
            number,
            Batch {
                events,
                deadline: Instant::now() + deadline,
            },
        );
        let sender = self.sender.clone();
        let done = CompletionV1::new(move |outcome| {
            // The lane may be gone; then nobody wants to know.
            let _ = sender.send((number, outcome));
        });
        instance.publish(batch, done);
    }

    /// Waits for the next answer of a batch that is still in flight. Cancel safe.
    pub(super) async fn answer(&mut self) -> (Arc<Vec<Queued>>, Option<BatchOutcomeV1>) {
        loop {
            // `self.sender` is alive, so the channel never ends.
            if let Some((number, outcome)) = self.answers.recv().await
                && let Some(batch) = self.batches.remove(&number)
            {
                return (batch.events, outcome);
            }
        }
    }

    /// The next answer that is there already.
    pub(super) fn answered(&mut self) -> Option<(Arc<Vec<Queued>>, Option<BatchOutcomeV1>)> {
        while let Ok((number, outcome)) = self.answers.try_recv() {
            if let Some(batch) = self.batches.remove(&number) {
                return Some((batch.events, outcome));
            }
        }
        None
    }

    /// Gives up all batches and returns their events, oldest first. Later answers are ignored.
    pub(super) fn abandon(&mut self) -> Vec<Queued> {
        let mut batches: Vec<_> = self.batches.drain().collect();
        batches.sort_unstable_by_key(|(number, _)| *number);
        batches
            .iter()
            .flat_map(|(_, batch)| batch.events.iter().cloned())
            .collect()
    }
}

fn view<'e>(queued: &Queued, event: &'e Event) -> EventV1<'e> {
    EventV1 {
        id: *event.id().as_bytes(),
        time_unix_ns: event.time_unix_ns(),
        attempt: queued.attempts() + 1,
        profile: (event.profile()).into(),
        content_type: event.content_type().as_str().into(),
        body: (event.body()).into(),
        attributes: RSlice::EMPTY,
    }
}
