//! The event sockets at work.

use std::future::poll_fn;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evbus_wire::Framing;
use rustix::process::Gid;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::files::directory::{Bound, DirGuard, SocketDir, SocketOptions};
use crate::files::error::SocketError;
use crate::files::group::SocketGroup;
use crate::files::lost_files::{self, Files};
use crate::files::peer;
use crate::listeners::broadcast::Broadcast;
use crate::listeners::publisher::Publisher;
use crate::senders::connection::{self, Common, PullCounters};
use crate::senders::departures::Departures;
use crate::senders::intake::Intake;
use crate::senders::memory_budget::MemoryBudget;
use crate::senders::slots::{Entry, Slots};
use evbus_report::OncePerBurst;

/// How long to wait after the system could not give a connection, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the event sockets of `dirs`, which form one bus: events from any of them go to `intake`, and
/// events that `publisher` publishes go to the listeners of all.
///
/// Events read from a connection are first sent to the listeners, all at once; then `intake` gets them
/// in order, each after the one before has been accepted. Must be called within a tokio runtime; blocks
/// for the moment that file operations take.
///
/// # Errors
///
/// A directory cannot be served; then none of them is.
pub fn serve(
    dirs: Vec<SocketDir>,
    options: &SocketOptions,
    publisher: Publisher,
    intake: &impl Intake,
) -> Result<Server, SocketError> {
    // All are bound before any serves.
    let bound: Vec<Bound> = (dirs.iter())
        .map(|dir| dir.bind(options))
        .collect::<Result<_, _>>()?;
    let group = options.group.as_ref().map(SocketGroup::gid);
    let limits = options.limits;
    (publisher.broadcast.max_listeners).store(limits.listeners, Ordering::Relaxed);
    let common = Common {
        publisher: publisher.clone(),
        counters: Arc::default(),
        room: MemoryBudget::new(limits.held_bytes, limits.still, limits.patience),
        departures: Departures::new(limits.left_bytes),
        stall: limits.stall,
    };
    let entrances = bound.iter().map(|bound| bound.pairs.len()).sum();
    let senders = Slots::new(&limits, entrances);
    (common.counters.most_connections).store(limits.senders as u64, Ordering::Relaxed);
    let mut server = Server {
        publisher,
        stop: watch::Sender::new(false),
        counters: Arc::clone(&common.counters),
        pulls: Vec::new(),
        doors: Vec::new(),
        files: Arc::default(),
        lost_files: None,
        dirs: Vec::new(),
    };
    for (bound, dir) in bound.into_iter().zip(dirs) {
        let fault = |source| SocketError::System {
            action: "serve the socket directory",
            path: dir.path.clone(),
            source,
        };
        for pair in bound.pairs {
            let socket = Arc::new(pair.publish.try_clone().map_err(&fault)?);
            let watched = UnixListener::from_std(pair.publish).map_err(&fault)?;
            let pull = UnixListener::from_std(pair.pull).map_err(&fault)?;
            let broadcast = &server.publisher.broadcast;
            let runtime = Handle::current();
            broadcast.open_door(Arc::clone(&socket), bound.framing, group, runtime);
            server.doors.push(Door {
                socket,
                watch: tokio::spawn(watch_door(
                    Arc::clone(broadcast),
                    bound.framing,
                    group,
                    watched,
                )),
            });
            let entrance = Entrance {
                socket: pull,
                group,
                slots: senders.clone(),
                stop: server.stop.subscribe(),
            };
            let accept = accept_pulls(entrance, common.clone(), intake.clone());
            server.pulls.push(tokio::spawn(accept));
        }
        server.files.lock().extend(bound.guard.files().cloned());
        server.dirs.push(bound.guard);
    }
    let watching = lost_files::watch(Arc::clone(&server.files), Arc::clone(&server.counters));
    server.lost_files = Some(tokio::spawn(watching));
    Ok(server)
}

