//! The one thread that writes a store.
//!
//! It takes all pending work, writes it in one transaction, commits, and reports the result. If the disk
//! refuses, everything stays pending and is tried again; reads are still answered, from the disk and
//! from pending work.

mod commit;
mod counts;
mod gathering;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use counts::{count, letters};
use gathering::Gathering;

use super::ahead::Ahead;
use super::burying::Letters;
use super::journal::{
    Append, Burial, Found, Pending, Progress, Purge, ReadRequest, Replay, Shared, Size,
    letter_bytes,
};
use super::letters::LetterCounts;
use super::log_bound::LogBound;
use super::place::{self, Place};
use super::record;
use super::salvage::{self, Closing, Known};
use super::schema::{self, Harm};
use super::shrink::{Shrinking, is_full};
use super::{StateDir, StateError, StoreName};
use evbus_destination::DeadLetterLimits;
use evbus_report::OncePerBurst;
use evbus_report::counted;

/// The wait before another try on a disk that refused.
const RETRY: Duration = Duration::from_millis(500);

/// The wait before a damaged store is copied again after a failure, at first and at most.
const MEND_AGAIN: Duration = Duration::from_secs(1);
const MEND_AGAIN_MOST: Duration = Duration::from_mins(1);

/// The free space is checked after this many bytes, or this much time.
const FREE_CHECK_BYTES: u64 = 1024 * 1024;
const FREE_CHECK_PERIOD: Duration = Duration::from_secs(1);

/// How long a disk may be full before that is reported: room may become free; and how long if other stores are giving
/// room back.
const PATIENCE: Duration = Duration::from_secs(1);
const OTHERS_PATIENCE: Duration = Duration::from_secs(30);

/// How often a write is tried in the meantime.
const PATIENT_RETRY: Duration = Duration::from_millis(50);

/// How many events are written at a time if the disk does not accept all of them.
const PART: usize = 64;

pub(super) struct Writer {
    pub(super) state: StateDir,
    pub(super) name: StoreName,
    pub(super) path: PathBuf,
    /// An empty store in memory while the damaged one cannot be replaced.
    pub(super) store: Connection,
    damaged: Option<Damaged>,
    pub(super) closing: Closing,
    pub(super) letters: Arc<LetterCounts>,
    /// Taken from the pending work, and not committed yet.
    pub(super) held: Held,
    /// The number of rows that should be in the two tables.
    pub(super) queued: i64,
    pub(super) dead: Letters,
    /// The bound of the dead letters; `None` until the lane sets it.
    pub(super) letter_limits: Option<DeadLetterLimits>,
    /// When dead letters beyond it are dropped, if there are any.
    pub(super) trim_at: Instant,
    pub(super) dropping: OncePerBurst,
    /// Rows of the queue lost to damage. Events of some may be in the lane's memory; the lane reports how many of them
    /// are lost.
    missing: i64,
    pub(super) last_seq: u64,
    written_since_check: u64,
    checked: Option<Instant>,
    pub(super) shrinking: Shrinking,
    pub(super) log: LogBound,
    /// The open files, and whether they are known to have lost their names.
    pub(super) place: Place,
    pub(super) astray: bool,
    /// Since when the disk has been full, and whether there may be room soon.
    full_since: Option<Instant>,
    is_patient: bool,
    /// The store is being closed: what is not written now is lost.
    ends: bool,
    pub(super) ahead: Ahead,
    gathering: Gathering,
}

/// A damaged store that waits to be replaced.
struct Damaged {
    why: String,
    /// Why it was not replaced the last time.
    fault: String,
    wait: Duration,
    again: Instant,
}

#[derive(Default)]
pub(super) struct Held {
    pub(super) appends: Vec<Append>,
    burials: Vec<Burial>,
    settled: Vec<u64>,
    /// The size of the events at those positions on disk.
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

    /// Its share of the staging room.
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
    /// Splits off a part that can be written by itself. What an event depends on is in an earlier part.
    fn split_front(&mut self, most: usize) -> Self {
        let mut part = Self::default();
        if !self.settled.is_empty() || self.lost > 0 {
            // These free room: what a pack is kept of takes less than the packs that go.
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

/// Requests to the writer, besides what is to be written.
struct Taken {
    reads: Vec<ReadRequest>,
    replays: Vec<Replay>,
    purges: Vec<Purge>,
    close: bool,
}

/// The error for those who wait for a writer that panicked.
const PANICKED: &str =
    "the store's thread panicked, and the store is closed until the host restarts";

/// Informs those who wait for a writer that it has ended, even if its end panics.
struct Told<'a>(&'a Shared);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end(Some(PANICKED), 0, 0);
        }
    }
}

/// Why the disk does not accept what is held.
struct Refused {
    is_full: bool,
    reason: String,
}

