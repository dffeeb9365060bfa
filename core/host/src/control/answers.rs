//! The host's answers to control requests.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use super::{Controlled, HostStatus, Reloaded, StateDirStatus};
use crate::deployment::{Deployment, PluginsSeen};
use evbus_delivery::Bus;
use evbus_delivery::LaneStatus;
use evbus_sockets::{FollowCounters, Publisher, PullCounters};
use evbus_store::StateDir;
use evbus_store::deadletters::Filter;

/// Answers for the host.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) bus: Bus,
    pub(crate) run_name: String,
    pub(crate) plugins: PluginsSeen,
    pub(crate) deployment: Arc<Mutex<Deployment>>,
    pub(crate) state_dir: Option<StateDir>,
    pub(crate) listeners: Publisher,
    pub(crate) intake: Arc<PullCounters>,
    pub(crate) salt_masters: Vec<Arc<FollowCounters>>,
    pub(crate) started: Instant,
}

impl Controlled for Handle {
    fn status(&self) -> (HostStatus, Vec<LaneStatus>) {
        let host = HostStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            run_name: self.run_name.clone(),
            plugins: self.plugins.status(),
            state_dir: self.state_dir.as_ref().map(|dir| StateDirStatus {
                // Absolute, because the client may run in another directory.
                path: std::path::absolute(dir.path()).unwrap_or_else(|_| dir.path().to_owned()),
                bytes: dir.bytes(),
            }),
            events: self.bus.fired(),
            listeners: self.listeners.counts(),
            intake: self.intake.counts(),
            salt_masters: (self.salt_masters.iter())
                .map(|master| master.status())
                .collect(),
        };
        (host, self.bus.status())
    }

    async fn replay(&self, filter: Filter) -> Result<u64, String> {
        self.deployment.lock().await.replay(&filter).await
    }

    async fn purge(&self, filter: Filter) -> Result<u64, String> {
        self.deployment.lock().await.purge(&filter).await
    }

    async fn reload(&self) -> Result<Reloaded, String> {
        let reloaded = crate::host::reload(&self.deployment).await;
        reloaded.map_err(|error| {
            error.log();
            error.to_string()
        })
    }
}
