//! The host, as seen by the plugin instance of a lane.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use evbus_abi::v1::{HostObjectV1, LevelV1, LinkV1};

use super::status::ErrorKind;
use super::{InstanceState, Shared, bounds};
use evbus_destination::Secrets;
use evbus_plugin::{About, admits, instance_rate, log};
use evbus_report::{LogRate, counted};

/// The host, as the instance of one lane sees it. The instance drops it when it has ended.
pub(crate) struct LaneHost {
    plugin: String,
    /// Which attempt at an instance it was made for.
    epoch: u64,
    log_rate: LogRate,
    link_rate: LogRate,
    secrets: Secrets,
    shared: Arc<Shared>,
}

/// So often a second the log tells of a link that comes up or goes down.
const MAX_CHANGES_A_SECOND: u32 = 2;

impl LaneHost {
    /// For another attempt at an instance of the plugin `plugin`.
    pub(crate) fn new(plugin: &str, secrets: Secrets, shared: &Arc<Shared>) -> Self {
        shared.observed.living().fetch_add(1, Ordering::Relaxed);
        Self {
            plugin: plugin.to_owned(),
            epoch: shared.observed.connecting(),
            log_rate: instance_rate(),
            link_rate: LogRate::of(MAX_CHANGES_A_SECOND),
            secrets,
            shared: Arc::clone(shared),
        }
    }
}

impl Drop for LaneHost {
    fn drop(&mut self) {
        self.shared
            .observed
            .living()
            .fetch_sub(1, Ordering::Relaxed);
    }
}

impl HostObjectV1 for LaneHost {
    fn log(&self, level: LevelV1, target: &str, message: &str) {
        let pattern = &self.shared.destination().pattern;
        let about = About {
            plugin: &self.plugin,
            profile: Some(pattern),
        };
        if admits(&self.log_rate, about) {
            let secrets = &self.secrets;
            log(level, about, &secrets.hide(target), &secrets.hide(message));
        }
    }

    fn link(&self, link: LinkV1, reason: &str) {
        let destination = self.shared.destination();
        // An instance that was given up may live on; its successor's state is not its own.
        if self.shared.observed.epoch() != self.epoch {
            return;
        }
        if link == LinkV1::UP {
            // An instance that is being made may say so too; that it is connected is said by `worker`.
            if self.shared.observed.reconnected()
                && let Some(left_out) = self.link_rate.admit()
            {
                let before = told_too_often(left_out);
                tracing::info!("destination {destination}: reconnected{before}");
            }
        } else {
            let reason = self.secrets.hide(reason);
            let reason = bounds::reason(&reason);
            self.shared.observed.error(ErrorKind::Link, &reason);
            self.shared.observed.set(InstanceState::Disconnected);
            if let Some(left_out) = self.link_rate.admit() {
                let before = told_too_often(left_out);
                tracing::warn!("destination {destination}: connection lost: {reason}{before}");
            }
        }
    }
}

fn told_too_often(left_out: u64) -> String {
    if left_out == 0 {
        return String::new();
    }
    format!(
        " ({} before this one not logged: the link changes too often)",
        counted(left_out, "change", "changes")
    )
}
