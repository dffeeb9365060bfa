//! Lanes: destinations at work.
//!
//! A lane has a queue of its own (`queue`), a task of its own (`worker`) that hands batches over,
//! tracks what is in flight (`in_flight`) and retries (`backoff`), and a plugin instance of its own
//! (`instance`). Lanes share nothing that one of them could hold.

mod backoff;
mod in_flight;
mod instance;
mod queue;
mod status;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use instance::{ConnectFailure, Connector, closed, log};
pub use queue::Counts;
pub(crate) use queue::{Full, Queue};
pub use status::{InstanceState, LaneStatus};

use crate::Event;
use crate::acct::{Policy, WhenFull};
use status::Observed;

/// Names one entry of the acct file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Destination {
    /// The provider, as it stands in the file.
    pub provider: String,
    /// The profile pattern.
    pub pattern: String,
    /// Counts the entries of one provider in file order, from 0.
    pub index: usize,
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}] {}", self.provider, self.index, self.pattern)
    }
}

/// What the lane's task and the rest of the host share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) destination: Destination,
    pub(crate) policy: Policy,
    pub(crate) queue: Queue,
    observed: Observed,
}

/// A destination at work. Dropping it ends its task; what is queued is lost.
#[derive(Debug)]
pub(crate) struct Lane {
    shared: Arc<Shared>,
    connector: watch::Sender<Connector>,
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<()>,
}

impl Lane {
    /// Starts a lane on the current tokio runtime. `config` is JSON text that the plugin has
    /// checked.
    pub(crate) fn start(
        destination: Destination,
        policy: Policy,
        config: Arc<str>,
        connector: Connector,
    ) -> Self {
        let shared = Arc::new(Shared {
            destination,
            queue: Queue::new(policy.queue.clone()),
            policy,
            observed: Observed::default(),
        });
        let (connector, connectors) = watch::channel(connector);
        let (stop, stopping) = watch::channel(None);
        let task = tokio::spawn(worker::run(
            Arc::clone(&shared),
            config,
            connectors,
            stopping,
        ));
        Self {
            shared,
            connector,
            stop,
            task,
        }
    }

    /// Which entry it serves.
    pub(crate) fn destination(&self) -> &Destination {
        &self.shared.destination
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The plugin that serves it, where that is one.
    pub(crate) fn connector(&self) -> Connector {
        self.connector.borrow().clone()
    }

    /// Moves the lane to another plugin (a newer file of it): what is in flight ends on the old
    /// instance, everything later goes to a new one.
    pub(crate) fn switch(&self, connector: Connector) {
        let _ = self.connector.send(connector);
    }

    /// A consistent picture of its numbers and its state.
    pub(crate) fn status(&self) -> LaneStatus {
        self.shared.status()
    }

    /// Ends the lane's work: the instance gets `grace` to flush and disconnect.
    pub(crate) async fn stop(&self, grace: Duration) {
        self.stop.send_replace(Some(grace));
        let closed = self.shared.wait_for(InstanceState::Closed);
        let _ = tokio::time::timeout(grace + Duration::from_millis(100), closed).await;
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// Puts an event into the queue, or says that there is no room.
    ///
    /// Where the policy drops, an event that finds no room is counted and forgotten, which is no
    /// error.
    pub(crate) fn push(&self, event: &Arc<Event>) -> Result<(), Full> {
        match self.queue.push(event) {
            Err(Full) if self.policy.when_full == WhenFull::DropNewest => {
                self.dropped();
                Ok(())
            }
            result => result,
        }
    }

    /// Puts an event into the queue, waiting for room. Cancel safe: either it is in or it is not.
    pub(crate) async fn push_waiting(&self, event: &Arc<Event>) {
        loop {
            let room = self.queue.room();
            if self.push(event).is_ok() {
                return;
            }
            room.await;
        }
    }

    /// Counts an event that found no room; the log gets one line per burst.
    pub(crate) fn dropped(&self) {
        if self.queue.count_dropped() {
            tracing::warn!(
                "destination {}: its queue is full, new events are dropped (when_full: drop_newest)",
                self.destination
            );
        }
    }

    /// Resolves when the instance is in a state.
    pub(crate) async fn wait_for(&self, state: InstanceState) {
        self.observed.wait_for(state).await;
    }

    pub(crate) fn status(&self) -> LaneStatus {
        self.observed.status(&self.destination, self.queue.counts())
    }
}
