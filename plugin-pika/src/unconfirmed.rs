//! Events that were sent on the current connection and not confirmed in time because the broker blocks
//! the connection: it still has them, so they must not be sent again.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use evbus_sdk::{Batch, EventId, Outcome};
use lapin::{Confirmation, ErrorKind};

/// How many outcomes are kept for events that the host has not retried yet. It may never do so, because an event can
/// be given up.
const MOST_SETTLED: usize = 16 * 1024;

/// Waits until the frames are written and the confirm arrives.
type Confirm = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>;

/// An event that was handed to a channel.
pub(crate) struct Sent {
    pub(crate) id: EventId,
    /// Its position in the current batch, if it is in it.
    pub(crate) index: Option<usize>,
    confirm: State,
}

/// lapin queues the frames of a publish when the future is first polled; the rest is waiting. So all publishes of a
/// run are queued one after the other before the first is waited for, and lapin writes them in large pieces. Only the
/// one that is waited for causes wake-ups.
enum State {
    Waiting(Confirm),
    /// It was returned.
    Done,
}

impl Sent {
    /// Queues the frames of a publish in the channel.
    pub(crate) fn start(
        id: EventId,
        index: usize,
        publish: impl Future<Output = lapin::Result<Confirmation>> + Send + 'static,
    ) -> Self {
        let mut sent = Self {
            id,
            index: Some(index),
            confirm: State::Waiting(Box::pin(publish)),
        };
        if let Poll::Ready(output) = sent.poll(&mut Context::from_waker(Waker::noop())) {
            sent.confirm = State::Waiting(Box::pin(ready(output)));
        }
        sent
    }

    /// The confirm, if it has already arrived.
    pub(crate) fn confirmed(&mut self) -> Option<lapin::Result<Confirmation>> {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    /// Waits for the confirm. Cancel safe.
    pub(crate) async fn confirm(&mut self) -> lapin::Result<Confirmation> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<lapin::Result<Confirmation>> {
        match &mut self.confirm {
            State::Waiting(confirm) => {
                let output = std::task::ready!(confirm.as_mut().poll(context));
                self.confirm = State::Done;
                Poll::Ready(output)
            }
            State::Done => Poll::Ready(Err(ErrorKind::FutureCompleted.into())),
        }
    }
}

/// Confirms that one connection still owes. Contains at most one batch, and [`MOST_SETTLED`] outcomes: nothing new is
/// sent before everything in here is confirmed.
#[derive(Default)]
pub(crate) struct Unconfirmed {
    sent: Vec<Sent>,
    /// The outcomes of events that were not in the current batch when their confirms arrived.
    settled: Vec<(EventId, Outcome)>,
}

impl Unconfirmed {
    /// Keeps an event that the broker has.
    pub(crate) fn keep(&mut self, mut sent: Sent) {
        sent.index = None;
        self.sent.push(sent);
    }

    /// Keeps the outcome of an event until the host asks for it.
    pub(crate) fn settle(&mut self, id: EventId, outcome: Outcome) {
        if self.settled.len() >= MOST_SETTLED {
            self.settled.clear();
        }
        self.settled.push((id, outcome));
    }

    /// Returns all events that still have to be confirmed, and records the outcomes of those events of the batch that
    /// have been; each event knows its position in the batch, if it has one.
    pub(crate) fn claim(
        &mut self,
        batch: &Arc<Batch>,
        ledger: &mut [Option<Outcome>],
    ) -> Vec<Sent> {
        if self.sent.is_empty() && self.settled.is_empty() {
            return Vec::new();
        }
        let mut positions: HashMap<EventId, VecDeque<usize>> = HashMap::new();
        for (index, event) in batch.iter().enumerate() {
            positions.entry(event.id()).or_default().push_back(index);
        }
        let mut position = |id: &EventId| positions.get_mut(id).and_then(VecDeque::pop_front);
        self.settled.retain(|(id, outcome)| match position(id) {
            Some(index) => {
                ledger[index] = Some(outcome.clone());
                false
            }
            None => true,
        });
        let mut sent = std::mem::take(&mut self.sent);
        for sent in &mut sent {
            sent.index = position(&sent.id);
        }
        sent
    }
}

impl fmt::Debug for Unconfirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unconfirmed")
            .field("sent", &self.sent.len())
            .field("settled", &self.settled.len())
            .finish()
    }
}
