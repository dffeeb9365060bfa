//! One destination's store, as its lane uses it.
//!
//! Nothing here waits for the disk: everything to be written is passed to the store's own thread
//! (`writer`), which commits all gathered changes at once. [`Receipt`] waits for such a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot, watch};

use super::letters::LetterCounts;
pub(super) use super::pending::{
    Append, Burial, Loaded, OnReplayed, Pending, Progress, Purge, ReadRequest, Replay, Size,
    Unserved, letter_bytes,
};
use super::receipt::Receipt;
use super::salvage::Closing;
use super::{StateDir, StateError, StoreName, writer};
use evbus_destination::DeadLetterLimits;
use evbus_event::Event;

/// How many bytes of events may wait to be written. A program that fires faster than the disk writes waits, if its
/// destination's policy says so.
pub(super) const MAX_STAGED_BYTES: usize = 8 * 1024 * 1024;

/// If the file system has less free space than this for each open store, an event counts as accepted only when it is
/// on disk, not while it waits to be written. Twice the staged bytes, for the log and the file, and as much again as a
/// reserve.
const ROOMY_BYTES: u64 = 4 * MAX_STAGED_BYTES as u64;

/// How many events may wait to be written.
pub(super) const MAX_STAGED_EVENTS: usize = 65_536;

/// About what an event takes on disk besides its body and profile.
pub(crate) const RECORD_BYTES: u64 = 100;

/// The size of an event on disk, reckoned as that of the events found at a start.
pub fn record_bytes(event: &Event) -> u64 {
    (event.body().len() + event.profile().len()) as u64 + RECORD_BYTES
}

/// What the lane and the writer share.
pub(super) struct Shared {
    pub(super) pending: Mutex<Pending>,
    pub(super) wake: Condvar,
    pub(super) progress: watch::Sender<Progress>,
    /// Notified when there is room again.
    pub(super) room: Notify,
    /// Events handed in that are not settled, buried or lost.
    taken: Mutex<Taken>,
    state: StateDir,
    /// When closing began; after that, a salvage must end soon.
    closing: Closing,
    letters: Arc<LetterCounts>,
    /// Whether, at the last check, there was room on disk for everything that waits to be written.
    is_roomy: AtomicBool,
}

/// Events of a store, and their size on disk.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    events: u64,
    bytes: u64,
}

impl Shared {
    /// Checks whether the disk has room for everything that may wait to be written.
    pub(super) fn look_for_room(&self) {
        let is_roomy = self.state.has_free(ROOMY_BYTES);
        self.is_roomy.store(is_roomy, Ordering::Relaxed);
    }

    pub(super) fn add(&self, events: u64, bytes: u64) {
        let mut taken = self.taken.lock();
        taken.events += events;
        taken.bytes += bytes;
        drop(taken);
        self.state.add(bytes);
    }

    /// Gives back the room of events.
    pub(super) fn subtract(&self, events: u64, bytes: u64) {
        let mut taken = self.taken.lock();
        taken.events = taken.events.saturating_sub(events);
        // The size of events lost to damage is unknown; if no event remains, the rest is zero.
        let bytes = if taken.events == 0 {
            taken.bytes
        } else {
            bytes.min(taken.bytes)
        };
        taken.bytes -= bytes;
        drop(taken);
        self.state.subtract(bytes);
    }

    /// The writer has ended: everybody who waits for it is informed.
    pub(super) fn end(&self, fault: Option<&str>, unwritten: u64, unwritten_letters: u64) {
        let mut pending = self.pending.lock();
        pending.ended = true;
        let unserved = pending.drain();
        drop(pending);
        self.progress.send_modify(|progress| {
            if progress.closed {
                return;
            }
            if let Some(fault) = fault {
                progress.fault = Some(fault.into());
            }
            progress.unwritten = unwritten;
            progress.unwritten_letters = unwritten_letters;
            progress.closed = true;
        });
        self.lose_unserved(&unserved);
        self.room.notify_waiters();
    }

    /// Counts events handed in after the writer ended as not on disk.
    fn lose_unserved(&self, unserved: &Unserved) {
        if unserved.events > 0 {
            self.progress
                .send_modify(|progress| progress.unwritten += unserved.events);
        }
    }

    /// Gives back the staging room of what is now on disk.
    pub(super) fn committed(&self, done: Size) {
        let mut pending = self.pending.lock();
        pending.staged_events -= done.events;
        pending.staged_bytes -= done.bytes;
        pending.staged_letter_bytes -= done.letter_bytes;
        drop(pending);
        self.room.notify_waiters();
    }
}

