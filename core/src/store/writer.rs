//! The one thread that writes a store.
//!
//! It takes all that has gathered, writes it in one transaction, commits, and tells. Where the disk
//! refuses, everything stays where it is and is tried again; reads are answered all the same, from
//! the disk and from what is not on it yet.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::burying::Letters;
use super::journal::{
    Append, Burial, Found, Pending, Progress, Purge, ReadRequest, Replay, Shared, Size,
    letter_bytes,
};
use super::letters::LetterCounts;
use super::place::{self, Place};
use super::record;
use super::salvage::{self, Closing, Known};
use super::schema::{self, Harm, LETTER_SIZE};
use super::shrink::{Shrinking, is_full};
use super::{StateDir, StateError, StoreName, beside};
use crate::acct::DeadLetterLimits;
use crate::once_per_burst::OncePerBurst;

/// How long to wait before the disk is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// How long to wait before a damaged store is copied again, where that failed, at first and at most.
const MEND_AGAIN: Duration = Duration::from_secs(1);
const MEND_AGAIN_MOST: Duration = Duration::from_mins(1);

/// The free space is looked at after this many bytes, or this much time.
const FREE_CHECK_BYTES: u64 = 1024 * 1024;
const FREE_CHECK_PERIOD: Duration = Duration::from_secs(1);

/// How long a disk may be full before that is a fault: room may be on its way; and how long where
/// other stores are giving room back to the file system.
const PATIENCE: Duration = Duration::from_secs(1);
const OTHERS_PATIENCE: Duration = Duration::from_secs(30);

/// How often the disk is asked meanwhile.
const PATIENT_RETRY: Duration = Duration::from_millis(50);

/// How many events are written at a time where the disk does not take all of them.
const PART: usize = 64;

pub(super) struct Writer {
    pub(super) state: StateDir,
    pub(super) name: StoreName,
    pub(super) path: PathBuf,
    /// Empty and in memory while the store is damaged and could not be replaced.
    pub(super) store: Connection,
    damaged: Option<Damaged>,
    pub(super) closing: Closing,
    pub(super) letters: Arc<LetterCounts>,
    /// Taken and not committed.
    pub(super) held: Held,
    /// Rows that should be in the two tables.
    pub(super) queued: i64,
    pub(super) dead: Letters,
    /// The bound of the latter; none until the lane says it.
    pub(super) letter_limits: Option<DeadLetterLimits>,
    /// When dead letters beyond it are looked after, where there are any.
    pub(super) trim_at: Instant,
    pub(super) dropping: OncePerBurst,
    /// Those of the queue that damage took. Events of some may be in the lane's memory; the lane says
    /// how many of them are lost.
    missing: i64,
    pub(super) last_seq: u64,
    written_since_check: u64,
    checked: Option<Instant>,
    pub(super) shrinking: Shrinking,
    /// The files that it is in; and whether they are known not to have its name any more.
    pub(super) place: Place,
    pub(super) astray: bool,
    /// Since when the disk is full, and whether it may have room in a moment.
    full_since: Option<Instant>,
    is_patient: bool,
    /// The store is to be closed: what is not written now is lost.
    ends: bool,
}

/// A store that waits to be replaced.
struct Damaged {
    why: String,
    /// Why it was not, the last time.
    fault: String,
    wait: Duration,
    again: Instant,
}

#[derive(Default)]
pub(super) struct Held {
    pub(super) appends: Vec<Append>,
    burials: Vec<Burial>,
    settled: Vec<u64>,
    /// What the events at those places take on disk.
    settled_bytes: u64,
    /// Events that the lane found missing.
    lost: u64,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.appends.is_empty()
            && self.burials.is_empty()
            && self.settled.is_empty()
            && self.lost == 0
    }

    /// What it takes of the room for what waits to be written.
    fn size(&self) -> Size {
        let events = self.appends.iter().map(|append| &append.event);
        let buried = self.burials.iter().map(|burial| &burial.event);
        Size {
            events: self.appends.len() + self.burials.len(),
            bytes: events.chain(buried).map(|event| event.size()).sum(),
            letter_bytes: self.burials.iter().map(letter_bytes).sum(),
        }
    }
}

impl Held {
    /// Takes a part that can be written by itself. What an event needs before it is in an earlier part.
    fn split_front(&mut self, most: usize) -> Self {
        let mut part = Self::default();
        if !self.settled.is_empty() || self.lost > 0 {
            // It only frees room.
            part.lost = std::mem::take(&mut self.lost);
            part.settled = std::mem::take(&mut self.settled);
            part.settled_bytes = std::mem::take(&mut self.settled_bytes);
        } else if !self.appends.is_empty() {
            let most = most.min(self.appends.len());
            part.appends = self.appends.drain(..most).collect();
        } else {
            let most = most.min(self.burials.len());
            part.burials = self.burials.drain(..most).collect();
        }
        part
    }

