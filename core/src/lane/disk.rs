//! The part of a lane's queue that is on disk: read back, added to, and left for the next start.

use tokio::sync::oneshot;

use super::queue::{Queue, Queued};
use crate::store::Loaded;

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
            inner.waiting.push_back(Queued {
                event: stored.event,
                seq: stored.seq,
                stored: true,
                attempts: stored.attempts,
                first_attempt_ns: 0,
                suspect: false,
                crashes: 0,
            });
        }
        inner.damaged += loaded.damaged;
        inner.on_disk = inner.on_disk.saturating_sub(count + loaded.damaged);
        let mut missing = 0;
        if let Some(last) = loaded.complete_to {
            // Whatever was pushed since the disk was asked is on disk, and nothing else is.
            let since = inner.next_seq.saturating_sub(last + 1);
            missing = inner.on_disk.saturating_sub(since);
            if let Some(journal) = self.journal.as_ref().filter(|_| missing > 0) {
                journal.lose(missing, inner.on_disk + inner.unsettled_events as u64);
            }
            inner.on_disk -= missing;
            inner.lost += missing;
        }
        drop(inner);
        self.readable.notify_one();
        self.tell_if_empty();
        loaded.damaged + missing
    }

    /// Puts dead letters back at the end of the queue on disk.
    pub(crate) fn replay(
        &self,
        numbers: Vec<i64>,
    ) -> Option<oneshot::Receiver<Result<u64, String>>> {
        let journal = self.journal.as_ref()?;
        let mut inner = self.inner.lock();
        if inner.closed || numbers.is_empty() {
            return None;
        }
        let count = numbers.len() as u64;
        let first = inner.next_seq;
        inner.next_seq += count;
        inner.received += count;
        if inner.on_disk == 0 {
            inner.disk_next = first;
        }
        inner.on_disk += count;
        // Under the lock, so that no read overtakes it.
        let done = journal.replay(numbers, first);
        drop(inner);
        self.readable.notify_one();
        Some(done)
    }

    /// Writes events that were in memory to disk, for the next start.
    pub(crate) fn keep(&self, events: &[Queued]) {
        let Some(journal) = &self.journal else { return };
        let mut inner = self.inner.lock();
        for queued in events {
            if !queued.stored {
                journal.append(queued.seq, queued.attempts, &queued.event, false);
            } else if queued.attempts > 0 {
                journal.update(queued.seq, queued.attempts, &queued.event);
            }
            inner.unsettled_events -= 1;
            inner.unsettled_bytes -= queued.event.size();
            inner.on_disk += 1;
        }
    }
}
