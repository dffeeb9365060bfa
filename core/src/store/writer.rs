//! The one thread that writes a store.
//!
//! It takes all that has gathered, writes it in one transaction, commits, and tells. Where the disk
//! refuses, everything stays where it is and is tried again; reads are answered all the same, from
//! the disk and from what is not on it yet.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::journal::{Append, Burial, Found, Pending, Progress, ReadRequest, Replay, Shared};
use super::record;
use super::salvage::{self, Closing, Known};
use super::schema::{self, Harm};
use super::{StateDir, StateError, StoreName};

/// How long to wait before the disk is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// How long to wait before a damaged store is copied again, where that failed, at first and at most.
const MEND_AGAIN: Duration = Duration::from_secs(1);
const MEND_AGAIN_MOST: Duration = Duration::from_secs(60);

/// The free space is looked at after this many bytes, or this much time.
const FREE_CHECK_BYTES: u64 = 4 * 1024 * 1024;
const FREE_CHECK_PERIOD: Duration = Duration::from_secs(1);

/// How many freed pages are given back to the file system at a time.
const GIVE_BACK_PAGES: i64 = 4096;

pub(super) struct Writer {
    state: StateDir,
    name: StoreName,
    pub(super) path: PathBuf,
    /// Empty and in memory while the store is damaged and could not be replaced.
    pub(super) store: Connection,
    damaged: Option<Damaged>,
    pub(super) closing: Closing,
    pub(super) dead_letters_lost: Arc<AtomicU64>,
    /// Taken and not committed.
    pub(super) held: Held,
    /// Rows that should be in the two tables.
    pub(super) queued: i64,
    pub(super) dead: i64,
    /// Those of the queue that damage took. Events of some may be in the lane's memory; the lane says
    /// how many of them are lost.
    missing: i64,
    pub(super) last_seq: u64,
    written_since_check: u64,
    checked: Option<Instant>,
    /// Whether freed pages may be given back.
    shrinks: bool,
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
    /// Events that the lane found missing.
    lost: u64,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.appends.is_empty()
            && self.burials.is_empty()
            && self.settled.is_empty()
            && self.lost == 0
    }

    /// What it takes of the room for what waits to be written.
    fn size(&self) -> (usize, usize) {
        let events = self.appends.iter().map(|append| &append.event);
        let buried = self.burials.iter().map(|burial| &burial.event);
        let bytes = events.chain(buried).map(|event| event.size()).sum();
        (self.appends.len() + self.burials.len(), bytes)
    }
}

impl Writer {
    /// Opens a store, or replaces a damaged one.
    pub(super) fn open(state: &StateDir, name: &StoreName) -> Result<(Self, Found), StateError> {
        let path = state.store_file(name);
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
        let mut writer = Self {
            state: state.clone(),
            name: name.clone(),
            path,
            store,
            damaged: None,
            closing,
            dead_letters_lost: Arc::new(AtomicU64::new(counts.dead_letters_lost)),
            held: Held::default(),
            queued: found.events.cast_signed(),
            dead: found.dead_letters.cast_signed(),
            missing: 0,
            last_seq: found.last_seq,
            written_since_check: 0,
            checked: None,
            shrinks: false,
        };
        if (counts.queued, counts.dead) != (writer.queued, writer.dead) {
            // Where the disk refuses even this, the next commit says so.
            let _ = writer.save_counts();
        }
        Ok((writer, found))
    }

    /// Works until the store is to be closed and everything is on disk.
    pub(super) fn run(mut self, shared: &Shared) {
        let mut failing = false;
        loop {
            let (reads, replays, close) = self.gather(shared, failing);
            failing = !self.commit_all(shared);
            for replay in replays {
                self.replay(shared, replay);
            }
            for read in reads {
                self.answer(read);
            }
            if close && (self.held.is_empty() || failing) {
                break;
            }
            if self.held.is_empty() && self.shrinks {
                self.give_back();
            }
        }
        drop(self.store);
        shared
            .progress
            .send_modify(|progress| progress.closed = true);
    }

