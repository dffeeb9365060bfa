//! A lane's queue: bounded in events and bytes and continued on disk. It also keeps the lane's counts.
//!
//! Events in memory are always older than those that are only on disk: once an event had to go to disk,
//! all later ones follow it until the disk has been read back. Everything is counted under the queue's
//! own lock, so that at any moment
//! `accepted + dead_lettered + dropped + deduplicated + damaged + lost + queued = received`.

mod enter;
mod place;
mod repeats;

use std::collections::VecDeque;
use std::future::Future;

use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use place::{NotQueued, Place, Pushed, Refused};

use repeats::Repeats;

use super::queued::Queued;
use super::settled::{Counts, Settled};
use evbus_destination::{Policy, WhenFull};
use evbus_store::Journal;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) rules: Rules,
    pub(super) waiting: VecDeque<Queued>,
    /// Waiting, in flight or to be retried: they all take room in memory until they are settled.
    pub(super) unsettled_events: usize,
    pub(super) unsettled_bytes: usize,
    /// Room that was promised to events which are not in yet.
    pub(super) reserved: usize,
    /// Events that are on disk alone.
    pub(super) on_disk: u64,
    /// Dead letters that are about to be there, and do not count yet.
    pub(super) replaying: u64,
    /// The first of them.
    pub(super) disk_next: u64,
    pub(super) next_seq: u64,
    pub(super) received: u64,
    pub(super) accepted: u64,
    pub(super) dead_lettered: u64,
    pub(super) dropped: u64,
    pub(super) deduplicated: u64,
    pub(super) filtered: u64,
    pub(super) filter_faults: u64,
    repeats: Option<Box<Repeats>>,
    pub(super) damaged: u64,
    pub(super) lost: u64,
    pub(super) retries: u64,
    pub(super) dropping: bool,
    pub(super) closed: bool,
}

impl Inner {
    /// Whether a new event goes behind others that are on disk alone, or about to be.
    pub(super) fn uses_disk(&self) -> bool {
        self.on_disk > 0 || self.replaying > 0
    }

    /// Whether an event is the first of a burst of dropped ones.
    fn begins_dropping(&mut self) -> bool {
        !std::mem::replace(&mut self.dropping, true)
    }

    fn is_empty(&self) -> bool {
        self.unsettled_events == 0 && !self.uses_disk()
    }
}

/// How many events are copied out of a queue under its lock.
const MAX_TAKEN: usize = 1024;

/// What the policy says of the queue.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) disk_bytes: u64,
    pub(super) when_full: WhenFull,
    pub(super) durable: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(super) inner: Mutex<Inner>,
    pub(super) journal: Option<Journal>,
    /// The lane's task waits here for events.
    pub(super) readable: Notify,
    /// Programs that fire wait here for room.
    room: Notify,
    /// Whoever drains the lane waits here.
    empty: Notify,
}

impl Queue {
    /// A queue with what its journal, if there is one, has kept.
    pub(crate) fn new(policy: &Policy, journal: Option<Journal>) -> Self {
        let found = journal.as_ref().map(Journal::found).unwrap_or_default();
        if let Some(journal) = &journal {
            journal.bound_letters(policy.dead_letters);
        }
        Self {
            inner: Mutex::new(Inner {
                rules: rules(policy, journal.is_some()),
                waiting: VecDeque::new(),
                unsettled_events: 0,
                unsettled_bytes: 0,
                reserved: 0,
                on_disk: found.events,
                replaying: 0,
                disk_next: found.first_seq,
                next_seq: found.last_seq + 1,
                received: found.events + found.damaged + found.lost,
                accepted: 0,
                dead_lettered: 0,
                dropped: 0,
                deduplicated: 0,
                filtered: 0,
                filter_faults: 0,
                repeats: (policy.dedup.clone()).map(|rule| Box::new(Repeats::new(rule))),
                damaged: found.damaged,
                lost: found.lost,
                retries: 0,
                dropping: false,
                closed: false,
            }),
            journal,
            readable: Notify::new(),
            room: Notify::new(),
            empty: Notify::new(),
        }
    }

    /// Goes on under another policy.
    pub(crate) fn set_policy(&self, policy: &Policy) {
        let mut inner = self.inner.lock();
        inner.rules = rules(policy, self.journal.is_some());
        let goes_on = match (&mut inner.repeats, &policy.dedup) {
            (Some(repeats), Some(rule)) => repeats.follows(rule),
            (repeats, rule) => repeats.is_none() && rule.is_none(),
        };
        let before = (!goes_on).then(|| {
            let new = (policy.dedup.clone()).map(|rule| Box::new(Repeats::new(rule)));
            std::mem::replace(&mut inner.repeats, new)
        });
        drop(inner);
        // It may be large.
        drop(before);
        if let Some(journal) = &self.journal {
            journal.bound_letters(policy.dead_letters);
        }
        // There may be more room now, or none to wait for.
        self.room.notify_waiters();
    }

    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// Whether an event was the first of a burst of dropped ones.
    pub(crate) fn begins_dropping(&self) -> bool {
        self.inner.lock().begins_dropping()
    }

