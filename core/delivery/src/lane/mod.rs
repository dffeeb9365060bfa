//! Lanes: destinations at work.
//!
//! A lane has a queue of its own (`queue`, continued on `disk`), a task of its own (`worker`) that
//! passes batches to the plugin, tracks events in flight (`in_flight`), retries (`backoff`), gives up
//! events that are too old (`aging`) and settles answered events (`outcome`), and a plugin instance of
//! its own (`connector` creates it, `lane_host` is its view of the host), whose numbers and texts are
//! kept within `bounds`. Lanes share nothing that one of them could block.

mod aging;
mod backoff;
mod bounds;
mod connector;
mod disk;
mod in_flight;
mod lane_host;
pub(crate) mod log_scope;
mod mapping;
mod outcome;
mod pace;
mod queue;
mod queued;
mod room;
mod screen;
mod settled;
mod status;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

pub use bounds::reason;
pub use connector::{Connector, closed};
use evbus_plugin::ConnectFailure;
pub(crate) use queue::{NotQueued, Place, Pushed, Queue, Refused};
pub use settled::Counts;
pub use status::{InstanceState, LaneStatus, PausedBy};

use evbus_destination::{Destination, Policy, Secrets};
use evbus_event::Event;
use evbus_store::{Journal, Receipt};
use room::Waiters;
use screen::Screens;
pub(crate) use screen::{Verdict, forget_parsed};
use status::Observed;

/// What a lane does; replaced as a whole when the acct file or a plugin changes.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Creates its instances.
    pub connector: Connector,
    /// The configuration as JSON text that the plugin has checked.
    pub config: Arc<Zeroizing<String>>,
    /// The parts of it that no message may show.
    pub secrets: Secrets,
    /// How the host queues, batches and retries for it.
    pub policy: Arc<Policy>,
}

impl PartialEq for Setup {
    fn eq(&self, other: &Self) -> bool {
        self.connector == other.connector
            && self.config == other.config
            && self.policy == other.policy
    }
}

/// Called for every event that becomes a dead letter, with the lane that did not deliver it, the event
/// and the reason.
pub type OnDead = Arc<dyn Fn(&Arc<Shared>, &Event, &str) + Send + Sync>;

/// What the lane's task and the rest of the host share.
#[derive(Debug)]
pub struct Shared {
    /// The entry it serves; its index changes with the acct file.
    destination: ArcSwap<Destination>,
    pub(crate) queue: Queue,
    screens: Screens,
    observed: Observed,
    waiters: Waiters,
}

/// A destination at work. Dropping it ends its task; events queued in memory go to disk, and are lost
/// only without a state directory.
#[derive(Debug)]
pub struct Lane {
    shared: Arc<Shared>,
    setup: watch::Sender<Setup>,
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<()>,
}

impl Lane {
    /// Starts a lane on the current tokio runtime, with the events in its journal.
    pub fn start(
        destination: Destination,
        setup: Setup,
        journal: Option<Journal>,
        on_dead: OnDead,
    ) -> Self {
        let shared = Arc::new(Shared {
            destination: ArcSwap::from_pointee(destination),
            queue: Queue::new(&setup.policy, journal),
            screens: Screens::default(),
            observed: Observed::default(),
            waiters: Waiters::default(),
        });
        shared.screens.follow(&setup.policy);
        let (setup, setups) = watch::channel(setup);
        let (stop, stopping) = watch::channel(None);
        let work = worker::run(Arc::clone(&shared), setups, on_dead, stopping);
        let task = tokio::spawn(log_scope::within(Arc::clone(&shared), work));
        Self {
            shared,
            setup,
            stop,
            task,
        }
    }

    /// Which entry it serves.
    pub fn destination(&self) -> Arc<Destination> {
        self.shared.destination()
    }