/// The event sockets of some directories. Dropping it closes all connections at once and removes the
/// sockets.
#[derive(Debug)]
pub struct Server {
    publisher: Publisher,
    stop: watch::Sender<bool>,
    counters: Arc<PullCounters>,
    pulls: Vec<JoinHandle<()>>,
    doors: Vec<Door>,
    files: Files,
    lost_files: Option<JoinHandle<()>>,
    /// Dropped after the connections have been ended.
    dirs: Vec<DirGuard>,
}

/// A socket that listeners connect to.
#[derive(Debug)]
struct Door {
    socket: Arc<StdListener>,
    watch: JoinHandle<()>,
}

/// The counts of incoming events since the sockets were bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PullCounts {
    /// Current connections of senders.
    pub connections: u64,
    /// How many there may be; further programs wait until one closes. 0 if the host does not say.
    pub most_connections: u64,
    /// Events passed on.
    pub events: u64,
    /// Frames skipped because they contained no event.
    pub faults: u64,
    /// Connections closed because they sent bytes that are not a frame.
    pub lost_sync: u64,
    /// Connections refused because they came from another user.
    pub refused: u64,
    /// Connections closed because of an unfinished frame: it stalled, or there was no memory for it.
    pub unfinished: u64,
    /// Connections closed because the group had reached its limit.
    pub turned_away: u64,
    /// Sockets whose files are currently removed or replaced: programs can no longer connect to them.
    pub lost_sockets: u64,
    /// Events that were not kept at every matching destination: each that was refused, and one for each program
    /// whose events could not be written to disk.
    pub not_kept: u64,
    /// Refused events whose programs were not told: Salt's, and programs that had left.
    pub untold: u64,
}

impl PullCounters {
    /// The counts so far.
    pub fn counts(&self) -> PullCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PullCounts {
            connections: read(&self.connections),
            most_connections: read(&self.most_connections),
            events: read(&self.events),
            faults: read(&self.faults),
            lost_sync: read(&self.lost_sync),
            refused: read(&self.refused),
            unfinished: read(&self.unfinished),
            turned_away: read(&self.turned_away),
            lost_sockets: read(&self.lost_sockets),
            not_kept: read(&self.not_kept),
            untold: read(&self.untold),
        }
    }
}

impl Server {
    /// Stops reading from senders, and waits until everything they had written has been passed on: their
    /// writes succeed until then, and fail afterwards. Listeners stay connected.
    ///
    /// Takes as long as the intake needs; may be dropped and called again.
    pub async fn stop_intake(&mut self) {
        self.stop.send_replace(true);
        while let Some(pull) = self.pulls.last_mut() {
            // An error means that it panicked or was aborted: either way it has ended.
            let _ = pull.await;
            self.pulls.pop();
        }
    }

    /// Waits for at most `limit` until every listener has been sent all published events, then closes
    /// their connections and removes the sockets.
    pub async fn close(mut self, limit: Duration) {
        self.stop_doors();
        // Past the limit, what is left waits for listeners that do not read.
        let _ = tokio::time::timeout(limit, self.publisher.flush()).await;
    }

    /// The counts so far.
    pub fn counts(&self) -> PullCounts {
        self.counters.counts()
    }

    /// The counters, to be read beside the server.
    pub fn counters(&self) -> Arc<PullCounters> {
        Arc::clone(&self.counters)
    }

    /// Binds another socket in every directory, to be removed with the others. It is open only to this
    /// user and root.
    ///
    /// # Errors
    ///
    /// As for the event sockets themselves.
    pub fn bind_in_all(&mut self, name: &str) -> Result<Vec<(PathBuf, StdListener)>, SocketError> {
        let bound = (self.dirs.iter_mut())
            .map(|dir| Ok((dir.path().to_owned(), dir.bind(name, None)?)))
            .collect();
        let files = self.dirs.iter().flat_map(DirGuard::files);
        *self.files.lock() = files.cloned().collect();
        bound
    }

