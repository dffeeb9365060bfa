//! Counts of what happened to events.

use serde::Serialize;

use super::queued::Queued;
use evbus_store::{Burial, record_bytes};

/// What has happened to the events of a destination so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Events that were fired and matched, and those that were found on disk at the start.
    pub received: u64,
    /// Events that the far system acknowledged.
    pub accepted: u64,
    /// Events that were rejected, or whose attempts were used up.
    pub dead_lettered: u64,
    /// Events that were dropped because the queue was full, as the policy requires.
    pub dropped: u64,
    /// Events that were dropped because one with the same key entered the queue not long before, as the policy's `dedup`
    /// requires.
    pub deduplicated: u64,
    /// Events that matched, and that the policy's `when` kept from the destination. They do not count as received.
    pub filtered: u64,
    /// Events for which `when` or the key of `dedup` had no value, which keeps none of them out.
    pub filter_faults: u64,
    /// Events whose record on disk was damaged; what is left of each is among the dead letters.
    /// Counted since the destination's store was created.
    pub damaged: u64,
    /// Events that disk damage destroyed: they were on disk and can no longer be read. Counted
    /// since the destination's store was created.
    pub lost: u64,
    /// Events that wait, are in flight, or wait for another attempt.
    pub queued: u64,
    /// Queued events that are only on disk.
    pub queued_on_disk: u64,
    /// Attempts that ended with the outcome retry.
    pub retries: u64,
}

/// What an answered batch changes.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub accepted: u64,
    pub dead_lettered: u64,
    pub retries: u64,
    /// Of accepted and dead-lettered events.
    pub bytes: usize,
    /// The places of accepted events that are on disk.
    pub stored: Vec<u64>,
    /// What those and the dead letters of `burials` that are in the queue on disk take there.
    pub stored_bytes: u64,
    /// What the latter take.
    pub buried_bytes: u64,
    pub burials: Vec<Burial>,
}

impl Settled {
    /// An event that the far system took.
    pub(crate) fn accept(&mut self, queued: &Queued) {
        self.accepted += 1;
        self.bytes += queued.event.size();
        if queued.is_stored() {
            self.stored.push(queued.seq());
            self.stored_bytes += record_bytes(&queued.event);
        }
    }

    /// An event that became a dead letter.
    pub(crate) fn bury(&mut self, queued: &Queued, burial: Burial) {
        self.dead_lettered += 1;
        self.bytes += queued.event.size();
        if queued.is_stored() {
            self.stored_bytes += record_bytes(&queued.event);
            self.buried_bytes += record_bytes(&queued.event);
        }
        self.burials.push(burial);
    }
}
