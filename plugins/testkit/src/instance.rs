//! A connected instance, and the answers it gives.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use evbus_abi::v1::{
    BatchOutcomeV1, BatchV1, CompletionV1, FateV1, InstanceV1, LimitsV1, OutcomeCodeV1, OutcomeV1,
};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::seen::Recorder;
use crate::{Seen, TestEvent};

/// The longest wait between two attempts of [`Instance::publish_all`], unless the plugin asks for a longer one.
const MAX_BACKOFF: Duration = Duration::from_millis(500);

/// One connected instance of a provider. Dropping it drops the plugin's instance without a close.
#[derive(Debug)]
pub struct Instance {
    instance: InstanceV1,
    recorder: Recorder,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The far system acknowledged it.
    Accepted,
    /// To be retried.
    Retry {
        /// Why.
        reason: String,
        /// Not before this time has passed, if the plugin said so.
        after: Option<Duration>,
    },
    /// Never to be retried.
    Rejected {
        /// Why.
        reason: String,
    },
    /// The plugin dropped the batch without an answer; a host retries it.
    Dropped,
}

impl Outcome {
    /// What the plugin said; empty when it said nothing.
    pub fn reason(&self) -> &str {
        match self {
            Self::Retry { reason, .. } | Self::Rejected { reason } => reason,
            Self::Accepted | Self::Dropped => "",
        }
    }

    /// Whether nothing more is to be done for the event.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Accepted | Self::Rejected { .. })
    }
}

impl From<OutcomeV1> for Outcome {
    fn from(outcome: OutcomeV1) -> Self {
        let reason = outcome.reason.into();
        match outcome.code {
            OutcomeCodeV1::ACCEPTED => Self::Accepted,
            OutcomeCodeV1::REJECTED => Self::Rejected { reason },
            // An unknown code counts as retry.
            _ => Self::Retry {
                reason,
                after: (outcome.retry_after_ms > 0)
                    .then(|| Duration::from_millis(outcome.retry_after_ms.into())),
            },
        }
    }
}

/// The answer to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// One outcome per event, in the batch's order.
    pub outcomes: Vec<Outcome>,
    /// What became of the instance.
    pub fate: FateV1,
    /// How many exceptions were about events that the batch does not have; a host ignores them.
    pub beyond: usize,
}

impl Answer {
    fn new(events: usize, answer: Option<BatchOutcomeV1>) -> Self {
        let Some(answer) = answer else {
            return Self {
                outcomes: vec![Outcome::Dropped; events],
                fate: FateV1::WORKS,
                beyond: 0,
            };
        };
        let mut outcomes = vec![Outcome::from(answer.all); events];
        let mut beyond = 0;
        for exception in answer.exceptions {
            match outcomes.get_mut(exception.index as usize) {
                Some(outcome) => *outcome = exception.outcome.into(),
                None => beyond += 1,
            }
        }
        Self {
            outcomes,
            fate: answer.instance,
            beyond,
        }
    }
}

/// A batch on its way; a future of its outcomes, one per event. The batch was handed over when this
/// was made, so it need not be polled to get on.
#[must_use = "the outcomes are what a test is about"]
pub struct Published {
    events: usize,
    answer: oneshot::Receiver<Option<BatchOutcomeV1>>,
}

impl Published {
    /// The whole answer, with what holds for the batch as such.
    pub async fn answer(self) -> Answer {
        // A dropped sender means the same as a dropped completion.
        Answer::new(self.events, self.answer.await.ok().flatten())
    }
}