    fn put_front(&mut self, part: Self) {
        self.settled.splice(..0, part.settled);
        self.settled_bytes += part.settled_bytes;
        self.lost += part.lost;
        self.appends.splice(..0, part.appends);
        self.burials.splice(..0, part.burials);
    }
}

/// What the writer is asked for, beside what is to be written.
struct Taken {
    reads: Vec<ReadRequest>,
    replays: Vec<Replay>,
    purges: Vec<Purge>,
    close: bool,
}

/// Why the disk does not take what is held.
struct Refused {
    is_full: bool,
    reason: String,
}

impl Writer {
    /// Opens a store, or replaces a damaged one.
    pub(super) fn open(state: &StateDir, name: &StoreName) -> Result<(Self, Found), StateError> {
        let path = state.store_file(name);
        place::finish(state, &path)?;
        let closing = Closing::default();
        let store = salvage::open(state, &path, name, &closing)?;
        let (store, found) = match count(&store) {
            Ok((found, counts)) => match counts.missing(&found) {
                0 => Ok((store, (found, counts))),
                // A page that leads to others may be wrong, so that they are there and not found.
                missing => Err((store, format!("{missing} records are missing"))),
            },
            Err(error) if is_damage(&error) => Err((store, error.to_string())),
            Err(error) => return Err(super::state_dir::in_store("read", &path)(error)),
        }
        .or_else(|(store, why)| {
            salvage::leave(store);
            let store = salvage::replace(state, &path, name, &why, None, &closing)?;
            let counted = count(&store).map_err(super::state_dir::in_store("read", &path))?;
            Ok((store, counted))
        })?;
        let (mut found, counts) = found;
        found.last_seq = found.last_seq.max(counts.last_seq);
        found.damaged = counts.damaged;
        found.lost = counts.lost;
        let place = Place::of(&path);
        let mut writer = Self {
            state: state.clone(),
            name: name.clone(),
            path,
            store,
            damaged: None,
            closing,
            letters: Arc::default(),
            held: Held::default(),
            queued: found.events.cast_signed(),
            dead: letters(&found),
            letter_limits: None,
            trim_at: Instant::now(),
            dropping: OncePerBurst::new(),
            missing: 0,
            last_seq: found.last_seq,
            written_since_check: 0,
            checked: None,
            shrinking: Shrinking::default(),
            place,
            astray: false,
            full_since: None,
            is_patient: false,
            ends: false,
        };
        writer
            .letters
            .set_past(counts.dead_dropped, counts.dead_letters_lost);
        writer.tell_letters();
        if (counts.queued, counts.dead) != (writer.queued, writer.dead.rows) {
            // Where the disk refuses even this, the next commit says so.
            let _ = writer.save_counts();
        }
        Ok((writer, found))
    }

    /// Works until the store is to be closed and everything is on disk.
    pub(super) fn run(mut self, shared: &Shared) {
        let mut failing = false;
        loop {
            let taken = self.gather(shared, failing);
            self.ends = taken.close;
            failing = !self.commit_all(shared);
            for replay in taken.replays {
                self.replay(shared, replay);
            }
            for purge in taken.purges {
                self.purge(purge);
            }
            for read in taken.reads {
                self.answer(read);
            }
            if taken.close && (self.held.is_empty() || failing) {
                break;
            }
            self.trim();
            self.tidy(failing);
        }
        self.tell_free(0);
        self.state.closed(self.dead.bytes);
        self.state.add_returning(0, self.held.settled_bytes);
        let burials = self.held.burials.iter();
        let letters = burials.filter(|burial| burial.seq.is_none()).count();
        if letters > 0 {
            tracing::error!(
                "store {:?}: {letters} dead letters could not be written and are lost",
                self.path
            );
        }
        let unwritten = self.unwritten();
        drop(self.store);
        shared.progress.send_modify(|progress| {
            progress.unwritten = unwritten;
            progress.closed = true;
        });
    }

