//! Writes pending work: all of it, or as much as a full disk accepts.
#![allow(clippy::wildcard_imports)] // It is a part of its parent.

use super::super::queue::{self, Appending, FIRST};
use super::*;

impl Writer {
    /// Writes what is held. Returns false if the disk refused.
    pub(super) fn commit_all(&mut self, shared: &Shared) -> bool {
        if self.held.is_empty() && !self.astray && !self.ends {
            return true;
        }
        let before = self.held.size();
        let durable = self.held.appends.iter().any(|append| append.durable);
        let began = Instant::now();
        // Before any is dropped: callers may wait for the position of an event that is already settled.
        if let Some(last) = self.held.appends.iter().map(|append| append.seq).max() {
            self.last_seq = self.last_seq.max(last);
        }
        self.drop_settled();
        let appends = self.held.appends.len();
        let result = self.commit_in_place();
        // Before room is given back to the next events.
        shared.look_for_room();
        let after = self.held.size();
        self.written_since_check += (before.bytes - after.bytes) as u64;
        if durable && result.is_ok() {
            let since = shared.pending.lock().appends.len();
            let written = appends - self.held.appends.len();
            self.gathering.committed(written + since, began.elapsed());
        }
        shared.committed(Size {
            events: before.events - after.events,
            bytes: before.bytes - after.bytes,
            letter_bytes: before.letter_bytes - after.letter_bytes,
        });
        let first_held = self.held.appends.iter().map(|append| append.seq).min();
        let written_to = match first_held {
            // What is written now would not be found again.
            _ if self.astray => 0,
            Some(seq) => seq.saturating_sub(1),
            None => self.last_seq,
        };
        self.is_patient =
            matches!(&result, Err(refused) if refused.is_full) && self.waits_for_room();
        if result.is_ok() {
            self.full_since = None;
        }
        shared.progress.send_modify(|progress| {
            if !self.is_patient {
                let fault = result.as_ref().err();
                tell(fault.map(|refused| &*refused.reason), progress);
            }
            progress.flushed_commits += u64::from(durable && result.is_ok());
            progress.written_to = progress.written_to.max(written_to);
        });
        result.is_ok()
    }

    pub(super) fn commit_in_place(&mut self) -> Result<(), Refused> {
        let elsewhere = |reason| Refused {
            is_full: false,
            reason,
        };
        let refused = |path: &std::path::Path, error: &rusqlite::Error| Refused {
            is_full: is_full(error),
            reason: format!("store {}: {error}", path.display()),
        };
        self.mend().map_err(elsewhere)?;
        self.stay_in_place().map_err(elsewhere)?;
        self.check_free()?;
        if !self.held.is_empty() {
            match self.commit_held() {
                // The store is replaced before anybody is informed.
                Err(error) if is_damage(&error) => {
                    self.replace(&error.to_string()).map_err(elsewhere)?;
                    self.commit_held()
                }
                committed => committed,
            }
            .map_err(|error| refused(&self.path, &error))?;
        }
        self.stay_in_place().map_err(elsewhere)
    }

    /// How many events that should be in the queue on disk will be missing there.
    pub(super) fn unwritten(&self) -> u64 {
        let held = &self.held.appends;
        if self.astray {
            return self.queued.max(0).cast_unsigned() + held.len() as u64;
        }
        let exists = |append: &&Append| queue::exists(&self.store, append.seq);
        // If this fails, the event counts as not written.
        let unwritten = held
            .iter()
            .filter(|append| !exists(append).unwrap_or(false));
        unwritten.count() as u64
    }

    /// Whether a full disk may have room soon.
    pub(super) fn waits_for_room(&mut self) -> bool {
        let own = self.shrinking.told() + self.held.settled_bytes;
        let patience = if self.state.returning() > own {
            OTHERS_PATIENCE
        } else {
            PATIENCE
        };
        let since = *self.full_since.get_or_insert_with(Instant::now);
        !self.ends && since.elapsed() < patience
    }

