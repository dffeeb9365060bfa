//! The part of a lane's queue that is on disk: read back, added to, and left for the next start.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Shared;
use super::queue::Queue;
use super::queued::Queued;
use evbus_store::Loaded;

/// The most events that are read back at a time.
const MAX_LOAD_EVENTS: usize = 4096;

impl Queue {
    /// Asks for events that are on disk alone, where memory has room for them again.
    pub(crate) fn load(&self) -> Option<oneshot::Receiver<Loaded>> {
        let journal = self.journal.as_ref()?;
        let inner = self.inner.lock();
        let rules = &inner.rules;
        let has_room =
            inner.unsettled_events <= rules.events / 2 && inner.unsettled_bytes <= rules.bytes / 2;
        if inner.on_disk == 0 || !has_room {
            return None;
        }
        // One is asked for even of a queue with room for one.
        let events = (rules.events - inner.unsettled_events).clamp(1, MAX_LOAD_EVENTS);
        Some(journal.read(inner.disk_next, events, rules.bytes - inner.unsettled_bytes))
    }

    /// Takes in what was read back. Returns how many records were damaged or missing.
    pub(crate) fn loaded(&self, loaded: Loaded) -> u64 {
        let mut inner = self.inner.lock();
        let count = loaded.events.len() as u64;
        if let Some(last) = loaded.events.last() {
            inner.disk_next = last.seq + 1;
        }
        for stored in loaded.events {
            inner.unsettled_events += 1;
            inner.unsettled_bytes += stored.event.size();
            let queued = Queued::read_back(stored.event, stored.seq, stored.attempts);
            inner.waiting.push_back(queued);
        }
        inner.damaged += loaded.damaged;
        inner.on_disk = inner.on_disk.saturating_sub(count + loaded.damaged);
        let mut missing = 0;
        if let Some(last) = loaded.complete_to {
            // Whatever was pushed since the disk was asked is on disk, and nothing else is.
            let since = inner.next_seq.saturating_sub(last + 1);
            missing = inner.on_disk.saturating_sub(since);
            if let Some(journal) = self.journal.as_ref().filter(|_| missing > 0) {
                journal.lose(missing);
            }
            inner.on_disk -= missing;
            inner.lost += missing;
        }
        drop(inner);
        self.readable.notify_one();
        self.tell_if_empty();
        loaded.damaged + missing
    }

    /// Takes note of dead letters that were to be put back: only those that are in the queue count.
    fn replayed(&self, wanted: u64, moved: u64) {
        let mut inner = self.inner.lock();
        inner.replaying -= wanted;
        inner.received += moved;
        inner.on_disk += moved;
        drop(inner);
        self.readable.notify_one();
        self.tell_if_empty();
    }

    /// Writes events that were in memory to disk, for the next start.
    pub(crate) fn keep(&self, events: &[Queued]) {
        let Some(journal) = &self.journal else { return };
        let mut inner = self.inner.lock();
        for queued in events {
            if queued.is_stored() {
                // Also where it had no attempts: damage may have taken what is on disk.
                journal.update(queued.seq(), queued.attempts(), &queued.event);
            } else {
                journal.append(queued.seq(), queued.attempts(), &queued.event, false);
            }
            inner.unsettled_events -= 1;
            inner.unsettled_bytes -= queued.event.size();
            inner.on_disk += 1;
        }
    }

    /// Closes the disk's part for good; then `queued_on_disk` is what the next start finds. Says why
    /// not everything is there.
    pub(crate) async fn close_journal(&self) -> Result<(), String> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let closed = journal.close().await;
        let mut inner = self.inner.lock();
        let unwritten = journal.unwritten().min(inner.on_disk);
        inner.on_disk -= unwritten;
        inner.unsettled_events += usize::try_from(unwritten).unwrap_or(usize::MAX);
        closed
    }
}

impl Shared {
    /// Puts dead letters back at the end of the queue on disk; nothing where the lane is ending and has
    /// no place for them any more. They count once they have moved.
    pub fn replay(
        self: &Arc<Self>,
        numbers: Vec<i64>,
    ) -> Option<oneshot::Receiver<Result<u64, String>>> {
        let journal = self.queue.journal.as_ref()?;
        let (reply, done) = oneshot::channel();
        let wanted = numbers.len() as u64;
        let mut inner = self.queue.inner.lock();
        if inner.closed || wanted == 0 {
            return None;
        }
        let first = inner.next_seq;
        let lane = Arc::downgrade(self);
        let on_replayed = move |moved: Result<u64, String>| {
            if let Some(lane) = lane.upgrade() {
                let count = moved.as_ref().copied().unwrap_or_default();
                lane.queue.replayed(wanted, count);
            }
            // Whoever asked may have gone.
            let _ = reply.send(moved);
        };
        // Under the lock, so that no read overtakes it, and before it can be answered.
        if !journal.replay(numbers, first, Box::new(on_replayed)) {
            return None;
        }
        inner.next_seq += wanted;
        if !inner.uses_disk() {
            inner.disk_next = first;
        }
        // Events that are fired meanwhile go to disk, behind them.
        inner.replaying += wanted;
        Some(done)
    }
}

#[cfg(test)]
mod tests;