    /// The part that others may hold while the lane ends.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Makes it serve an entry, perhaps another one of the same pattern, with this setup. If the setup
    /// is new, events in flight finish on the old instance and all later ones go to a new one. Returns
    /// whether it is new.
    pub fn switch(&self, destination: Destination, setup: Setup) -> bool {
        self.shared.destination.store(Arc::new(destination));
        if *self.setup.borrow() == setup {
            return false;
        }
        self.shared.queue.set_policy(&setup.policy);
        self.shared.screens.follow(&setup.policy);
        self.setup.send_replace(setup);
        true
    }

    /// How the host queues, batches and retries for it.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.setup.borrow().policy)
    }

    /// A consistent snapshot of its counts and state.
    pub fn status(&self) -> LaneStatus {
        self.shared.status()
    }

    /// Ends the lane's work: the instance gets `grace` to flush and disconnect; then the remaining
    /// events are written to disk, if there is a journal.
    ///
    /// # Errors
    ///
    /// Why the events could not be written.
    pub async fn stop(&self, grace: Duration) -> Result<(), String> {
        self.stop.send_replace(Some(grace));
        let closed = self.shared.wait_for(InstanceState::Closed);
        let in_time = tokio::time::timeout(grace + Duration::from_millis(500), closed).await;
        if in_time.is_err() {
            // A plugin that blocks in a call holds the task up. What the task has out of the queue
            // cannot be had; what waits in the queue can.
            tracing::error!(
                "destination {}: does not stop, because its plugin blocks in a call that must not block",
                self.destination()
            );
            let waiting = self.shared.queue.close();
            self.shared.queue.keep(&waiting);
        }
        self.shared.queue.close_journal().await
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// The entry that the lane serves.
    pub fn destination(&self) -> Arc<Destination> {
        self.destination.load_full()
    }

    /// Its store; `None` if the host has no state directory.
    pub fn journal(&self) -> Option<&Journal> {
        self.queue.journal()
    }

    /// Resolves when every event is settled, in memory and on disk.
    pub async fn empty(&self) {
        self.queue.empty().await;
    }

    /// Puts an event into the queue, or says why not. Gives the receipt to wait for where the policy is
    /// `durable`.
    ///
    /// Where the policy drops, an event that finds no room is counted and forgotten, which is no
    /// error; so is one that a filter keeps out, or that repeats another one.
    pub(crate) fn push(
        self: &Arc<Self>,
        event: Arc<Event>,
        verdict: Verdict,
    ) -> Result<Option<Box<Receipt>>, Refused> {
        let (place, receipt) = self.queue.push(event, verdict)?;
        if place == Place::Dropped {
            self.tell_dropped();
        }
        Ok(receipt)
    }

    /// As [`push`](Self::push), of many events in their order, until one finds no room.
    pub(crate) fn push_all(
        self: &Arc<Self>,
        events: &[Arc<Event>],
        verdicts: &[Verdict],
    ) -> Pushed {
        let pushed = self.queue.push_all(events, verdicts);
        if pushed.begins_dropping {
            self.log_dropping();
        }
        pushed
    }

    /// Logs one line per burst of dropped events.
    pub(crate) fn tell_dropped(self: &Arc<Self>) {
        if self.queue.begins_dropping() {
            self.log_dropping();
        }
    }

    fn log_dropping(self: &Arc<Self>) {
        log_scope::within_now(self, || {
            tracing::warn!(
                "destination {}: its queue is full; dropping new events (when_full: drop_newest)",
                self.destination()
            );
        });
    }

    /// Resolves when the instance is in a state.
    pub async fn wait_for(&self, state: InstanceState) {
        self.observed.wait_for(state).await;
    }

    /// Its numbers and its state at this moment.
    pub fn status(&self) -> LaneStatus {
        let status = self.observed.status(
            &self.destination(),
            self.queue.counts(),
            self.queue.oldest_ns(),
            self.queue.journal(),
        );
        LaneStatus {
            waiting_for_room: self.waiters.count(),
            ..status
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