    /// Waits for something to do and takes it.
    fn gather(&mut self, shared: &Shared, failing: bool) -> (Vec<ReadRequest>, Vec<Replay>, bool) {
        let mut pending = shared.pending.lock();
        let is_idle = |pending: &mut Pending| {
            let nothing_new = pending.appends.is_empty()
                && pending.burials.is_empty()
                && pending.settled.is_empty()
                && pending.lost == 0;
            nothing_new && pending.reads.is_empty() && pending.replays.is_empty() && !pending.close
        };
        if failing {
            let until = Instant::now() + RETRY;
            while is_idle(&mut pending) && !shared.wake.wait_until(&mut pending, until).timed_out()
            {
            }
        } else {
            shared.wake.wait_while(&mut pending, is_idle);
        }
        self.held.appends.append(&mut pending.appends);
        self.held.burials.append(&mut pending.burials);
        self.held.settled.append(&mut pending.settled);
        self.held.lost += std::mem::take(&mut pending.lost);
        (
            std::mem::take(&mut pending.reads),
            std::mem::take(&mut pending.replays),
            pending.close,
        )
    }

    /// Writes what is held. Returns false where the disk refused.
    fn commit_all(&mut self, shared: &Shared) -> bool {
        if self.held.is_empty() {
            return true;
        }
        let before = self.held.size();
        let durable = self.held.appends.iter().any(|append| append.durable);
        // Before any is dropped: whoever waits for an event that is settled already waits for its place.
        if let Some(last) = self.held.appends.iter().map(|append| append.seq).max() {
            self.last_seq = self.last_seq.max(last);
        }
        self.drop_settled();
        let fault = self.commit_or_replace().err();
        let after = if fault.is_none() {
            self.written_since_check += before.1 as u64;
            self.held = Held::default();
            (0, 0)
        } else {
            self.held.size()
        };
        shared.committed(before.0 - after.0, before.1 - after.1);
        let first_held = self.held.appends.iter().map(|append| append.seq).min();
        let written_to = first_held.map_or(self.last_seq, |seq| seq.saturating_sub(1));
        shared.progress.send_modify(|progress| {
            tell(fault.as_deref(), progress);
            progress.flushed_commits += u64::from(durable && fault.is_none());
            progress.written_to = progress.written_to.max(written_to);
        });
        fault.is_none()
    }