impl Writer {
    /// Opens a store, or replaces a damaged one.
    pub(super) fn open(state: &StateDir, name: &StoreName) -> Result<(Self, Found), StateError> {
        let path = state.store_file(name);
        schema::check_files(&path)?;
        place::finish(state, &path)?;
        let closing = Closing::default();
        let store = salvage::open(state, &path, name, &closing)?;
        let (store, found) = match count(&store) {
            Ok((found, counts)) => match counts.fault(&found) {
                None => Ok((store, (found, counts))),
                Some(fault) => Err((store, fault)),
            },
            Err(error) if is_damage(&error) => Err((store, error.to_string())),
            Err(error) => return Err(super::full_disk::in_store("read", &path)(error)),
        }
        .or_else(|(store, why)| {
            salvage::leave(store);
            let store = salvage::replace(state, &path, name, &why, None, &closing)?;
            let counted = count(&store).map_err(super::full_disk::in_store("read", &path))?;
            Ok((store, counted))
        })?;
        let (mut found, counts) = found;
        found.last_seq = found.last_seq.max(counts.last_seq);
        found.damaged = counts.harm.damaged.cast_unsigned();
        found.lost = counts.harm.lost.cast_unsigned();
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
            log: LogBound::default(),
            place,
            astray: false,
            full_since: None,
            is_patient: false,
            ends: false,
            ahead: Ahead::default(),
            gathering: Gathering::default(),
        };
        writer.letters.set_past(&counts.harm);
        writer.tell_letters();
        // If the disk refuses even this, the next commit reports it.
        let _ = counts.correct(&mut writer.store, &found);
        Ok((writer, found))
    }

    /// Works until the store is to be closed and everything is on disk. However it ends, even by a panic, those who
    /// wait for it are informed.
    pub(super) fn run(mut self, shared: &Shared) {
        let _told = Told(shared);
        let worked = catch_unwind(AssertUnwindSafe(|| self.work(shared)));
        let panicked = worked.is_err();
        if panicked {
            tracing::error!(
                "store {:?}: its thread panicked; the store is closed, and nothing more is written to it until the host restarts",
                self.path
            );
        }
        self.tell_free(0);
        self.tell_log(0);
        self.state.closed(self.dead.bytes);
        self.state.add_returning(0, self.held.settled_bytes);
        let burials = self.held.burials.iter();
        let letters = burials.filter(|burial| burial.seq.is_none()).count();
        if letters > 0 {
            tracing::error!(
                "store {:?}: {} lost, because the disk did not accept them before the end",
                self.path,
                counted(letters as u64, "dead letter was", "dead letters were")
            );
        }
        let unwritten = if panicked {
            // What the writer had taken may be lost with it.
            let pending = shared.pending.lock();
            let waiting = pending.appends.len() + pending.burials.len();
            pending.staged_events.saturating_sub(waiting) as u64
        } else {
            self.unwritten()
        };
        drop(self.store);
        shared.end(panicked.then_some(PANICKED), unwritten, letters as u64);
    }

    fn work(&mut self, shared: &Shared) {
        let mut failing = false;
        loop {
            let mut taken = self.gather(shared, failing);
            self.ends = taken.close;
            let reads = std::mem::take(&mut taken.reads).into_iter();
            let reads: Vec<_> = reads
                .filter_map(|read| self.answer_from_ahead(read))
                .collect();
            failing = !self.commit_all(shared);
            for replay in taken.replays {
                self.replay(shared, replay);
            }
            for purge in taken.purges {
                self.purge(purge);
            }
            for read in reads {
                self.answer(shared, read);
            }
            if taken.close && (self.held.is_empty() || failing) {
                break;
            }
            self.trim();
            self.tidy(failing);
            if self.ahead.wants_more() && shared.pending.lock().is_idle() {
                self.read_ahead();
            }
        }
    }

    /// Waits for work and takes it.
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
            _ if self.ahead.wants_more() => {}
            None => shared.wake.wait_while(&mut pending, is_idle),
            Some(until) => {
                while is_idle(&mut pending)
                    && !shared.wake.wait_until(&mut pending, until).timed_out()
                {}
            }
        }
        self.gathering.wait(&shared.wake, &mut pending);
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

    /// Replaces a store that turns out to be damaged. If that fails, it returns why, and [`mend`](Self::mend) tries
    /// again; the damaged store is not changed.
    pub(super) fn replace(&mut self, why: &str) -> Result<(), String> {
        let placeholder = Connection::open_in_memory().map_err(|error| error.to_string())?;
        self.ahead.clear();
        salvage::leave(std::mem::replace(&mut self.store, placeholder));
        self.damaged = Some(Damaged {
            why: why.to_owned(),
            fault: String::new(),
            wait: MEND_AGAIN,
            again: Instant::now(),
        });
        self.mend()
    }

    /// Replaces a damaged store that could not be replaced before, if it is time.
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
                self.letters.set_past(&counts.harm);
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

pub(super) fn changes(rows: usize) -> i64 {
    // No statement changes more rows than a file can hold.
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Whether an error means that the file's content is not what was written.
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
        // A damaged schema appears as invalid SQL.
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::QueryReturnedNoRows
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => true,
        _ => false,
    }
}
