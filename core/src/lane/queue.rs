//! A lane's queue: bounded in events and bytes, and the place where its numbers are kept.
//!
//! Everything that is counted is counted under the queue's own lock, so that at any moment
//! `accepted + dead_lettered + dropped + queued = received`.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use crate::Event;
use crate::acct::QueueLimits;

/// An event that waits for, or is on, its way to the destination.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) event: Arc<Event>,
    /// How many attempts it has had.
    pub(crate) attempts: u32,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// What became of the events of a destination so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Events that were fired and matched.
    pub received: u64,
    /// Events that the far system acknowledged.
    pub accepted: u64,
    /// Events that were rejected, or whose attempts were used up.
    pub dead_lettered: u64,
    /// Events that found no room and were dropped, as the policy says.
    pub dropped: u64,
    /// Events that wait, are in flight, or wait for another attempt.
    pub queued: u64,
    /// Attempts that ended with "try again".
    pub retries: u64,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Queued>,
    /// Waiting, in flight or to be retried: they all take room until they are settled.
    unsettled_events: usize,
    unsettled_bytes: usize,
    /// Room that was promised to events which are not in yet.
    reserved: usize,
    received: u64,
    accepted: u64,
    dead_lettered: u64,
    dropped: u64,
    retries: u64,
    dropping: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: QueueLimits,
    inner: Mutex<Inner>,
    /// The lane's task waits here for events.
    readable: Notify,
    /// Programs that fire wait here for room.
    room: Notify,
    /// Whoever drains the lane waits here.
    empty: Notify,
}

impl Queue {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            inner: Mutex::default(),
            readable: Notify::new(),
            room: Notify::new(),
            empty: Notify::new(),
        }
    }

    fn has_room(&self, inner: &Inner, bytes: usize) -> bool {
        // An event larger than the whole queue is let in when it is alone.
        inner.unsettled_events == 0
            || (inner.unsettled_events < self.limits.events
                && inner.unsettled_bytes.saturating_add(bytes) <= self.limits.bytes)
    }

    /// Puts an event at the end.
    pub(crate) fn push(&self, event: &Arc<Event>) -> Result<(), Full> {
        let bytes = event.size();
        let mut inner = self.inner.lock();
        if !self.has_room(&inner, bytes) {
            return Err(Full);
        }
        inner.unsettled_events += 1;
        inner.unsettled_bytes += bytes;
        self.enter(inner, event);
        Ok(())
    }

    fn enter(&self, mut inner: parking_lot::MutexGuard<'_, Inner>, event: &Arc<Event>) {
        inner.received += 1;
        inner.dropping = false;
        let first = inner.waiting.is_empty();
        inner.waiting.push_back(Queued {
            event: Arc::clone(event),
            attempts: 0,
        });
        drop(inner);
        if first {
            self.readable.notify_one();
        }
    }

    /// Promises room for an event; `push_reserved` or `release` must follow.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<(), Full> {
        let mut inner = self.inner.lock();
        if !self.has_room(&inner, bytes) {
            return Err(Full);
        }
        inner.unsettled_events += 1;
        inner.unsettled_bytes += bytes;
        inner.reserved += 1;
        Ok(())
    }

    /// Puts in an event that room for `promised` bytes was promised to. Its size may have changed
    /// with its serialization.
    pub(crate) fn push_reserved(&self, event: &Arc<Event>, promised: usize) {
        let mut inner = self.inner.lock();
        inner.reserved -= 1;
        inner.unsettled_bytes = inner.unsettled_bytes - promised + event.size();
        self.enter(inner, event);
    }

    /// Gives promised room back.
    pub(crate) fn release(&self, bytes: usize) {
        let mut inner = self.inner.lock();
        inner.reserved -= 1;
        inner.unsettled_events -= 1;
        inner.unsettled_bytes -= bytes;
        drop(inner);
        self.room.notify_waiters();
    }

    /// Counts an event that found no room. Returns whether it is the first of a burst.
    pub(crate) fn count_dropped(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.received += 1;
        inner.dropped += 1;
        !std::mem::replace(&mut inner.dropping, true)
    }

    /// Takes events from the front until one of the limits is reached; at least one where there is
    /// one. `batch` may hold events already; they count.
    pub(crate) fn take(&self, batch: &mut Vec<Queued>, max_events: usize, max_bytes: usize) {
        let mut bytes: usize = batch.iter().map(|queued| queued.event.size()).sum();
        let mut inner = self.inner.lock();
        while batch.len() < max_events.max(1) {
            let Some(next) = inner.waiting.front() else {
                break;
            };
            bytes = bytes.saturating_add(next.event.size());
            if bytes > max_bytes && !batch.is_empty() {
                break;
            }
            batch.extend(inner.waiting.pop_front());
        }
    }

    /// Whether events wait for their first attempt.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.inner.lock().waiting.is_empty()
    }

    /// Resolves when events may wait. Cancel safe.
    pub(crate) async fn readable(&self) {
        if !self.has_waiting() {
            self.readable.notified().await;
        }
    }

    /// Resolves when there may be room again; counts from the moment of this call.
    pub(crate) fn room(&self) -> impl Future<Output = ()> + '_ {
        let mut room = Box::pin(self.room.notified());
        room.as_mut().enable();
        room
    }

    /// Resolves when nothing is unsettled.
    pub(crate) async fn empty(&self) {
        loop {
            let empty = self.empty.notified();
            tokio::pin!(empty);
            empty.as_mut().enable();
            if self.inner.lock().unsettled_events == 0 {
                return;
            }
            empty.await;
        }
    }

    /// Settles events that are over.
    pub(crate) fn settle(&self, settled: Settled) {
        let mut inner = self.inner.lock();
        inner.accepted += settled.accepted;
        inner.dead_lettered += settled.dead_lettered;
        inner.retries += settled.retries;
        // Every settled event was counted in when it was pushed.
        let over = usize::try_from(settled.accepted + settled.dead_lettered).unwrap_or(usize::MAX);
        inner.unsettled_events -= over;
        inner.unsettled_bytes -= settled.bytes;
        let empty = inner.unsettled_events == 0;
        drop(inner);
        if over > 0 {
            self.room.notify_waiters();
        }
        if empty {
            self.empty.notify_waiters();
        }
    }

    /// A consistent picture.
    pub(crate) fn counts(&self) -> Counts {
        let inner = self.inner.lock();
        Counts {
            received: inner.received,
            accepted: inner.accepted,
            dead_lettered: inner.dead_lettered,
            dropped: inner.dropped,
            queued: (inner.unsettled_events - inner.reserved) as u64,
            retries: inner.retries,
        }
    }
}

