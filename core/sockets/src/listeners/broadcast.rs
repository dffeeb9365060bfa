//! The state shared by all clones of a publisher and all its listeners.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use evbus_wire::Framing;
use parking_lot::Mutex;
use rustix::process::Gid;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::files::peer::{self, Peer};
use crate::limits::for_members;
use crate::listeners::connection;
use crate::listeners::frames::Frames;
use crate::listeners::log::Log;
use evbus_report::OncePerBurst;
use evbus_report::counted;

/// The listeners, what they are to be sent, and the doors they come in through.
pub(crate) struct Broadcast {
    pub(crate) queue_bytes: u64,
    /// How many there may be; more are closed.
    pub(crate) max_listeners: AtomicUsize,
    state: Mutex<State>,
    pub(crate) listeners: AtomicUsize,
    has_doors: AtomicBool,
    /// Whether pacing has been tried in vain since listeners last kept up.
    pub(crate) unpaced: AtomicBool,
    pub(crate) published: AtomicU64,
    pub(crate) cut_off: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unencodable: AtomicU64,
    pub(crate) turned_away: AtomicU64,
    slow: OncePerBurst,
    pub(crate) unencoded: OncePerBurst,
    full: OncePerBurst,
    /// Told whenever something is there to be sent, by framing.
    appended: [Notify; 2],
    /// Told whenever something has been sent, or a listener has gone.
    pub(crate) progress: Notify,
}

#[derive(Default)]
struct State {
    doors: Vec<Door>,
    /// By framing.
    branches: [Branch; 2],
}

/// A bound socket that listeners connect to.
struct Door {
    socket: Arc<StdListener>,
    framing: Framing,
    group: Option<Gid>,
    runtime: Handle,
}

/// The listeners of one framing.
#[derive(Default)]
struct Branch {
    log: Log,
    seats: Vec<Seat>,
    /// No listener can have too much waiting before the log is this long.
    check_at: u64,
    /// The longest frame since everything was last sent. It may wait beside the limit: one long
    /// frame is not a sign of a slow listener.
    longest: u64,
}

struct Seat {
    /// How much of the log has been sent.
    sent: Arc<AtomicU64>,
    task: AbortHandle,
    peer: Peer,
}

fn branch(framing: Framing) -> usize {
    match framing {
        Framing::Bare => 0,
        Framing::Prefixed => 1,
    }
}

impl Broadcast {
    pub(crate) fn new(queue_bytes: u64) -> Self {
        Self {
            queue_bytes,
            max_listeners: AtomicUsize::new(usize::MAX),
            state: Mutex::default(),
            listeners: AtomicUsize::new(0),
            has_doors: AtomicBool::new(false),
            unpaced: AtomicBool::new(false),
            published: AtomicU64::new(0),
            cut_off: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unencodable: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            slow: OncePerBurst::new(),
            unencoded: OncePerBurst::new(),
            full: OncePerBurst::new(),
            appended: [Notify::new(), Notify::new()],
            progress: Notify::new(),
        }
    }

    /// Listeners may connect to `socket`, which does not block, from now on.
    pub(crate) fn open_door(
        &self,
        socket: Arc<StdListener>,
        framing: Framing,
        group: Option<Gid>,
        runtime: Handle,
    ) {
        let door = Door {
            socket,
            framing,
            group,
            runtime,
        };
        self.state.lock().doors.push(door);
        self.has_doors.store(true, Ordering::Release);
    }

    /// Lets listeners in at `socket`, whose door is open, as they come. Ready only with an error.
    ///
    /// Here and in [`accept`](Self::accept), accepting and letting in are one step under the lock:
    /// a listener that has been accepted never misses an event because it has no seat yet.
    pub(crate) fn poll_accept(
        broadcast: &Arc<Self>,
        framing: Framing,
        group: Option<Gid>,
        socket: &UnixListener,
        context: &mut Context<'_>,
    ) -> Poll<io::Error> {
        let mut state = broadcast.state.lock();
        loop {
            match ready!(socket.poll_accept(context)) {
                Ok((stream, _)) => {
                    state.let_in(broadcast, framing, group, &Handle::current(), stream);
                }
                Err(error) => return Poll::Ready(error),
            }
        }
    }

