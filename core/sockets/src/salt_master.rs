//! Events of a running Salt master: the host listens at the master's own sockets, and never writes
//! to them.
//!
//! A master's publisher may suffer from a listener that does not read: Salt 3007.13 and earlier 3007 let
//! every other listener wait for it. So arriving events are read whatever the destinations do, into a
//! bounded queue; events that find no room in it are dropped and counted.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use evbus_client::{Listener, TagFilter};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::senders::decode;
use evbus_event::{Event, now_unix_ns};
use evbus_wire::in_words;

/// How many events may wait for the host.
const QUEUE_EVENTS: usize = 64 * 1024;

/// How many bytes of events may wait for the host. More than the longest frame.
const QUEUE_BYTES: usize = 128 * 1024 * 1024;

/// How long to wait before the first attempt to connect again, and the longest wait.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A Salt master whose events the host takes.
#[derive(Debug, Clone)]
pub struct SaltMaster {
    /// Its socket directory: `sock_dir` in its configuration, `/var/run/salt/master` by default.
    pub dir: PathBuf,
    /// Which of its events are taken.
    pub tags: TagFilter,
}

impl SaltMaster {
    /// Why no master could have sockets in the directory as it is now, in one sentence.
    pub fn why_no_sockets(&self) -> Option<String> {
        let dir = self.dir.display();
        match fs::metadata(&self.dir) {
            Ok(found) if found.is_dir() => None,
            Ok(_) => Some(format!("{dir} is not a directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(format!("the directory {dir} does not exist"))
            }
            Err(error) => Some(format!("the directory {dir} cannot be inspected: {error}")),
        }
    }
}

/// The state and counts of a connection to a Salt master.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SaltMasterStatus {
    /// Its socket directory.
    pub dir: PathBuf,
    /// Whether it is connected now.
    pub connected: bool,
    /// Events passed on.
    pub events: u64,
    /// Events whose tag is not wanted.
    pub filtered: u64,
    /// Events dropped because the destinations left no room for them, or the host refused them.
    pub dropped: u64,
    /// How often the connection was lost. Events that the master fired meanwhile are missed.
    pub gaps: u64,
}

/// The counters behind [`SaltMasterStatus`].
#[derive(Debug, Default)]
pub struct FollowCounters {
    dir: PathBuf,
    connected: AtomicBool,
    events: AtomicU64,
    filtered: AtomicU64,
    dropped: AtomicU64,
    gaps: AtomicU64,
}

impl FollowCounters {
    /// The counts so far.
    pub fn status(&self) -> SaltMasterStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SaltMasterStatus {
            dir: self.dir.clone(),
            connected: self.connected.load(Ordering::Relaxed),
            events: read(&self.events),
            filtered: read(&self.filtered),
            dropped: read(&self.dropped),
            gaps: read(&self.gaps),
        }
    }
}

/// Follows a master until it is stopped. Dropping it ends it at once.
#[derive(Debug)]
pub struct Follower {
    counters: Arc<FollowCounters>,
    reader: JoinHandle<()>,
    feeder: JoinHandle<()>,
}

impl Follower {
    /// Starts on the current tokio runtime. `intake` gets the events in order, each after the one before
    /// has been accepted, and returns whether it was. The master may start later, stop and restart.
    pub fn start<I, F>(master: SaltMaster, intake: I) -> Self
    where
        I: Fn(Event) -> F + Send + 'static,
        F: Future<Output = bool> + Send,
    {
        let counters = Arc::new(FollowCounters {
            dir: master.dir.clone(),
            ..FollowCounters::default()
        });
        let (queue, mut waiting) = mpsc::channel::<Waiting>(QUEUE_EVENTS);
        let reader = Reader {
            master,
            counters: Arc::clone(&counters),
            queue,
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            is_full: false,
        };
        let fed = Arc::clone(&counters);
        let feeder = async move {
            while let Some(Waiting { event, room }) = waiting.recv().await {
                let counter = if intake(event).await {
                    &fed.events
                } else {
                    &fed.dropped
                };
                counter.fetch_add(1, Ordering::Relaxed);
                drop(room);
            }
        };
        Self {
            counters,
            reader: tokio::spawn(reader.run()),
            feeder: tokio::spawn(feeder),
        }
    }

    /// Its counters, to be read beside the follower.
    pub fn counters(&self) -> Arc<FollowCounters> {
        Arc::clone(&self.counters)
    }

    /// Stops listening, and waits until all events that were read have been passed on. Takes as long as
    /// the intake needs; may be dropped and called again.
    pub async fn stop(&mut self) {
        self.reader.abort();
        // It has ended, or panicked: either way it feeds nothing more.
        let _ = (&mut self.feeder).await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.reader.abort();
        self.feeder.abort();
    }
}

/// An event that has been read, and its share of the queue's room.
struct Waiting {
    event: Event,
    room: OwnedSemaphorePermit,
}

struct Reader {
    master: SaltMaster,
    counters: Arc<FollowCounters>,
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    /// Whether the last event found no room.
    is_full: bool,
}

impl Reader {
    async fn run(mut self) {
        let dir = self.master.dir.clone();
        let mut delay = RETRY.0;
        let mut is_told = false;
        loop {
            match Listener::connect(&dir).await {
                Ok(listener) => {
                    tracing::info!(dir = %dir.display(), "listening to the Salt master");
                    (delay, is_told) = (RETRY.0, false);
                    self.counters.connected.store(true, Ordering::Relaxed);
                    let end = self.listen(listener).await;
                    self.counters.connected.store(false, Ordering::Relaxed);
                    self.counters.gaps.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        dir = %dir.display(),
                        "lost the connection to the Salt master ({end}); its events are missed until it is restored"
                    );
                }
                Err(error) if !is_told => {
                    is_told = true;
                    let why = self.master.why_no_sockets().unwrap_or_else(|| match error {
                        // The error's own words ask for a host.
                        evbus_client::Error::Connect { path, source } => {
                            format!(
                                "cannot connect to {}: {}",
                                path.display(),
                                in_words(&source)
                            )
                        }
                        error => error.to_string(),
                    });
                    tracing::warn!(
                        "waiting for the Salt master: {why}; check that it runs, its sock_dir, and that its ipc_mode is not tcp"
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RETRY.1);
        }
    }

    /// Takes events until the connection ends, and says why it did.
    async fn listen(&mut self, mut listener: Listener) -> String {
        loop {
            match listener.next().await {
                Ok(Some(event)) if self.master.tags.passes(event.tag()) => self.take(&event),
                Ok(Some(_)) => {
                    self.counters.filtered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(None) => return "the master closed it".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    }

    fn take(&mut self, event: &evbus_client::Event) {
        let Some(event) = decode::listened(event, now_unix_ns()) else {
            // Every frame of a listener was checked; only a body that JSON text cannot hold is left.
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let bytes = u32::try_from(event.size()).unwrap_or(u32::MAX);
        let queued = (Arc::clone(&self.room).try_acquire_many_owned(bytes).ok())
            .is_some_and(|room| self.queue.try_send(Waiting { event, room }).is_ok());
        if !queued {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            if !self.is_full {
                tracing::warn!(
                    dir = %self.master.dir.display(),
                    "dropping events from the Salt master, because the destinations accept them too slowly (logged once until there is room again; all are counted)"
                );
            }
        }
        self.is_full = !queued;
    }
}