    fn stop_doors(&mut self) {
        for door in self.doors.drain(..) {
            door.watch.abort();
            self.publisher.broadcast.close_door(&door.socket);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_doors();
        if let Some(watching) = &self.lost_files {
            watching.abort();
        }
        for pull in &self.pulls {
            pull.abort();
        }
        self.publisher.broadcast.end_all();
    }
}

/// Lets listeners in while nothing is published.
async fn watch_door(
    broadcast: Arc<Broadcast>,
    framing: Framing,
    group: Option<Gid>,
    socket: UnixListener,
) {
    loop {
        let error =
            poll_fn(|context| Broadcast::poll_accept(&broadcast, framing, group, &socket, context))
                .await;
        pause_after(&error).await;
    }
}

async fn pause_after(error: &io::Error) {
    static FAULTS: OncePerBurst = OncePerBurst::new();
    if FAULTS.begins() {
        tracing::warn!(
            "cannot accept a connection to an event socket: {error}; trying again (logged once per burst)"
        );
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Where programs that fire come in.
struct Entrance {
    socket: UnixListener,
    group: Option<Gid>,
    /// One for each program, at all entrances together.
    slots: Slots,
    stop: watch::Receiver<bool>,
}

/// Serves programs that fire, until told to stop.
async fn accept_pulls(entrance: Entrance, common: Common, intake: impl Intake) {
    let Entrance {
        socket,
        group,
        slots,
        stop,
    } = entrance;
    let counters = &common.counters;
    // Dropped with this task, and with it all connections.
    let mut connections = JoinSet::new();
    let let_in =
        |connections: &mut JoinSet<()>, stream: UnixStream, slot: Option<OwnedSemaphorePermit>| {
            let Some(peer) = peer::admitted(&stream, group, &counters.refused) else {
                return;
            };
            let entry = match slot {
                Some(slot) => {
                    let Some(entry) = slots.enter(peer, slot) else {
                        counters.turned_away.fetch_add(1, Ordering::Relaxed);
                        return;
                    };
                    Some(entry)
                }
                None => None,
            };
            let counted = Counted::new(Arc::clone(counters));
            let (common, intake) = (common.clone(), intake.clone());
            let mut stopped = stop.clone();
            connections.spawn(async move {
                let slot = match entry {
                    Some(Entry::Now(slot)) => Some(slot),
                    Some(Entry::Later(waiting)) => tokio::select! {
                        slot = waiting.slot() => slot,
                        () = connection::told(&mut stopped) => None,
                    },
                    None => None,
                };
                connection::serve(stream, (slot, counted), common, intake, stopped).await;
            });
        };
    let mut stopped = stop.clone();
    let mut slot = None;
    loop {
        tokio::select! {
            biased;
            () = connection::told(&mut stopped) => break,
            Some(_) = connections.join_next() => {}
            // Who comes while there is none waits, and nothing it has written is lost.
            free = slots.next(), if slot.is_none() => slot = free,
            accepted = socket.accept(), if slot.is_some() => match accepted {
                Ok((stream, _)) => let_in(&mut connections, stream, slot.take()),
                Err(error) => pause_after(&error).await,
            },
        }
    }
    for stream in last_in_line(socket) {
        let_in(&mut connections, stream, None);
    }
    while connections.join_next().await.is_some() {}
}

/// A connection, as long as it counts.
struct Counted(Arc<PullCounters>);

impl Counted {
    fn new(counters: Arc<PullCounters>) -> Self {
        counters.connections.fetch_add(1, Ordering::Relaxed);
        Self(counters)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets nobody queue any more, and yields those who wait: they have been told that they are
/// connected, and may have written already.
fn last_in_line(socket: UnixListener) -> impl Iterator<Item = UnixStream> {
    // Fails only for what is not a socket.
    let _ = rustix::net::shutdown(&socket, rustix::net::Shutdown::Read);
    let socket = socket.into_std().ok();
    std::iter::from_fn(move || {
        let (stream, _) = socket.as_ref()?.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        UnixStream::from_std(stream).ok()
    })
}
