//! Making a plugin instance for a lane, and what the instance may ask of the host.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use evbus_abi::RResult;
use evbus_abi::v1::{
    CompletionV1, ConnectFailureV1, HostObjectV1, HostV1, InstanceV1, LevelV1, LinkV1,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::status::ErrorKind;
use super::{InstanceState, Shared, bounds};
use crate::acct::Secrets;
use crate::counted;
use crate::foreign_text::{self, MAX_BYTES};
use crate::internal::InternalQueues;
use crate::isolate::Isolated;
use crate::plugin::Plugin;

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

/// Why there is no instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectFailure {
    /// Nothing but a change by somebody will help.
    pub(crate) permanent: bool,
    pub(crate) reason: String,
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
            Self::Scripted(script) => return script.connect(HostV1::new(host, max_level())),
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

/// The most verbose level that anybody in this process listens to.
fn max_level() -> LevelV1 {
    match LevelFilter::current().into_level() {
        None => LevelV1(0),
        Some(Level::ERROR) => LevelV1::ERROR,
        Some(Level::WARN) => LevelV1::WARN,
        Some(Level::INFO) => LevelV1::INFO,
        Some(Level::DEBUG) => LevelV1::DEBUG,
        Some(Level::TRACE) => LevelV1::TRACE,
    }
}

/// The host, as the instance of one lane sees it. The instance drops it when it has ended.
pub(crate) struct LaneHost {
    plugin: String,
    /// Which attempt at an instance it was made for.
    epoch: u64,
    log_rate: LogRate,
    secrets: Secrets,
    shared: Arc<Shared>,
}

/// Lets so many lines of an instance into the log a second; a flood would drown all others.
#[derive(Debug, Default)]
struct LogRate(Mutex<LogSecond>);

#[derive(Debug, Default)]
struct LogSecond {
    began: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

/// Lines that an instance may log in a second.
const MAX_LINES_A_SECOND: u32 = 500;

impl LogRate {
    /// Whether a line may be logged: if so, how many were left out before it.
    fn admit(&self) -> Option<u64> {
        let mut second = self.0.lock();
        let now = Instant::now();
        let over = second
            .began
            .is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1));
        if over {
            second.began = Some(now);
            second.lines = 0;
        }
        if second.lines == MAX_LINES_A_SECOND {
            second.suppressed += 1;
            return None;
        }
        second.lines += 1;
        Some(std::mem::take(&mut second.suppressed))
    }
}

impl LaneHost {
    /// For another attempt at an instance of the plugin `plugin`.
    pub(crate) fn new(plugin: &str, secrets: Secrets, shared: &Arc<Shared>) -> Self {
        shared.observed.living().fetch_add(1, Ordering::Relaxed);
        Self {
            plugin: plugin.to_owned(),
            epoch: shared.observed.connecting(),
            log_rate: LogRate::default(),
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
        if let Some(suppressed) = self.log_rate.admit() {
            let pattern = &self.shared.destination().pattern;
            if suppressed > 0 {
                let message = format!(
                    "{} left out; it logs too much",
                    counted(suppressed, "line was", "lines were")
                );
                log(LevelV1::WARN, &self.plugin, pattern, "evbus", &message);
            }
            let message = self.secrets.hide(message);
            log(level, &self.plugin, pattern, target, &message);
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
            if self.shared.observed.reconnected() {
                tracing::info!("destination {destination}: connected again");
            }
        } else {
            let reason = self.secrets.hide(reason);
            let reason = bounds::reason(&reason);
            self.shared.observed.error(ErrorKind::Link, &reason);
            self.shared.observed.set(InstanceState::Disconnected);
            tracing::warn!("destination {destination}: connection lost: {reason}");
        }
    }
}

/// A longer name of a module is cut.
const MAX_MODULE_BYTES: usize = 256;

/// Writes a plugin's line into the host's log. The level has to be a constant of the call site.
pub(crate) fn log(level: LevelV1, plugin: &str, profile: &str, module: &str, message: &str) {
    let message = foreign_text::line(message, MAX_BYTES);
    let module = &*foreign_text::line(module, MAX_MODULE_BYTES);
    match level {
        LevelV1::ERROR => tracing::error!(plugin, profile, module, "{message}"),
        LevelV1::WARN => tracing::warn!(plugin, profile, module, "{message}"),
        LevelV1::INFO => tracing::info!(plugin, profile, module, "{message}"),
        LevelV1::DEBUG => tracing::debug!(plugin, profile, module, "{message}"),
        _ => tracing::trace!(plugin, profile, module, "{message}"),
    }
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
