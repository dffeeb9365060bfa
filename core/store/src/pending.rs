//! The pending work of a store's writer, and its progress.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Stored;
use super::journal::{MAX_STAGED_BYTES, MAX_STAGED_EVENTS};
use evbus_destination::DeadLetterLimits;
use evbus_event::Event;

/// An event to be written to the queue.
#[derive(Debug, Clone)]
pub(super) struct Append {
    pub(super) seq: u64,
    pub(super) attempts: u32,
    pub(super) event: Arc<Event>,
    /// Somebody waits until it is safely on disk.
    pub(super) durable: bool,
    /// Its row was handed in before, and counted.
    pub(super) again: bool,
}

impl Append {
    /// Whether there is nothing to write, unless damage took its row.
    pub(super) fn is_spare(&self) -> bool {
        self.again && self.attempts == 0
    }
}

/// An event that becomes a dead letter.
#[derive(Debug, Clone)]
pub struct Burial {
    /// Its place in the queue, where it is on disk; that row goes.
    pub seq: Option<u64>,
    /// The event.
    pub event: Arc<Event>,
    /// Why it was not delivered.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// In nanoseconds since the Unix epoch.
    pub first_attempt_ns: u64,
    /// Nanoseconds since 1970 in UTC.
    pub last_attempt_ns: u64,
}

/// How much waits to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Events and dead letters.
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// Of dead letters only.
    pub(super) letter_bytes: usize,
}

/// The size of a dead letter while it waits to be written; an empty body has a size too.
pub(super) fn letter_bytes(burial: &Burial) -> usize {
    burial.event.size() + burial.error.len() + 100
}

/// Events that were read back.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of their numbers.
    pub events: Vec<Stored>,
    /// Records that turned out to be damaged; they are among the dead letters now.
    pub damaged: u64,
    /// All events up to this place that are on disk and were asked for are in `events`, since there
    /// is none beyond the last of them.
    pub complete_to: Option<u64>,
}

pub(super) struct ReadRequest {
    pub(super) from: u64,
    pub(super) max_events: usize,
    pub(super) max_bytes: usize,
    pub(super) reply: oneshot::Sender<Loaded>,
}

impl ReadRequest {
    /// Whether another event fits into an answer, which would then have this many bytes. The first one always does.
    pub(super) fn has_room(&self, loaded: &Loaded, bytes: usize) -> bool {
        loaded.events.is_empty()
            || (loaded.events.len() < self.max_events && bytes <= self.max_bytes)
    }
}

/// Work for the writer.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) appends: Vec<Append>,
    /// The number of appends that the writer waits for; 0 if it does not wait.
    pub(super) awaited: usize,
    pub(super) burials: Vec<Burial>,
    /// Positions of settled events.
    pub(super) settled: Vec<u64>,
    /// The size of these on disk, until they are deleted.
    pub(super) settled_bytes: u64,
    /// Events that should be on disk but are not.
    pub(super) lost: u64,
    pub(super) reads: Vec<ReadRequest>,
    pub(super) replays: Vec<Replay>,
    pub(super) purges: Vec<Purge>,
    /// A new bound of dead letters.
    pub(super) letter_limits: Option<DeadLetterLimits>,
    pub(super) close: bool,
    /// The writer has ended.
    pub(super) ended: bool,
    /// Number of appends and burials, including those that the writer has taken and not committed.
    pub(super) staged_events: usize,
    pub(super) staged_bytes: usize,
    /// Bytes of burials only.
    pub(super) staged_letter_bytes: usize,
}

/// Dead letters to be put back into the queue.
pub(super) struct Replay {
    pub(super) numbers: Vec<i64>,
    /// Their positions in the queue: this one and those after it.
    pub(super) first_seq: u64,
    /// `None` once it was called.
    done: Option<OnReplayed>,
}

impl Replay {
    pub(super) fn new(numbers: Vec<i64>, first_seq: u64, done: OnReplayed) -> Self {
        Self {
            numbers,
            first_seq,
            done: Some(done),
        }
    }

    pub(super) fn tell(&mut self, moved: Result<u64, String>) {
        if let Some(done) = self.done.take() {
            done(moved);
        }
    }
}

impl Drop for Replay {
    /// The lane waits for these positions, so it is informed however the writer ended.
    fn drop(&mut self) {
        self.tell(Err("the store's thread ended unexpectedly".to_owned()));
    }
}

/// Work left when the writer ended. Dropping it informs everybody who waits for an answer.
pub(super) struct Unserved {
    /// Events that were not written.
    pub(super) events: u64,
    _reads: Vec<ReadRequest>,
    _replays: Vec<Replay>,
    _purges: Vec<Purge>,
}

/// Told how many dead letters were moved, or why none was, by the store's thread and before any of them
/// can be read back.
pub type OnReplayed = Box<dyn FnOnce(Result<u64, String>) + Send>;

/// Dead letters to be deleted.
pub(super) struct Purge {
    pub(super) numbers: Vec<i64>,
    pub(super) reply: oneshot::Sender<Result<u64, String>>,
}

impl Pending {
    pub(super) fn is_idle(&self) -> bool {
        self.appends.is_empty()
            && self.burials.is_empty()
            && self.settled.is_empty()
            && self.lost == 0
            && self.reads.is_empty()
            && self.replays.is_empty()
            && self.purges.is_empty()
            && self.letter_limits.is_none()
    }

    /// Whether what the writer waits for has come, or something that does not wait.
    pub(super) fn is_gathered(&self) -> bool {
        self.awaited > 0
            && (self.appends.len() >= self.awaited
                || self.close
                || !(self.reads.is_empty() && self.replays.is_empty() && self.purges.is_empty()))
    }

    /// Takes out everything that will not be done any more.
    pub(super) fn drain(&mut self) -> Unserved {
        let waiting = std::mem::take(self);
        self.close = waiting.close;
        self.ended = waiting.ended;
        Unserved {
            events: waiting.appends.len() as u64,
            _reads: waiting.reads,
            _replays: waiting.replays,
            _purges: waiting.purges,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.staged_bytes < MAX_STAGED_BYTES && self.staged_events < MAX_STAGED_EVENTS
    }

    pub(super) fn has_room_for_letters(&self) -> bool {
        self.staged_letter_bytes < MAX_STAGED_BYTES
    }
}

/// The writer's progress.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// All events up to this position are on disk or settled.
    pub(super) written_to: u64,
    /// Why the disk accepts nothing at the moment.
    pub(super) fault: Option<Arc<str>>,
    /// Commits that were flushed, for durable events.
    pub(super) flushed_commits: u64,
    /// Events that could not be written before the store was closed.
    pub(super) unwritten: u64,
    /// Dead letters, besides those events, that could not be written either.
    pub(super) unwritten_letters: u64,
    pub(super) closed: bool,
}