    /// Lets in all that wait at any door. Never waits.
    pub(crate) fn accept_all(broadcast: &Arc<Self>) {
        if broadcast.has_doors.load(Ordering::Acquire) {
            let mut state = broadcast.state.lock();
            for door in 0..state.doors.len() {
                // What goes wrong here goes wrong again where the door is watched, and is told
                // there.
                let _ = Self::accept(broadcast, &mut state, door);
            }
        }
    }

    fn accept(broadcast: &Arc<Self>, state: &mut State, door: usize) -> io::Result<()> {
        loop {
            let Door {
                socket,
                framing,
                group,
                runtime,
            } = &state.doors[door];
            let stream = match socket.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let (framing, group, runtime) = (*framing, *group, runtime.clone());
            let _in_runtime = runtime.enter();
            stream.set_nonblocking(true)?;
            let stream = UnixStream::from_std(stream)?;
            state.let_in(broadcast, framing, group, &runtime, stream);
        }
    }

    /// Queues frames for all listeners, and cuts off those that had too much waiting before one.
    pub(crate) fn append(&self, frames: &mut Frames) {
        let count = frames.count() as u64;
        let mut cut_off = 0;
        {
            let state = &mut *self.state.lock();
            // Those without a prefix last: they are given away.
            for framing in [Framing::Prefixed, Framing::Bare] {
                let branch = &mut state.branches[branch(framing)];
                cut_off += branch.append(frames, framing, self.queue_bytes);
            }
        }
        self.published.fetch_add(count, Ordering::Relaxed);
        for appended in &self.appended {
            appended.notify_waiters();
        }
        if cut_off > 0 {
            self.listeners.fetch_sub(cut_off, Ordering::AcqRel);
            self.cut_off.fetch_add(cut_off as u64, Ordering::Relaxed);
            self.progress.notify_waiters();
            if self.slow.begins() {
                tracing::warn!(
                    "cut off {} with more than {} unread bytes each (logged once per burst; all are counted)",
                    counted(cut_off as u64, "listener", "listeners"),
                    self.queue_bytes
                );
            }
        }
    }

    /// Told when there is something to send.
    pub(crate) fn appended(&self, framing: Framing) -> &Notify {
        &self.appended[branch(framing)]
    }

    /// Makes what has been appended readable; tells whether there was anything.
    pub(crate) fn seal(&self, framing: Framing) -> bool {
        self.state.lock().branches[branch(framing)].log.seal()
    }

    /// Forgets a listener that has gone.
    pub(crate) fn leave(&self, framing: Framing, sent: &Arc<AtomicU64>) {
        let mut state = self.state.lock();
        let branch = &mut state.branches[branch(framing)];
        // One that has been cut off has no seat any more.
        if let Some(seat) = branch
            .seats
            .iter()
            .position(|seat| Arc::ptr_eq(&seat.sent, sent))
        {
            branch.seats.swap_remove(seat);
            branch.clear_if_empty();
            self.listeners.fetch_sub(1, Ordering::AcqRel);
        }
        drop(state);
        self.progress.notify_waiters();
    }

    /// Closes the door to `socket`.
    pub(crate) fn close_door(&self, socket: &Arc<StdListener>) {
        let mut state = self.state.lock();
        state
            .doors
            .retain(|door| !Arc::ptr_eq(&door.socket, socket));
        self.has_doors
            .store(!state.doors.is_empty(), Ordering::Release);
    }

    /// Ends every listener's connection.
    pub(crate) fn end_all(&self) {
        let mut state = self.state.lock();
        for branch in &mut state.branches {
            for seat in branch.seats.drain(..) {
                seat.task.abort();
                self.listeners.fetch_sub(1, Ordering::AcqRel);
            }
            branch.clear_if_empty();
        }
    }

    /// How far behind the fastest listener is, in bytes; 0 if there is none.
    pub(crate) fn least_lag(&self) -> u64 {
        if self.listeners.load(Ordering::Acquire) == 0 {
            return 0;
        }
        self.state.lock().lags().min().unwrap_or(0)
    }

    /// How far behind the slowest listener is, in bytes.
    pub(crate) fn greatest_lag(&self) -> u64 {
        self.state.lock().lags().max().unwrap_or(0)
    }
}

