//! What the control sockets see of the host.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::Bus;
use crate::control::{Controlled, HostStatus, PluginsStatus, StateDirStatus};
use crate::lane::LaneStatus;
use crate::plugin::{Catalog, PluginState};
use crate::salt::{Publisher, PullCounters};
use crate::store::StateDir;
use crate::store::deadletters::Filter;

/// Answers for the host.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) bus: Bus,
    pub(super) run_name: String,
    pub(super) plugins: PluginsSeen,
    pub(super) state_dir: Option<StateDir>,
    pub(super) listeners: Publisher,
    pub(super) intake: Arc<PullCounters>,
    pub(super) started: Instant,
}

/// The numbers of the latest catalog, beside it: the catalog itself is locked during a scan.
#[derive(Debug, Clone, Default)]
pub(super) struct PluginsSeen(Arc<Mutex<PluginsStatus>>);

impl PluginsSeen {
    /// Notes a catalog that is now in use.
    pub(super) fn note(&self, catalog: &Catalog) {
        let count = |wanted: fn(&PluginState) -> bool| {
            let reports = catalog.reports().iter();
            reports.filter(|report| wanted(&report.state)).count()
        };
        let mut seen = self.0.lock();
        seen.generation += 1;
        seen.loaded = count(|state| matches!(state, PluginState::Loaded));
        seen.refused = count(|state| matches!(state, PluginState::Refused { .. }));
    }
}

impl Controlled for Handle {
    fn status(&self) -> (HostStatus, Vec<LaneStatus>) {
        let host = HostStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            run_name: self.run_name.clone(),
            plugins: *self.plugins.0.lock(),
            state_dir: self.state_dir.as_ref().map(|dir| StateDirStatus {
                path: dir.path().to_owned(),
                bytes: dir.bytes(),
            }),
            listeners: self.listeners.counts(),
            intake: self.intake.counts(),
        };
        (host, self.bus.status())
    }

    async fn replay(&self, _filter: Filter) -> Result<u64, String> {
        Err("this host has no state directory, so it keeps no dead letters".to_owned())
    }

    async fn reload(&self) -> Result<(), String> {
        Err("this host reads the acct file at start only; restart it to read it again".to_owned())
    }
}