impl Future for Published {
    type Output = Vec<Outcome>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Vec<Outcome>> {
        let events = self.events;
        Pin::new(&mut self.answer)
            .poll(context)
            .map(|answer| Answer::new(events, answer.ok().flatten()).outcomes)
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published")
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl Instance {
    pub(crate) fn new(instance: InstanceV1, recorder: Recorder) -> Self {
        Self { instance, recorder }
    }

    /// How the instance wants its batches.
    pub fn limits(&self) -> LimitsV1 {
        self.instance.limits
    }

    /// Hands over one batch as it is, whatever the limits say.
    pub fn publish(&self, events: Vec<TestEvent>) -> Published {
        let (done, answer) = oneshot::channel();
        let completion = CompletionV1::new(move |outcome| {
            // The test may have given up.
            let _ = done.send(outcome);
        });
        let count = events.len();
        let owner = (events, self.recorder.hold_batch());
        let batch = BatchV1::new(owner, count, |(events, _), views| {
            for event in events {
                views.push(event.view(), event.attributes());
            }
        });
        self.instance.publish(batch, completion);
        Published {
            events: count,
            answer,
        }
    }

    /// Publishes events as a host would: in batches within the limits, with retries and backoff,
    /// for at most the given time. Gives each event's last outcome; events that were never answered
    /// are [`Outcome::Dropped`]. Ends early when the plugin asks for a new instance.
    pub async fn publish_all(&self, events: Vec<TestEvent>, within: Duration) -> Vec<Outcome> {
        let deadline = Instant::now() + within;
        let in_flight = self.instance.limits.max_in_flight.max(1) as usize;
        let mut last = vec![Outcome::Dropped; events.len()];
        let mut waiting: VecDeque<(usize, TestEvent)> = events.into_iter().enumerate().collect();
        let mut flying = JoinSet::new();
        let mut backoff = Duration::from_millis(10);
        loop {
            while flying.len() < in_flight && !waiting.is_empty() {
                let batch = self.next_batch(&mut waiting);
                let published =
                    self.publish(batch.iter().map(|(_, event)| event.clone()).collect());
                flying.spawn(async move { (batch, published.answer().await) });
            }
            let answered = tokio::time::timeout_at(deadline, flying.join_next()).await;
            let Ok(Some(Ok((batch, answer)))) = answered else {
                return last;
            };
            let mut again = Vec::new();
            let mut pause = Duration::ZERO;
            for ((index, event), outcome) in batch.into_iter().zip(answer.outcomes) {
                if !outcome.is_final() {
                    again.push((index, event.again()));
                }
                if let Outcome::Retry {
                    after: Some(after), ..
                } = outcome
                {
                    pause = pause.max(after);
                }
                last[index] = outcome;
            }
            if answer.fate != FateV1::WORKS {
                return last;
            }
            if again.is_empty() {
                backoff = Duration::from_millis(10);
                continue;
            }
            for retried in again.into_iter().rev() {
                waiting.push_front(retried);
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + pause.max(backoff))).await;
            if Instant::now() >= deadline {
                return last;
            }
            backoff = MAX_BACKOFF.min(backoff * 2);
        }
    }

    /// Takes the events of one batch, within the limits, from the front.
    fn next_batch(&self, waiting: &mut VecDeque<(usize, TestEvent)>) -> Vec<(usize, TestEvent)> {
        let limits = self.instance.limits;
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some((_, event)) = waiting.front() {
            bytes += event.body().len() as u64;
            let full = batch.len() >= limits.max_batch_events.max(1) as usize;
            if !batch.is_empty() && (full || bytes > limits.max_batch_bytes) {
                break;
            }
            batch.extend(waiting.pop_front());
        }
        batch
    }

    /// Asks for an orderly close and waits for it. Returns false if the plugin dropped the call without an answer.
    ///
    /// The instance can still be handed batches, to see that it answers them.
    pub async fn close(&self) -> bool {
        let (done, answer) = oneshot::channel();
        self.instance
            .close(CompletionV1::new(move |closed: Option<()>| {
                // The test may have given up.
                let _ = done.send(closed.is_some());
            }));
        answer.await.unwrap_or(false)
    }

    /// What this instance said so far.
    pub fn seen(&self) -> Seen {
        self.recorder.seen()
    }

    /// Waits until what this instance said meets a condition. False: it did not in time.
    pub async fn wait_until(&self, within: Duration, condition: impl Fn(&Seen) -> bool) -> bool {
        self.recorder.until(within, condition).await
    }
}