/// The contents of a store when it is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Events in the queue.
    pub events: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// The number of the first of them.
    pub first_seq: u64,
    /// The last number that was ever used.
    pub last_seq: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Their size in bytes.
    pub dead_letter_bytes: u64,
    /// Events with damaged records, now among the dead letters, since the store was created.
    pub damaged: u64,
    /// Events that damage destroyed, since the store was created.
    pub lost: u64,
}

/// A destination's store. Dropping it commits the pending changes in the background.
pub struct Journal {
    shared: Arc<Shared>,
    found: Found,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the store of a destination and starts its thread. Blocks while it reads the store's
    /// contents. A damaged store is replaced, and its readable records are kept.
    ///
    /// # Errors
    ///
    /// The directory cannot be written to, or the store has a newer format.
    pub fn open(state: &StateDir, name: &StoreName) -> Result<Self, StateError> {
        let (writer, found) = writer::Writer::open(state, name)?;
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            wake: Condvar::new(),
            progress: watch::Sender::new(Progress {
                written_to: found.last_seq,
                ..Progress::default()
            }),
            room: Notify::new(),
            taken: Mutex::default(),
            state: state.clone(),
            closing: Arc::clone(&writer.closing),
            letters: Arc::clone(&writer.letters),
            is_roomy: AtomicBool::new(false),
        });
        shared.look_for_room();
        shared.add(found.events, found.bytes);
        state.opened(found.dead_letter_bytes);
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("evbus-store".to_owned())
            .spawn(move || writer.run(&its))
            .map_err(super::full_disk::at(
                "start a thread for the store in",
                state.path(),
            ))?;
        Ok(Self {
            shared,
            found,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Its contents when it was opened.
    pub fn found(&self) -> Found {
        self.found
    }

    /// The state directory it lies in.
    pub fn state(&self) -> &StateDir {
        &self.shared.state
    }

    /// The size of this store's events.
    pub fn bytes(&self) -> u64 {
        self.shared.taken.lock().bytes
    }

    fn change(&self, change: impl FnOnce(&mut Pending)) {
        let mut pending = self.shared.pending.lock();
        let was_idle = pending.is_idle();
        change(&mut pending);
        let is_gathered = pending.is_gathered();
        let unserved = pending.ended.then(|| pending.drain());
        drop(pending);
        if let Some(unserved) = unserved {
            self.shared.lose_unserved(&unserved);
        } else if was_idle || is_gathered {
            self.shared.wake.notify_one();
        }
    }

    /// Whether another event may be handed in.
    pub fn has_room(&self) -> bool {
        self.shared.pending.lock().has_room()
    }

    /// Hands in an event for the queue. Places ascend from call to call, except when the lane ends.
    pub fn append(&self, seq: u64, attempts: u32, event: &Arc<Event>, durable: bool) {
        self.hand_in(Append {
            seq,
            attempts,
            event: Arc::clone(event),
            durable,
            again: false,
        });
    }

    /// Hands in an event that is already on disk, for the attempts it has had since, and in case that
    /// damage took it there.
    pub fn update(&self, seq: u64, attempts: u32, event: &Arc<Event>) {
        self.shared.subtract(1, record_bytes(event));
        self.hand_in(Append {
            seq,
            attempts,
            event: Arc::clone(event),
            durable: false,
            again: true,
        });
    }

    fn hand_in(&self, append: Append) {
        self.shared.add(1, record_bytes(&append.event));
        self.change(|pending| {
            pending.staged_events += 1;
            pending.staged_bytes += append.event.size();
            pending.appends.push(append);
        });
    }

    /// Deletes settled events, given by their numbers and total size.
    pub fn settle(&self, seqs: Vec<u64>, bytes: u64) {
        self.shared.subtract(seqs.len() as u64, bytes);
        self.shared.state.add_returning(bytes, 0);
        self.change(|pending| {
            pending.settled.extend(seqs);
            pending.settled_bytes += bytes;
        });
    }

    /// Counts events that should be on disk but are missing.
    pub fn lose(&self, events: u64) {
        // The size of the lost events is unknown, so the average is used.
        let taken = *self.shared.taken.lock();
        let bytes = u128::from(taken.bytes) * u128::from(events) / u128::from(taken.events.max(1));
        // Never more than the total.
        self.shared
            .subtract(events, u64::try_from(bytes).unwrap_or(u64::MAX));
        self.change(|pending| pending.lost += events);
    }

    /// Hands in dead letters; `bytes` is what those of them that are in the queue take there.
    pub fn bury(&self, burials: Vec<Burial>, bytes: u64) {
        let queued = burials.iter().filter(|burial| burial.seq.is_some());
        self.shared.subtract(queued.count() as u64, bytes);
        self.change(|pending| {
            for burial in burials {
                pending.staged_events += 1;
                pending.staged_bytes += burial.event.size();
                pending.staged_letter_bytes += letter_bytes(&burial);
                pending.burials.push(burial);
            }
        });
    }

    /// Resolves when more events may be handed in.
    pub async fn room(&self) {
        loop {
            let room = self.shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    /// Resolves when more dead letters may be handed in.
    pub async fn room_for_letters(&self) {
        loop {
            let room = self.shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.shared.pending.lock().has_room_for_letters() {
                return;
            }
            room.await;
        }
    }

    /// The writer also wakes those who wait for room.
    pub fn room_notify(&self) -> &Notify {
        &self.shared.room
    }

    /// Asks for events from a place on, in order: at least one where there is one.
    pub fn read(
        &self,
        from: u64,
        max_events: usize,
        max_bytes: usize,
    ) -> oneshot::Receiver<Loaded> {
        let (reply, loaded) = oneshot::channel();
        self.change(|pending| {
            pending.reads.push(ReadRequest {
                from,
                max_events,
                max_bytes,
                reply,
            });
        });
        loaded
    }

    /// Puts dead letters back into the queue, at `first_seq` and the places that follow. Says whether there
    /// is a writer to do it; else `done` is not called.
    #[must_use]
    pub fn replay(&self, numbers: Vec<i64>, first_seq: u64, done: OnReplayed) -> bool {
        let mut pending = self.shared.pending.lock();
        if pending.ended {
            return false;
        }
        pending.replays.push(Replay::new(numbers, first_seq, done));
        drop(pending);
        self.shared.wake.notify_one();
        true
    }

    /// Deletes dead letters. Answers with how many there were.
    pub fn purge(&self, numbers: Vec<i64>) -> oneshot::Receiver<Result<u64, String>> {
        let (reply, done) = oneshot::channel();
        self.change(|pending| pending.purges.push(Purge { numbers, reply }));
        done
    }

    /// Why the disk does not accept events at the moment.
    pub fn fault(&self) -> Option<Arc<str>> {
        self.shared.progress.borrow().fault.clone()
    }

    /// The counts of dead letters.
    pub fn letters(&self) -> &LetterCounts {
        &self.shared.letters
    }

    /// Limits the dead letters, including existing ones.
    pub fn bound_letters(&self, limits: DeadLetterLimits) {
        self.change(|pending| pending.letter_limits = Some(limits));
    }

    /// Commits that were flushed, for durable events, since it was opened.
    pub fn flushed_commits(&self) -> u64 {
        self.shared.progress.borrow().flushed_commits
    }

    /// A receipt for the event at a place.
    pub fn receipt(&self, seq: u64) -> Receipt {
        Receipt {
            seq,
            is_patient: false,
            progress: self.shared.progress.subscribe(),
        }
    }

    /// A receipt for an event that is on disk alone, where it is not certain that there is room for all that
    /// waits to be written.
    pub fn spill_receipt(&self, seq: u64) -> Option<Receipt> {
        let is_roomy = self.shared.is_roomy.load(Ordering::Relaxed);
        (!is_roomy).then(|| Receipt {
            is_patient: true,
            ..self.receipt(seq)
        })
    }

    /// Once it is closed: how many pending events the disk did not accept.
    pub fn unwritten(&self) -> u64 {
        self.shared.progress.borrow().unwritten
    }

    /// Once it is closed: how many pending dead letters the disk did not accept. Those whose events are
    /// still in the queue on disk are not counted.
    pub fn unwritten_letters(&self) -> u64 {
        self.shared.progress.borrow().unwritten_letters
    }

    /// Commits pending changes and ends the thread. Resolves when the file is closed.
    ///
    /// # Errors
    ///
    /// The reason why the disk does not accept the rest.
    pub async fn close(&self) -> Result<(), String> {
        self.shared.closing.get_or_init(Instant::now);
        self.change(|pending| pending.close = true);
        self.shared.wake.notify_one();
        let mut progress = self.shared.progress.subscribe();
        let ended = progress
            .wait_for(|progress| progress.closed)
            .await
            .map(|progress| progress.fault.clone())
            .map_err(drop);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // The thread has finished; a panic of it was already noticed by the closed channel.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        match ended {
            Ok(None) => Ok(()),
            Ok(Some(fault)) => Err(fault.to_string()),
            Err(()) => Err("the store's thread ended unexpectedly".to_owned()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Whatever remains in the file is counted again when it is next opened.
        self.shared.subtract(u64::MAX, u64::MAX);
        self.shared.closing.get_or_init(Instant::now);
        self.shared.pending.lock().close = true;
        self.shared.wake.notify_one();
    }
}