    /// Commits; where the store turns out to be damaged, it is replaced before.
    fn commit_or_replace(&mut self) -> Result<(), String> {
        self.mend()?;
        self.check_free()?;
        let committed = self.commit().or_else(|error| {
            if is_damage(&error) {
                self.replace(&error.to_string())?;
                self.commit().map_err(|error| error.to_string())
            } else {
                Err(error.to_string())
            }
        });
        committed.map_err(|error| format!("store {}: {error}", self.path.display()))
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

    fn check_free(&mut self) -> Result<(), String> {
        let due = self.written_since_check >= FREE_CHECK_BYTES
            || self
                .checked
                .is_none_or(|checked| checked.elapsed() >= FREE_CHECK_PERIOD);
        // What only frees room is always allowed.
        if self.held.appends.is_empty() && self.held.burials.is_empty() || !due {
            return Ok(());
        }
        self.state.check_free()?;
        self.written_since_check = 0;
        self.checked = Some(Instant::now());
        Ok(())
    }

    fn commit(&mut self) -> rusqlite::Result<()> {
        let durable = self.held.appends.iter().any(|append| append.durable);
        // FULL: the log is on disk before the commit returns. It is set between transactions only.
        let level = if durable { "FULL" } else { "NORMAL" };
        self.store.pragma_update(None, "synchronous", level)?;
        let (mut queued, mut dead, mut missing) = (self.queued, self.dead, self.missing);
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
        let transaction = self.store.transaction()?;
        {
            let mut insert = transaction.prepare_cached(&schema::insert_queued())?;
            let mut exists = transaction.prepare_cached("SELECT 1 FROM queue WHERE seq = ?")?;
            for append in &self.held.appends {
                if append.attempts == 0 || !exists.exists([append.seq.cast_signed()])? {
                    queued += 1;
                }
                insert.raw_bind_parameter(1, append.seq.cast_signed())?;
                insert.raw_bind_parameter(2, append.attempts)?;
                record::bind(&mut insert, 3, append.seq, &append.event)?;
                insert.raw_execute()?;
            }
            let mut bury = transaction.prepare_cached(&schema::insert_dead())?;
            let mut delete = transaction.prepare_cached("DELETE FROM queue WHERE seq = ?")?;
            for burial in &self.held.burials {
                bury.raw_bind_parameter(1, &burial.error)?;
                bury.raw_bind_parameter(2, burial.attempts)?;
                bury.raw_bind_parameter(3, burial.first_attempt_ns.cast_signed())?;
                bury.raw_bind_parameter(4, burial.last_attempt_ns.cast_signed())?;
                record::bind(&mut bury, 5, record::NO_PLACE, &burial.event)?;
                bury.raw_execute()?;
                dead += 1;
                if let Some(seq) = burial.seq {
                    queued -= gone(delete.execute([seq.cast_signed()])?);
                }
            }
            for seq in &self.held.settled {
                queued -= gone(delete.execute([seq.cast_signed()])?);
            }
            let lost = self.held.lost.cast_signed();
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
                .execute([queued, dead - self.dead, self.last_seq.cast_signed()])?;
        }
        transaction.commit()?;
        self.shrinks |= !self.held.settled.is_empty();
        (self.queued, self.dead, self.missing) = (queued, dead, missing);
        Ok(())
    }

    fn save_counts(&mut self) -> rusqlite::Result<()> {
        self.store
            .execute(
                "UPDATE counts SET queued = ?, dead = ?",
                [self.queued, self.dead],
            )
            .map(drop)
    }

    /// Puts dead letters back into the queue.
    fn replay(&mut self, shared: &Shared, replay: Replay) {
        let Replay {
            numbers,
            first_seq,
            reply,
        } = replay;
        let moved = super::deadletters::requeue(&mut self.store, &numbers, first_seq);
        if let Ok((moved, bytes)) = &moved {
            shared.add(*bytes);
            self.queued += changes(*moved);
            self.dead -= changes(*moved);
            self.last_seq = self.last_seq.max(first_seq + numbers.len() as u64 - 1);
        }
        // Whoever asked may have gone.
        let _ = reply.send(
            moved
                .map(|(moved, _)| moved as u64)
                .map_err(|error| error.to_string()),
        );
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
            dead: self.dead,
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
                self.dead = found.dead_letters.cast_signed();
                self.store = store;
                self.damaged = None;
                self.dead_letters_lost
                    .store(counts.dead_letters_lost, Ordering::Relaxed);
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

    /// Gives freed pages back to the file system, some at a time.
    fn give_back(&mut self) {
        let freed: i64 = self
            .store
            .pragma_query_value(None, "freelist_count", |row| row.get(0))
            .unwrap_or_default();
        // A queue that fills again needs them again.
        if freed <= GIVE_BACK_PAGES {
            self.shrinks = false;
            return;
        }
        let result = self
            .store
            .execute_batch(&format!("PRAGMA incremental_vacuum({GIVE_BACK_PAGES})"));
        self.shrinks = result.is_ok();
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

fn changes(rows: usize) -> i64 {
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
}

impl Counts {
    /// How many rows are not there.
    fn missing(&self, found: &Found) -> i64 {
        let queued = self.queued - found.events.cast_signed();
        let dead = self.dead - found.dead_letters.cast_signed();
        queued.max(0) + dead.max(0)
    }
}

/// Counts what is in a store; reads every page of the queue's tree, but not the bodies.
fn count(store: &Connection) -> rusqlite::Result<(Found, Counts)> {
    let found = store.query_row(
        "SELECT count(*), coalesce(sum(length(body) + length(profile)), 0), coalesce(min(seq), 0), \
         coalesce(max(seq), 0), (SELECT count(*) FROM dead_letters) FROM queue",
        [],
        |row| {
            let events: u64 = row.get(0)?;
            let bytes: u64 = row.get(1)?;
            Ok(Found {
                events,
                bytes: bytes + events * super::journal::RECORD_BYTES,
                first_seq: row.get(2)?,
                last_seq: row.get(3)?,
                dead_letters: row.get(4)?,
                ..Found::default()
            })
        },
    )?;
    let counts = store.query_row(
        "SELECT queued, dead, last_seq, damaged, lost, dead_letters_lost FROM counts",
        [],
        |row| {
            Ok(Counts {
                queued: row.get(0)?,
                dead: row.get(1)?,
                last_seq: row.get(2)?,
                damaged: row.get(3)?,
                lost: row.get(4)?,
                dead_letters_lost: row.get(5)?,
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
