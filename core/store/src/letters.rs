//! The writer's operations on dead letters that are already in its store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::TransactionBehavior;

use super::burying::{Burying, Letters, UNBOUNDED};
use super::deadletters;
use super::journal::{Purge, Replay, Shared};
use super::schema::Harm;
use super::writer::{Writer, changes, is_damage};
use evbus_destination::DeadLettersFull;

/// How many dead letters are dropped in one transaction after a bound was lowered.
const SLICE: usize = 1000;

/// The wait after dropping them failed.
const AGAIN: Duration = Duration::from_millis(500);

/// The counts of a store's dead letters.
#[derive(Debug, Default)]
pub struct LetterCounts {
    kept: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
}

impl LetterCounts {
    /// The number of kept dead letters.
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Their size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The number dropped because of the limit, since the store was created.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The number destroyed by damage, since the store was created.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Adopts the counts of losses from before the store was opened.
    pub(super) fn set_past(&self, harm: &Harm) {
        let dropped = harm.dead_dropped.max(0).cast_unsigned();
        let lost = harm.dead_letters_lost.max(0).cast_unsigned();
        self.dropped.store(dropped, Ordering::Relaxed);
        self.lost.store(lost, Ordering::Relaxed);
    }
}

impl Writer {
    /// Begins a transaction's dead letters.
    pub(super) fn burying(&self) -> Burying {
        let bound = self.letter_limits.as_ref().unwrap_or(&UNBOUNDED);
        Burying::new(self.dead, bound, self.state.clone())
    }

    /// Adopts what was committed.
    pub(super) fn buried(&mut self, mut burying: Burying) {
        burying.committed();
        self.dead = burying.kept;
        self.tell_letters();
        if burying.dropped == 0 {
            return;
        }
        let dropped = burying.dropped.cast_unsigned();
        self.letters.dropped.fetch_add(dropped, Ordering::Relaxed);
        if self.dropping.begins() {
            let which = match self.letter_limits.as_ref().map(|limits| limits.when_full) {
                Some(DeadLettersFull::DropNewest) => "new",
                _ => "the oldest",
            };
            tracing::warn!(
                "destination {} {}: its dead letters have reached their limit ({} kept, {} bytes); dropping {which} ones; replay or purge them, or raise `dead_letters` in its entry or --state-limit",
                self.name.provider,
                self.name.pattern,
                self.dead.rows,
                self.dead.bytes,
            );
        }
    }

    /// Publishes the counts of kept and dropped dead letters.
    pub(super) fn tell_letters(&self) {
        let rows = self.dead.rows.max(0).cast_unsigned();
        self.letters.kept.store(rows, Ordering::Relaxed);
        (self.letters.bytes).store(self.dead.bytes, Ordering::Relaxed);
    }

    /// Subtracts dead letters that are gone.
    fn forget(&mut self, rows: usize, bytes: u64) {
        let bytes = bytes.min(self.dead.bytes);
        self.dead.rows -= changes(rows);
        self.dead.bytes -= bytes;
        self.state.give_letters(bytes);
        self.tell_letters();
        self.shrinking.committed();
    }

    /// When surplus dead letters are to be dropped, if there are any.
    pub(super) fn next_trim(&self) -> Option<Instant> {
        self.is_too_much(self.dead).then_some(self.trim_at)
    }

    fn is_too_much(&self, letters: Letters) -> bool {
        letters.rows > 0
            && self.letter_limits.as_ref().is_some_and(|limits| {
                letters.exceed(limits) || self.state.has_too_many_letters(letters.bytes, 0)
            })
    }

    /// Drops some dead letters beyond a lowered bound, if it is time.
    pub(super) fn trim(&mut self) {
        if self.next_trim().is_none_or(|at| Instant::now() < at) {
            return;
        }
        let trimmed = self.mend().and_then(|()| match self.trim_slice() {
            Err(error) if is_damage(&error) => self.replace(&error.to_string()),
            done => done.map_err(|error| error.to_string()),
        });
        if let Err(error) = trimmed {
            tracing::debug!("store {:?}: dead letters stay: {error}", self.path);
            self.trim_at = Instant::now() + AGAIN;
        }
    }

    fn trim_slice(&mut self) -> rusqlite::Result<()> {
        let mut burying = self.burying();
        let (limits, state) = (self.letter_limits, self.state.clone());
        let before = self.dead.bytes;
        let is_too_much = |kept: Letters| {
            let dropped = before.saturating_sub(kept.bytes);
            limits.is_some_and(|limits| kept.exceed(&limits))
                || state.has_too_many_letters(kept.bytes, dropped)
        };
        let transaction = self
            .store
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        burying.trim(&transaction, SLICE, is_too_much)?;
        transaction.execute(
            "UPDATE counts SET dead = max(dead - ?, 0)",
            [burying.dropped],
        )?;
        burying.conclude(&transaction)?;
        transaction.commit()?;
        self.shrinking.committed();
        self.buried(burying);
        Ok(())
    }

    /// Puts dead letters back into the queue.
    pub(super) fn replay(&mut self, shared: &Shared, mut replay: Replay) {
        let (numbers, first_seq) = (std::mem::take(&mut replay.numbers), replay.first_seq);
        // These positions count as used, even if nothing is stored there.
        self.last_seq = self.last_seq.max(first_seq + numbers.len() as u64 - 1);
        let moved = if self.held.is_empty() {
            deadletters::requeue(&mut self.store, &numbers, first_seq)
                .map_err(|error| format!("store {}: {error}", self.path.display()))
        } else {
            // They would be on disk before older events that are not.
            Err(format!(
                "store {}: the disk does not accept events at the moment; try again later",
                self.path.display()
            ))
        };
        if let Ok(requeued) = &moved {
            shared.add(requeued.moved as u64, requeued.bytes);
            self.queued += changes(requeued.moved);
            self.forget(requeued.moved, requeued.letter_bytes);
        }
        replay.tell(moved.map(|requeued| requeued.moved as u64));
    }

    /// Deletes dead letters.
    pub(super) fn purge(&mut self, purge: Purge) {
        let purged = deadletters::delete(&mut self.store, &purge.numbers);
        if let Ok((purged, bytes)) = &purged {
            self.forget(*purged, *bytes);
        }
        // The caller may be gone.
        let _ = purge.reply.send(
            purged
                .map(|(purged, _)| purged as u64)
                .map_err(|error| format!("store {}: {error}", self.path.display())),
        );
    }
}