    /// Waits for something to do and takes it.
    fn gather(&mut self, shared: &Shared, failing: bool) -> Taken {
        let mut pending = shared.pending.lock();
        let is_idle = |pending: &mut Pending| pending.is_idle() && !pending.close;
        let retry = failing.then(|| {
            let wait = if self.is_patient {
                PATIENT_RETRY
            } else {
                RETRY
            };
            Instant::now() + wait
        });
        let due = retry.into_iter().chain(self.shrinking.next());
        match due.chain(self.next_trim()).min() {
            None => shared.wake.wait_while(&mut pending, is_idle),
            Some(until) => {
                while is_idle(&mut pending)
                    && !shared.wake.wait_until(&mut pending, until).timed_out()
                {}
            }
        }
        self.held.appends.append(&mut pending.appends);
        self.held.burials.append(&mut pending.burials);
        self.held.settled.append(&mut pending.settled);
        self.held.lost += std::mem::take(&mut pending.lost);
        self.held.settled_bytes += std::mem::take(&mut pending.settled_bytes);
        if let Some(limits) = pending.letter_limits.take() {
            self.letter_limits = Some(limits);
            self.trim_at = Instant::now();
        }
        Taken {
            reads: std::mem::take(&mut pending.reads),
            replays: std::mem::take(&mut pending.replays),
            purges: std::mem::take(&mut pending.purges),
            close: pending.close,
        }
    }