    /// Writes what is held, or as much of it as the disk accepts; the rest stays held.
    pub(super) fn commit_held(&mut self) -> rusqlite::Result<()> {
        let held = std::mem::take(&mut self.held);
        let Err((mut rest, error)) = self.commit(held) else {
            return Ok(());
        };
        let mut result = Err(error);
        if matches!(&result, Err(error) if is_full(error)) {
            self.reuse_log();
            while !rest.is_empty() {
                let part = rest.split_front(PART);
                match self.commit(part) {
                    Ok(()) => result = Ok(()),
                    Err((part, error)) => {
                        rest.put_front(part);
                        result = Err(error);
                        break;
                    }
                }
            }
        }
        self.held = rest;
        result
    }

    /// An event that was settled before it was written need not be written. The rest is put in order.
    pub(super) fn drop_settled(&mut self) {
        self.held.settled.sort_unstable();
        if self.held.settled.is_empty() || self.held.appends.is_empty() {
            return;
        }
        let Held {
            appends, settled, ..
        } = &mut self.held;
        let is_settled = |append: &Append| settled.binary_search(&append.seq).is_ok();
        // They were never on disk, so none is missing there.
        let unwritten: Vec<u64> = (appends.iter())
            .filter(|append| append.attempts == 0 && !append.again && is_settled(append))
            .map(|append| append.seq)
            .collect();
        appends.retain(|append| !is_settled(append));
        if self.missing > 0 {
            settled.retain(|seq| !unwritten.contains(seq));
        }
    }

    pub(super) fn check_free(&mut self) -> Result<(), Refused> {
        let due = self.written_since_check >= FREE_CHECK_BYTES
            || self
                .checked
                .is_none_or(|checked| checked.elapsed() >= FREE_CHECK_PERIOD);
        // What frees room is always allowed; so is what would be lost if it was not written now.
        let adds = !(self.held.appends.is_empty() && self.held.burials.is_empty());
        if !adds || self.ends {
            return Ok(());
        }
        if let Err(reason) = self.bound_log() {
            self.commit_settled();
            return Err(Refused {
                is_full: true,
                reason,
            });
        }
        if !due {
            return Ok(());
        }
        // The log, and what is written until the next check, will need room in the file too.
        let log = self.log_len();
        let written = self.held.size().bytes as u64 + FREE_CHECK_BYTES;
        if let Err(reason) = self.state.check_free(log + 2 * written) {
            // As long as there is room for it: then the log is room that nobody else can take, and even on a full disk
            // settled events can be deleted and pages given back.
            self.reuse_log();
            self.commit_settled();
            // What fits into the file's free pages needs no room on the disk, except for the log, which the file
            // absorbs.
            if self.free_bytes() < 2 * written {
                return Err(Refused {
                    is_full: true,
                    reason,
                });
            }
        }
        self.written_since_check = 0;
        self.checked = Some(Instant::now());
        Ok(())
    }

    /// Deletes settled events, if that works.
    fn commit_settled(&mut self) {
        if !self.held.settled.is_empty() {
            let settled = self.held.split_front(0);
            if let Err((settled, _)) = self.commit(settled) {
                // It is retried with the rest.
                self.held.put_front(settled);
            }
        }
    }

    /// Writes a part of what is held, or returns it.
    #[allow(clippy::result_large_err)] // It moves into its place again, once per refusal of the disk.
    pub(super) fn commit(&mut self, part: Held) -> Result<(), (Held, rusqlite::Error)> {
        match self.write(&part) {
            Ok(()) => {
                if !part.settled.is_empty() || part.settled_bytes > 0 {
                    self.tell_free(self.pages("freelist_count"));
                    self.state.add_returning(0, part.settled_bytes);
                }
                Ok(())
            }
            Err(error) => Err((part, error)),
        }
    }

