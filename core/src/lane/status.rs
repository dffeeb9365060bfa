//! What can be seen of a lane from outside.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use super::Destination;
use super::queue::Counts;

/// The state of a lane's plugin instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum InstanceState {
    /// A connection is being made for the first time, or after an end.
    #[default]
    Connecting,
    /// It works.
    Connected,
    /// It reports that the far system is not reached, and tries by itself.
    Disconnected,
    /// It could not be made, or broke; the lane tries again after a wait.
    Failed,
    /// The lane has ended.
    Closed,
}

/// A destination's numbers and state at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct LaneStatus {
    /// Which entry.
    #[serde(flatten)]
    pub destination: Destination,
    /// Always: accepted + `dead_lettered` + dropped + queued = received.
    #[serde(flatten)]
    pub counts: Counts,
    /// The state of its plugin instance.
    pub state: InstanceState,
    /// How many instances there have been.
    pub instances: u64,
    /// The last error, without secrets.
    pub last_error: Option<String>,
}

/// What the lane's task lets others see.
#[derive(Debug)]
pub(super) struct Observed {
    state: watch::Sender<InstanceState>,
    epoch: AtomicU64,
    living: AtomicUsize,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    instances: u64,
    last_error: Option<String>,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(InstanceState::default()),
            epoch: AtomicU64::new(0),
            living: AtomicUsize::new(0),
            seen: Mutex::default(),
        }
    }
}

impl Observed {
    /// Another attempt at an instance begins; gives its number.
    pub(super) fn connecting(&self) -> u64 {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        self.set(InstanceState::Connecting);
        epoch
    }

    /// The number of the latest attempt.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// How many instances have not let go of the host yet: the one at work, and those that were
    /// given up and hang.
    pub(super) fn living(&self) -> &AtomicUsize {
        &self.living
    }

    pub(super) fn connected(&self) {
        self.seen.lock().instances += 1;
        self.set(InstanceState::Connected);
    }

    pub(super) fn set(&self, state: InstanceState) {
        self.state.send_replace(state);
    }

    /// Takes a report that the link is up. Returns whether it had been down.
    pub(super) fn reconnected(&self) -> bool {
        self.state.send_if_modified(|state| {
            let down = *state == InstanceState::Disconnected;
            if down {
                *state = InstanceState::Connected;
            }
            down
        })
    }

    pub(super) fn error(&self, error: &str) {
        self.seen.lock().last_error = Some(error.to_owned());
    }

    pub(super) fn fail(&self, state: InstanceState, error: &str) {
        self.error(error);
        self.set(state);
    }

    /// Resolves when the instance is in a state.
    pub(super) async fn wait_for(&self, state: InstanceState) {
        // The sender lives as long as `self`, so this only ends when the state is reached.
        let _ = self.state.subscribe().wait_for(|now| *now == state).await;
    }

    pub(super) fn status(&self, destination: &Destination, counts: Counts) -> LaneStatus {
        let seen = self.seen.lock();
        LaneStatus {
            destination: destination.clone(),
            counts,
            state: *self.state.borrow(),
            instances: seen.instances,
            last_error: seen.last_error.clone(),
        }
    }
}