    /// Writes what is held. Returns false where the disk refused.
    fn commit_all(&mut self, shared: &Shared) -> bool {
        if self.held.is_empty() && !self.astray && !self.ends {
            return true;
        }
        let before = self.held.size();
        let durable = self.held.appends.iter().any(|append| append.durable);
        // Before any is dropped: whoever waits for an event that is settled already waits for its place.
        if let Some(last) = self.held.appends.iter().map(|append| append.seq).max() {
            self.last_seq = self.last_seq.max(last);
        }
        self.drop_settled();
        let result = self.commit_in_place();
        let after = self.held.size();
        self.written_since_check += (before.bytes - after.bytes) as u64;
        shared.committed(Size {
            events: before.events - after.events,
            bytes: before.bytes - after.bytes,
            letter_bytes: before.letter_bytes - after.letter_bytes,
        });
        let first_held = self.held.appends.iter().map(|append| append.seq).min();
        let written_to = match first_held {
            // What is written would not be found again.
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

    fn commit_in_place(&mut self) -> Result<(), Refused> {
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
                // It is replaced before anything is told.
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

    /// How many events that should be in the queue on disk will not be found there.
    fn unwritten(&self) -> u64 {
        let held = &self.held.appends;
        if self.astray {
            return self.queued.max(0).cast_unsigned() + held.len() as u64;
        }
        let exists = |append: &&Append| {
            let mut select = (self.store).prepare_cached("SELECT 1 FROM queue WHERE seq = ?")?;
            select.exists([append.seq.cast_signed()])
        };
        // What cannot be looked up is not there.
        let unwritten = held
            .iter()
            .filter(|append| !exists(append).unwrap_or(false));
        unwritten.count() as u64
    }

    /// Whether a disk that is full may have room in a moment.
    fn waits_for_room(&mut self) -> bool {
        let own = self.shrinking.told() + self.held.settled_bytes;
        let patience = if self.state.returning() > own {
            OTHERS_PATIENCE
        } else {
            PATIENCE
        };
        let since = *self.full_since.get_or_insert_with(Instant::now);
        !self.ends && since.elapsed() < patience
    }

    /// Writes what is held, or as much of it as the disk takes; the rest stays held.
    fn commit_held(&mut self) -> rusqlite::Result<()> {
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

    /// An event that is settled before it was written need not be.
    fn drop_settled(&mut self) {
        if self.held.settled.is_empty() || self.held.appends.is_empty() {
            return;
        }
        self.held.settled.sort_unstable();
        let Held {
            appends, settled, ..
        } = &mut self.held;
        let is_settled = |append: &Append| settled.binary_search(&append.seq).is_ok();
        // They were never on disk, so none of them is missing there.
        let unwritten: Vec<u64> = (appends.iter())
            .filter(|append| append.attempts == 0 && is_settled(append))
            .map(|append| append.seq)
            .collect();
        appends.retain(|append| !is_settled(append));
        if self.missing > 0 {
            settled.retain(|seq| !unwritten.contains(seq));
        }
    }

    fn check_free(&mut self) -> Result<(), Refused> {
        let due = self.written_since_check >= FREE_CHECK_BYTES
            || self
                .checked
                .is_none_or(|checked| checked.elapsed() >= FREE_CHECK_PERIOD);
        // What only frees room is always allowed, and what would be lost if it was not written now.
        let adds = !(self.held.appends.is_empty() && self.held.burials.is_empty());
        if !adds || !due || self.ends {
            return Ok(());
        }
        // What is in the log, and what is written until the next look, takes room in the file, too.
        let log = std::fs::metadata(beside(&self.path, "-wal")).map_or(0, |log| log.len());
        let written = self.held.size().bytes as u64 + FREE_CHECK_BYTES;
        if let Err(reason) = self.state.check_free(log + 2 * written) {
            // As long as there is room for that: then the log is room that nobody else can take, and
            // what is settled can be deleted, and pages given back, on a disk without any.
            self.reuse_log();
            if !self.held.settled.is_empty() {
                let settled = self.held.split_front(0);
                if let Err((settled, _)) = self.commit(settled) {
                    // It is tried again with the rest.
                    self.held.put_front(settled);
                }
            }
            // What fits into free pages of the file takes no room of the file system, but for the log,
            // which the file takes in.
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

    /// Writes a part of what is held, or gives it back.
    #[allow(clippy::result_large_err)] // It moves into its place again, once per refusal of the disk.
    fn commit(&mut self, part: Held) -> Result<(), (Held, rusqlite::Error)> {
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

    fn write(&mut self, part: &Held) -> rusqlite::Result<()> {
        let durable = part.appends.iter().any(|append| append.durable);
        // FULL: the log is on disk before the commit returns. It is set between transactions only.
        let level = if durable { "FULL" } else { "NORMAL" };
        self.store.pragma_update(None, "synchronous", level)?;
        let (mut queued, mut missing) = (self.queued, self.missing);
        let mut restored = 0;
        let dead_before = self.dead.rows;
        let mut burying = self.burying();
        // A row that damage took is not there any more for its event to be settled.
        let mut gone = |deleted: usize| {
            let over = changes(deleted);
            if deleted == 0 && missing > 0 {
                missing -= 1;
                1
            } else {
                over
            }
        };
        let transaction = self
            .store
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(&schema::insert_queued())?;
            let mut exists = transaction.prepare_cached("SELECT 1 FROM queue WHERE seq = ?")?;
            for append in &part.appends {
                if append.attempts == 0 || !exists.exists([append.seq.cast_signed()])? {
                    if append.again && restored < self.missing {
                        // Damage took its row; it was counted all the time.
                        restored += 1;
                    } else {
                        queued += 1;
                    }
                }
                insert.raw_bind_parameter(1, append.seq.cast_signed())?;
                insert.raw_bind_parameter(2, append.attempts)?;
                record::bind(&mut insert, 3, append.seq, &append.event)?;
                insert.raw_execute()?;
            }
            let mut delete = transaction.prepare_cached("DELETE FROM queue WHERE seq = ?")?;
            for burial in &part.burials {
                burying.bury(&transaction, |bury| {
                    bury.raw_bind_parameter(1, &burial.error)?;
                    bury.raw_bind_parameter(2, burial.attempts)?;
                    bury.raw_bind_parameter(3, burial.first_attempt_ns.cast_signed())?;
                    bury.raw_bind_parameter(4, burial.last_attempt_ns.cast_signed())?;
                    record::bind(bury, 5, record::NO_PLACE, &burial.event)
                })?;
                if let Some(seq) = burial.seq {
                    queued -= gone(delete.execute([seq.cast_signed()])?);
                }
            }
            for seq in &part.settled {
                queued -= gone(delete.execute([seq.cast_signed()])?);
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
                .prepare_cached(
                    "UPDATE counts SET queued = ?1, dead = dead + ?2, last_seq = max(last_seq, ?3), \
                     first_seq = coalesce((SELECT min(seq) FROM queue), ?3 + 1)",
                )?
                .execute([
                    queued,
                    burying.kept.rows - dead_before,
                    self.last_seq.cast_signed(),
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

    fn save_counts(&mut self) -> rusqlite::Result<()> {
        self.store
            .execute(
                "UPDATE counts SET queued = ?, dead = ?",
                [self.queued, self.dead.rows],
            )
            .map(drop)
    }

    /// Replaces a store that turns out to be damaged. Where that fails, it says why, and is tried again
    /// by [`mend`](Self::mend); the damaged store is left as it is.
    pub(super) fn replace(&mut self, why: &str) -> Result<(), String> {
        let placeholder = Connection::open_in_memory().map_err(|error| error.to_string())?;
        salvage::leave(std::mem::replace(&mut self.store, placeholder));
        self.damaged = Some(Damaged {
            why: why.to_owned(),
            fault: String::new(),
            wait: MEND_AGAIN,
            again: Instant::now(),
        });
        self.mend()
    }

    /// Replaces a store that is damaged and could not be replaced before, if it is time.
    pub(super) fn mend(&mut self) -> Result<(), String> {
        let Some(damaged) = &mut self.damaged else {
            return Ok(());
        };
        if Instant::now() < damaged.again {
            return Err(damaged.fault.clone());
        }
        let known = Known {
            queued: self.queued,
            dead: self.dead.rows,
            last_seq: self.last_seq,
        };
        let replaced = salvage::replace(
            &self.state,
            &self.path,
            &self.name,
            &damaged.why,
            Some(known),
            &self.closing,
        );
        let counted = replaced
            .map_err(|error| error.to_string())
            .and_then(|store| {
                let counted = count(&store).map_err(|error| error.to_string())?;
                Ok((store, counted))
            });
        match counted {
            Ok((store, (found, counts))) => {
                let rows = found.events.cast_signed();
                self.queued = counts.queued.max(rows);
                self.missing = self.queued - rows;
                self.state.give_letters(self.dead.bytes);
                self.dead = letters(&found);
                self.state.add_letters(self.dead.bytes);
                self.store = store;
                self.place = Place::of(&self.path);
                self.damaged = None;
                self.letters
                    .set_past(counts.dead_dropped, counts.dead_letters_lost);
                self.tell_letters();
                Ok(())
            }
            Err(fault) => {
                damaged.again = Instant::now() + damaged.wait;
                damaged.wait = (damaged.wait * 2).min(MEND_AGAIN_MOST);
                if damaged.fault != fault {
                    tracing::error!("{fault}; trying again");
                }
                damaged.fault.clone_from(&fault);
                Err(fault)
            }
        }
    }
}

/// Puts the fault of the last commit into the progress; says when that changes.
fn tell(fault: Option<&str>, progress: &mut Progress) {
    match fault {
        None => {
            if progress.fault.take().is_some() {
                tracing::info!("the disk takes events again");
            }
        }
        Some(reason) => {
            if progress.fault.as_deref() != Some(reason) {
                tracing::error!("events cannot be written to disk: {reason}; trying again");
                progress.fault = Some(reason.into());
            }
        }
    }
}

pub(super) fn changes(rows: usize) -> i64 {
    // A statement changes no more rows than a file can have.
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// What a store says should be in it.
struct Counts {
    queued: i64,
    dead: i64,
    last_seq: u64,
    damaged: u64,
    lost: u64,
    dead_letters_lost: u64,
    dead_dropped: u64,
}

impl Counts {
    /// How many rows are not there.
    fn missing(&self, found: &Found) -> i64 {
        let queued = self.queued - found.events.cast_signed();
        let dead = self.dead - found.dead_letters.cast_signed();
        queued.max(0) + dead.max(0)
    }
}

fn letters(found: &Found) -> Letters {
    Letters {
        rows: found.dead_letters.cast_signed(),
        bytes: found.dead_letter_bytes,
    }
}

/// Counts what is in a store; reads every page of the queue's tree, but not the bodies.
fn count(store: &Connection) -> rusqlite::Result<(Found, Counts)> {
    let (dead_letters, dead_letter_bytes) = store.query_row(
        &format!("SELECT count(*), coalesce(sum({LETTER_SIZE}), 0) FROM dead_letters"),
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let found = store.query_row(
        "SELECT count(*), coalesce(sum(length(body) + length(profile)), 0), coalesce(min(seq), 0), \
         coalesce(max(seq), 0) FROM queue",
        [],
        |row| {
            let events: u64 = row.get(0)?;
            let bytes: u64 = row.get(1)?;
            Ok(Found {
                events,
                bytes: bytes + events * super::journal::RECORD_BYTES,
                first_seq: row.get(2)?,
                last_seq: row.get(3)?,
                dead_letters,
                dead_letter_bytes,
                ..Found::default()
            })
        },
    )?;
    let counts = store.query_row(
        "SELECT queued, dead, last_seq, damaged, lost, dead_letters_lost, dead_dropped FROM counts",
        [],
        |row| {
            Ok(Counts {
                queued: row.get(0)?,
                dead: row.get(1)?,
                last_seq: row.get(2)?,
                damaged: row.get(3)?,
                lost: row.get(4)?,
                dead_letters_lost: row.get(5)?,
                dead_dropped: row.get(6)?,
            })
        },
    )?;
    Ok((found, counts))
}

/// Whether an error says that the file is not what was written.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            matches!(
                failure.code,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
            ) || message.as_deref().is_some_and(|text| {
                ["no such", "malformed", "unsupported file format"]
                    .iter()
                    .any(|damage| text.contains(damage))
            })
        }
        // A damaged schema shows as SQL that makes no sense.
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::QueryReturnedNoRows
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => true,
        _ => false,
    }
}
