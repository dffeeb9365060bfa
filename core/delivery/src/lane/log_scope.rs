//! Tracks which lane the current work belongs to, so that log lines can be assigned to it.
//!
//! This is for log events: a line about a destination that itself receives log events must not become
//! one, or a failing destination would feed itself or another failing one forever.

use std::sync::Arc;

use evbus_abi::v1::{HostObjectV1, LevelV1, LinkV1};

use super::Shared;

tokio::task_local! {
    static LANE: Arc<Shared>;
}

/// Does a lane's work.
pub(super) async fn within<F: Future>(lane: Arc<Shared>, work: F) -> F::Output {
    LANE.scope(lane, work).await
}

/// Does a lane's work that another task or thread has come upon.
pub(super) fn within_now<R>(lane: &Arc<Shared>, work: impl FnOnce() -> R) -> R {
    LANE.sync_scope(Arc::clone(lane), work)
}

/// The lane that the current work belongs to, if any.
pub fn lane() -> Option<Arc<Shared>> {
    LANE.try_with(Arc::clone).ok()
}

/// What a plugin's instance calls, on threads of its own: all of it is the lane's work.
pub(super) struct Within<H> {
    lane: Arc<Shared>,
    host: H,
}

impl<H> Within<H> {
    pub(super) fn new(lane: &Arc<Shared>, host: H) -> Self {
        Self {
            lane: Arc::clone(lane),
            host,
        }
    }
}

impl<H: HostObjectV1> HostObjectV1 for Within<H> {
    fn log(&self, level: LevelV1, target: &str, message: &str) {
        within_now(&self.lane, || self.host.log(level, target, message));
    }

    fn link(&self, link: LinkV1, reason: &str) {
        within_now(&self.lane, || self.host.link(link, reason));
    }
}