impl State {
    fn let_in(
        &mut self,
        broadcast: &Arc<Broadcast>,
        framing: Framing,
        group: Option<Gid>,
        runtime: &Handle,
        stream: UnixStream,
    ) {
        let Some(peer) = peer::admitted(&stream, group, &broadcast.refused) else {
            return;
        };
        if let Some(max) = self.full_for(broadcast, peer) {
            broadcast.turned_away.fetch_add(1, Ordering::Relaxed);
            if broadcast.full.begins() {
                let whose = match peer {
                    Peer::Own => "there are",
                    Peer::Member => "the group has",
                };
                tracing::warn!(
                    "refused the connection of a listener: {whose} {max} already, the maximum under the limit of open files (logged once per burst; all are counted)"
                );
            }
            return;
        }
        let branch = &mut self.branches[branch(framing)];
        let sent = Arc::new(AtomicU64::new(branch.log.end()));
        let reader = branch.log.reader();
        let listener = connection::send(
            Arc::clone(broadcast),
            framing,
            stream,
            reader,
            Arc::clone(&sent),
        );
        let task = runtime.spawn(listener).abort_handle();
        branch.seats.push(Seat { sent, task, peer });
        broadcast.listeners.fetch_add(1, Ordering::AcqRel);
    }

    /// How many listeners there may be, if that is how many there are, for a program of this peer: a part
    /// is reserved for the host's user and root.
    fn full_for(&self, broadcast: &Broadcast, peer: Peer) -> Option<usize> {
        let max = broadcast.max_listeners.load(Ordering::Relaxed);
        let all = broadcast.listeners.load(Ordering::Relaxed);
        if all >= max {
            return Some(max);
        }
        let for_members = for_members(max);
        if peer == Peer::Own || all < for_members {
            return None;
        }
        let seats = self.branches.iter().flat_map(|branch| &branch.seats);
        let members = seats.filter(|seat| seat.peer == Peer::Member).count();
        (members >= for_members).then_some(for_members)
    }

    fn lags(&self) -> impl Iterator<Item = u64> {
        self.branches.iter().flat_map(|branch| {
            let end = branch.log.end();
            let sent = branch
                .seats
                .iter()
                .map(|seat| seat.sent.load(Ordering::Acquire));
            sent.map(move |sent| end - sent)
        })
    }
}

impl Branch {
    /// Appends frames, and cuts off those listeners that have more than `limit` bytes waiting before one. Returns
    /// how many.
    fn append(&mut self, frames: &mut Frames, framing: Framing, limit: u64) -> usize {
        if self.seats.is_empty() {
            return 0;
        }
        // No listener can have too much waiting before any of them.
        if framing == Framing::Bare && self.log.end() + frames.len() as u64 <= self.check_at {
            self.longest = self.longest.max(frames.longest() as u64);
            self.log.append_frames(frames);
            return 0;
        }
        let mut cut_off = 0;
        for frame in frames.iter() {
            if self.log.end() > self.check_at {
                cut_off += self.cut_off_the_slow(limit);
            }
            if self.seats.is_empty() {
                break;
            }
            self.longest = self.longest.max(frame.len() as u64);
            // A frame is at most MAX_FRAME_BYTES long.
            let prefix = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes();
            let prefix = match framing {
                Framing::Bare => &[],
                Framing::Prefixed => &prefix[..],
            };
            self.log.append(prefix.len() + frame.len(), [prefix, frame]);
        }
        cut_off
    }

    /// Ends the connections of the listeners that have more than `limit` bytes waiting.
    fn cut_off_the_slow(&mut self, limit: u64) -> usize {
        let before = self.seats.len();
        let end = self.log.end();
        let allowed = limit + self.longest;
        let mut furthest_behind = end;
        self.seats.retain(|seat| {
            let sent = seat.sent.load(Ordering::Acquire);
            let keeps_up = end - sent <= allowed;
            if keeps_up {
                furthest_behind = furthest_behind.min(sent);
            } else {
                seat.task.abort();
            }
            keeps_up
        });
        if furthest_behind == end {
            self.longest = 0;
        }
        self.check_at = furthest_behind + limit;
        self.clear_if_empty();
        before - self.seats.len()
    }

    fn clear_if_empty(&mut self) {
        if self.seats.is_empty() {
            self.log.clear();
        }
    }
}
