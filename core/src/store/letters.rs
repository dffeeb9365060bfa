//! What the writer does with dead letters that are already in its store.

use super::deadletters;
use super::journal::{Purge, Replay, Shared};
use super::writer::{Writer, changes};

impl Writer {
    /// Puts dead letters back into the queue.
    pub(super) fn replay(&mut self, shared: &Shared, replay: Replay) {
        let Replay {
            numbers,
            first_seq,
            done,
        } = replay;
        // The places are used up, whether anything comes to be there or not.
        self.last_seq = self.last_seq.max(first_seq + numbers.len() as u64 - 1);
        let moved = if self.held.is_empty() {
            deadletters::requeue(&mut self.store, &numbers, first_seq)
                .map_err(|error| format!("store {}: {error}", self.path.display()))
        } else {
            // They would stand on disk before events that are older and not there yet.
            Err(format!(
                "store {}: the disk takes no events at the moment; try again when it does",
                self.path.display()
            ))
        };
        if let Ok((moved, bytes)) = &moved {
            shared.add(*bytes);
            self.queued += changes(*moved);
            self.dead -= changes(*moved);
            self.shrinking.committed();
        }
        done(moved.map(|(moved, _)| moved as u64));
    }

    /// Deletes dead letters.
    pub(super) fn purge(&mut self, purge: Purge) {
        let purged = deadletters::delete(&mut self.store, &purge.numbers);
        if let Ok(purged) = &purged {
            self.dead -= changes(*purged);
            self.shrinking.committed();
        }
        // Whoever asked may have gone.
        let _ = purge.reply.send(
            purged
                .map(|purged| purged as u64)
                .map_err(|error| format!("store {}: {error}", self.path.display())),
        );
    }
}