/// What an answered batch changes in the numbers.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Settled {
    pub(crate) accepted: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) retries: u64,
    /// Of accepted and dead-lettered events.
    pub(crate) bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(body: &str) -> Arc<Event> {
        Arc::new(
            Event::builder("p")
                .unwrapped_json(body.to_owned())
                .expect("the body is JSON"),
        )
    }

    fn queue(events: usize, bytes: usize) -> Queue {
        Queue::new(QueueLimits { events, bytes })
    }

    #[test]
    fn room_is_taken_until_events_are_settled() {
        let queue = queue(2, 1000);
        let one = event("1");
        assert_eq!(queue.push(&one), Ok(()));
        assert_eq!(queue.push(&one), Ok(()));
        assert_eq!(queue.push(&one), Err(Full));
        let mut batch = Vec::new();
        queue.take(&mut batch, 10, 1000);
        assert_eq!(batch.len(), 2);
        assert_eq!(queue.push(&one), Err(Full), "in flight takes room");
        queue.settle(Settled {
            accepted: 1,
            bytes: one.size(),
            ..Settled::default()
        });
        assert_eq!(queue.push(&one), Ok(()));
        assert!(queue.count_dropped());
        assert!(!queue.count_dropped(), "one log line per burst");
        let counts = queue.counts();
        assert_eq!(
            (
                counts.received,
                counts.accepted,
                counts.dropped,
                counts.queued
            ),
            (5, 1, 2, 2)
        );
    }

    #[test]
    fn bytes_bound_the_queue_and_an_oversized_event_is_let_in_alone() {
        let queue = queue(100, 10);
        let large = event("\"0123456789abcdef\"");
        assert_eq!(queue.push(&large), Ok(()));
        assert_eq!(queue.push(&event("1")), Err(Full));
        let mut batch = Vec::new();
        queue.take(&mut batch, 10, 5);
        assert_eq!(batch.len(), 1, "a batch takes at least one event");
    }

    #[test]
    fn reserved_room_is_not_counted_as_received() {
        let queue = queue(1, 1000);
        let one = event("1");
        queue.reserve(one.size()).expect("there is room");
        assert_eq!(queue.push(&one), Err(Full));
        assert_eq!(queue.counts(), Counts::default());
        queue.release(one.size());
        queue.reserve(one.size()).expect("the room is back");
        queue.push_reserved(&one, one.size());
        assert_eq!(queue.counts().received, 1);
        assert_eq!(queue.counts().queued, 1);
    }

    #[tokio::test]
    async fn whoever_waits_for_room_is_woken_by_a_settlement() {
        let queue = queue(1, 1000);
        let one = event("1");
        queue.push(&one).expect("there is room");
        let room = queue.room();
        assert_eq!(queue.push(&one), Err(Full));
        queue.settle(Settled {
            dead_lettered: 1,
            bytes: one.size(),
            ..Settled::default()
        });
        room.await;
        assert_eq!(queue.push(&one), Ok(()));
    }
}