    /// Takes events from the front until one of the limits is reached; at least one where there is
    /// one. `batch` may hold events already; they count. An empty queue keeps no memory.
    pub(crate) fn take(&self, batch: &mut Vec<Queued>, max_events: usize, max_bytes: usize) {
        let mut bytes: usize = batch.iter().map(|queued| queued.event.size()).sum();
        loop {
            let before = batch.len();
            let room = max_events.max(1).saturating_sub(before);
            // Without a look at the events: their memory is far away from this processor, and who fires
            // waits for the lock.
            let taken = self.take_some(room, max_bytes.saturating_sub(bytes));
            if taken.is_empty() {
                return;
            }
            if batch.is_empty() {
                *batch = taken.into();
            } else {
                batch.extend(taken);
            }
            let fitting = batch[before..].iter().position(|queued| {
                bytes = bytes.saturating_add(queued.event.size());
                bytes > max_bytes
            });
            if let Some(fitting) = fitting {
                return self.put_back(batch.split_off((before + fitting).max(1)));
            }
        }
    }

    /// Takes up to `count` events; all in one go if they are sure to have no more than `bytes`, which copies none.
    fn take_some(&self, count: usize, bytes: usize) -> VecDeque<Queued> {
        let mut inner = self.inner.lock();
        let some = count.min(MAX_TAKEN);
        let fit = inner.waiting.len() <= count && inner.unsettled_bytes <= bytes;
        if fit || inner.waiting.len() <= some {
            std::mem::take(&mut inner.waiting)
        } else {
            inner.waiting.drain(..some).collect()
        }
    }

    fn put_back(&self, events: Vec<Queued>) {
        let mut inner = self.inner.lock();
        for queued in events.into_iter().rev() {
            inner.waiting.push_front(queued);
        }
    }

    /// When the oldest event in memory was fired, in nanoseconds since the Unix epoch.
    pub(crate) fn oldest_ns(&self) -> Option<u64> {
        let inner = self.inner.lock();
        inner
            .waiting
            .front()
            .map(|queued| queued.event.time_unix_ns())
    }

    /// Resolves when events may wait, in memory or on disk. Cancel safe.
    pub(crate) async fn readable(&self) {
        if !self.has_waiting() {
            self.readable.notified().await;
        }
    }

    fn has_waiting(&self) -> bool {
        !self.inner.lock().waiting.is_empty()
    }

    /// Resolves when there may be room again; counts from the moment of this call.
    pub(crate) fn room(&self) -> impl Future<Output = ()> + '_ {
        let mut room = Box::pin(self.room.notified());
        room.as_mut().enable();
        let mut disk = self.journal.as_ref().map(|journal| {
            let mut own = Box::pin(journal.room_notify().notified());
            own.as_mut().enable();
            // What all destinations may have together may be what there is no room in.
            let mut shared = Box::pin(journal.state().room().notified());
            shared.as_mut().enable();
            (own, shared)
        });
        async move {
            match &mut disk {
                None => room.await,
                Some((own, shared)) => {
                    tokio::select! {
                        () = room => {}
                        () = own => {}
                        () = shared => {}
                    }
                }
            }
        }
    }

    /// Resolves when nothing is unsettled.
    pub(crate) async fn empty(&self) {
        loop {
            let empty = self.empty.notified();
            tokio::pin!(empty);
            empty.as_mut().enable();
            if self.is_empty() {
                return;
            }
            empty.await;
        }
    }

    fn is_empty(&self) -> bool {
        self.inner.lock().is_empty()
    }

    pub(super) fn tell_if_empty(&self) {
        if self.is_empty() {
            self.empty.notify_waiters();
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
        let empty = inner.is_empty();
        drop(inner);
        if let Some(journal) = &self.journal {
            if !settled.stored.is_empty() {
                journal.settle(settled.stored, settled.stored_bytes - settled.buried_bytes);
            }
            if !settled.burials.is_empty() {
                journal.bury(settled.burials, settled.buried_bytes);
            }
        }
        if over > 0 {
            self.room.notify_waiters();
        }
        if empty {
            self.empty.notify_waiters();
        }
    }

    /// Takes no more events, and gives away those that wait in memory.
    pub(crate) fn close(&self) -> Vec<Queued> {
        let mut inner = self.inner.lock();
        inner.closed = true;
        let waiting = inner.waiting.drain(..).collect();
        drop(inner);
        // Whoever waits for room learns that there is nothing to wait for.
        self.room.notify_waiters();
        waiting
    }

    /// A consistent picture.
    pub(crate) fn counts(&self) -> Counts {
        let inner = self.inner.lock();
        Counts {
            received: inner.received,
            accepted: inner.accepted,
            dead_lettered: inner.dead_lettered,
            dropped: inner.dropped,
            deduplicated: inner.deduplicated,
            filtered: inner.filtered,
            filter_faults: inner.filter_faults,
            damaged: inner.damaged,
            lost: inner.lost,
            queued: (inner.unsettled_events - inner.reserved) as u64 + inner.on_disk,
            queued_on_disk: inner.on_disk,
            retries: inner.retries,
        }
    }
}

fn rules(policy: &Policy, has_disk: bool) -> Rules {
    Rules {
        events: policy.queue.events,
        bytes: policy.queue.bytes,
        disk_bytes: policy.disk.bytes,
        when_full: match policy.when_full {
            Some(WhenFull::Spill) | None if !has_disk => WhenFull::Block,
            None => WhenFull::Spill,
            Some(when_full) => when_full,
        },
        durable: policy.durable && has_disk,
    }
}

#[cfg(test)]
mod tests;
