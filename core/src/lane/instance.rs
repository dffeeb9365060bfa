//! Making a plugin instance for a lane, and what the instance may ask of the host.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evbus_abi::RResult;
use evbus_abi::v1::{
    CompletionV1, ConnectFailureV1, HostObjectV1, HostV1, InstanceV1, LevelV1, LinkV1,
};
use tokio::sync::oneshot;

use super::status::ErrorKind;
use super::{InstanceState, Shared, bounds};
use crate::internal::InternalQueues;
use crate::plugin::{About, ConnectFailure, Isolated, LogRate, Plugin, log, max_level};
use evbus_destination::Secrets;
use evbus_report::counted;

/// Who makes the instances of a lane.
#[derive(Debug, Clone)]
pub(crate) enum Connector {
    /// A plugin.
    Plugin(Arc<Plugin>),
    /// A plugin, in a process of its own.
    Isolated(Isolated),
    /// The host itself.
    Internal(InternalQueues),
    /// What a test of lanes says.
    #[cfg(test)]
    Scripted(super::tests::Script),
}

impl PartialEq for Connector {
    /// Whether both are the very same plugin; another file of the same plugin is another one.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plugin(a), Self::Plugin(b)) => Arc::ptr_eq(a, b),
            (Self::Isolated(a), Self::Isolated(b)) => a == b,
            (Self::Internal(_), Self::Internal(_)) => true,
            #[cfg(test)]
            (Self::Scripted(a), Self::Scripted(b)) => a == b,
            _ => false,
        }
    }
}

impl Connector {
    /// Makes an instance. No message shows one of `secrets`. Takes at most `deadline`; an instance that comes later is let go.
    pub(crate) async fn connect(
        &self,
        config: &str,
        secrets: &Secrets,
        host: impl HostObjectV1,
        deadline: Duration,
    ) -> Result<InstanceV1, ConnectFailure> {
        let made = self.make(config, host, deadline).await;
        made.map_err(|failure| ConnectFailure {
            reason: secrets.hide(&failure.reason).into_owned(),
            ..failure
        })
    }

    async fn make(
        &self,
        config: &str,
        host: impl HostObjectV1,
        deadline: Duration,
    ) -> Result<InstanceV1, ConnectFailure> {
        let plugin = match self {
            Self::Internal(queues) => return queues.connect(config),
            #[cfg(test)]
            Self::Scripted(script) => return script.connect(HostV1::new(host, max_level())).await,
            Self::Isolated(isolated) => {
                return isolated.connect(config, host, max_level(), deadline).await;
            }
            Self::Plugin(plugin) => plugin,
        };
        let (sender, answer) = oneshot::channel();
        let done = CompletionV1::new(move |answer| {
            // Nobody waits any more: the instance is dropped with the message.
            let _ = sender.send(answer);
        });
        plugin.connect(config, HostV1::new(host, max_level()), done);
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(Some(RResult::ROk(instance)))) => Ok(instance),
            Ok(Ok(Some(RResult::RErr(ConnectFailureV1 { permanent, reason })))) => {
                Err(ConnectFailure {
                    permanent,
                    reason: reason.into(),
                })
            }
            Ok(Ok(None) | Err(_)) => Err(ConnectFailure {
                permanent: false,
                reason: "the plugin dropped the request to connect".to_owned(),
            }),
            Err(_) => Err(ConnectFailure {
                permanent: false,
                reason: format!(
                    "the plugin did not connect within {} s",
                    deadline.as_secs_f32()
                ),
            }),
        }
    }

    /// The plugin's id, for the log.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Plugin(plugin) => plugin.id(),
            Self::Isolated(isolated) => isolated.plugin().id(),
            Self::Internal(_) => "internal",
            #[cfg(test)]
            Self::Scripted(_) => "scripted",
        }
    }
}

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
            log_rate: LogRate::default(),
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
        if self.log_rate.admits(about) {
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
                tracing::info!("destination {destination}: connected again{before}");
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
        " ({} before this one not shown; the link changes too often)",
        counted(left_out, "change", "changes")
    )
}

/// Asks an instance to end, and waits until it has.
pub(crate) async fn closed(instance: &InstanceV1) {
    let (sender, closed) = oneshot::channel();
    instance.close(CompletionV1::new(move |_| {
        // Whoever waited may have lost patience.
        let _ = sender.send(());
    }));
    let _ = closed.await;
}