    pub(super) fn write(&mut self, part: &Held) -> rusqlite::Result<()> {
        let durable = part.appends.iter().any(|append| append.durable);
        // FULL: the log is on disk before the commit returns. It can be set only between transactions.
        let level = if durable { "FULL" } else { "NORMAL" };
        self.store.pragma_update(None, "synchronous", level)?;
        let (mut queued, mut missing) = (self.queued, self.missing);
        let mut restored = 0;
        let dead_before = self.dead.rows;
        let mut burying = self.burying();
        // The event of a row lost to damage cannot be settled by deleting the row.
        let mut gone = |expected: usize, deleted: usize| {
            let absent = changes(expected.saturating_sub(deleted)).min(missing.max(0));
            missing -= absent;
            changes(deleted) + absent
        };
        let transaction = self
            .store
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut appending = Appending::new(&transaction)?;
            for append in &part.appends {
                let is_fresh = append.attempts == 0 && !append.again;
                if is_fresh {
                    queued += 1;
                    appending.add(append.seq, &append.event)?;
                    continue;
                }
                // It may be one of those that were just added.
                appending.finish()?;
                let is_there = (append.is_spare() && self.missing == 0)
                    || queue::exists(&transaction, append.seq)?;
                if append.is_spare() && is_there {
                    continue;
                }
                if is_there {
                    queue::unpack_around(&transaction, append.seq)?;
                } else if append.again && restored < self.missing {
                    // Its row was lost to damage, but it was counted all the time.
                    restored += 1;
                } else {
                    queued += 1;
                }
                appending.replace(append.seq, append.attempts, &append.event)?;
            }
            appending.finish()?;
            for burial in &part.burials {
                burying.bury(&transaction, |bury| {
                    bury.raw_bind_parameter(1, &burial.error)?;
                    bury.raw_bind_parameter(2, burial.attempts)?;
                    bury.raw_bind_parameter(3, burial.first_attempt_ns.cast_signed())?;
                    bury.raw_bind_parameter(4, burial.last_attempt_ns.cast_signed())?;
                    record::bind(bury, 5, record::NO_POSITION, &burial.event)
                })?;
                if let Some(seq) = burial.seq {
                    queued -= gone(1, queue::delete(&transaction, seq, seq)?);
                }
            }
            // Events are settled mostly in their order: a statement for each of them would take several times as long.
            for run in part.settled.chunk_by(|one, next| one + 1 == *next) {
                let deleted = queue::delete(&transaction, run[0], run[run.len() - 1])?;
                queued -= gone(run.len(), deleted);
            }
            let lost = part.lost.cast_signed();
            if lost > 0 {
                missing = (missing - lost).max(0);
                queued -= lost;
                let more = Harm {
                    lost,
                    ..Harm::default()
                };
                schema::add_harm(&transaction, more)?;
            }
            transaction
                .prepare_cached(&format!(
                    "UPDATE counts SET queued = ?1, dead = dead + ?2, last_seq = max(last_seq, ?3), \
                     first_seq = iif(?4 > 0, min(first_seq, coalesce({FIRST}, first_seq)), \
                     coalesce({FIRST}, ?3 + 1))",
                ))?
                .execute([
                    queued,
                    burying.kept.rows - dead_before,
                    self.last_seq.cast_signed(),
                    // Missing events keep their positions.
                    missing,
                ])?;
            burying.conclude(&transaction)?;
        }
        transaction.commit()?;
        self.shrinking.committed();
        (self.queued, self.missing) = (queued, (missing - restored).max(0));
        if !part.burials.is_empty() {
            self.buried(burying);
        }
        Ok(())
    }
}

/// Records the fault of the last commit in the progress, and logs it when it changes.
fn tell(fault: Option<&str>, progress: &mut Progress) {
    match fault {
        None => {
            if progress.fault.take().is_some() {
                tracing::info!("the disk accepts events again");
            }
        }
        Some(reason) => {
            if progress.fault.as_deref() != Some(reason) {
                tracing::error!("cannot write events to disk: {reason}; trying again");
                progress.fault = Some(reason.into());
            }
        }
    }
}
