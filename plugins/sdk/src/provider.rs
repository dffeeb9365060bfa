//! The interface for authors of ingress providers.

use std::future::Future;
use std::sync::Arc;

use evbus_abi::v1::{HostV1, LimitsV1, LinkV1};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tracing::level_filters::LevelFilter;

use crate::log_bridge::{self, LogScope};
use crate::tasks::{Spawner, Task};
use crate::{Batch, ConfigFault, ConnectError, Outcomes};

/// An ingress provider: publishes events to one kind of system.
///
/// One instance serves one destination (one entry of the acct file) until it is replaced. Its futures, and the tasks
/// that it [spawns](Context::spawn), run one at a time, inside a tokio runtime with timers and sockets. The instances of
/// a plugin share a few threads, so after an `await` a future may continue on another thread. A future that blocks
/// keeps its thread and holds up only its own instance; the SDK starts another thread for the others.
pub trait Provider: Sized + Send + Sync + 'static {
    /// The provider names in acct files that this plugin serves, the usual name first.
    const NAMES: &'static [&'static str];

    /// The configuration of an entry in the acct file, without the host's own `evbus:` key.
    ///
    /// The SDK refuses unknown keys at any depth. Use [`Secret`](crate::Secret) for passwords. Document
    /// the fields: their text becomes part of the schema that operators read.
    type Config: DeserializeOwned + JsonSchema + Send + 'static;

    /// Names that other programs have for the keys of the configuration, each with the path of the key:
    /// `("user", "connection.login")`. The fault of an unknown key of such a name asks whether that key was
    /// meant.
    const OTHER_NAMES: &'static [(&'static str, &'static str)] = &[];

    /// Modules of client libraries (`lapin`, `lapin::channel`), each with the most verbose level that is
    /// passed on from it and its submodules; if two apply, the longer one counts.
    ///
    /// For libraries with verbose lines that show secrets or bodies, because the operator may enable all
    /// levels; and, with `OFF`, for libraries that log errors which the plugin handles itself.
    const LOG_CEILINGS: &'static [(&'static str, LevelFilter)] = &[];

    /// Checks what the types of the configuration cannot express, without connecting anywhere.
    ///
    /// A value that cannot be read counts as missing; see [`ConfigFault::of_key`].
    ///
    /// # Errors
    ///
    /// Every fault, with the path of its key.
    fn check(config: &Self::Config) -> Result<(), Vec<ConfigFault>> {
        let _ = config;
        Ok(())
    }

    /// The limits of this instance's batches. Called once, after `connect`.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Connects to the far system; the configuration has been checked.
    ///
    /// It should give up in time: the host stops waiting after the destination's deadline.
    ///
    /// # Errors
    ///
    /// The error says whether another attempt may succeed without a change.
    fn connect(
        config: Self::Config,
        context: Context,
    ) -> impl Future<Output = Result<Self, ConnectError>> + Send;

    /// Publishes a batch and waits until the far system has acknowledged it.
    ///
    /// Up to [`Limits::max_in_flight`] calls run at once; they are first polled in the order of
    /// their batches, so everything before the first `await` happens in order. Do not retry here
    /// beyond what the protocol requires: the host retries, and counts it. If a batch takes too long, the
    /// host drops it and creates a new instance.
    fn publish(&self, batch: Batch) -> impl Future<Output = Outcomes> + Send;

    /// Flushes and disconnects. Called once, after the last publish was answered.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// The limits of an instance's batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most events in a batch.
    pub max_batch_events: u32,
    /// The most bytes of bodies in a batch; a single larger event still arrives, in a batch of its own.
    pub max_batch_bytes: u64,
    /// The most calls of `publish` at once.
    pub max_in_flight: u32,
}

impl Default for Limits {
    /// 512 events, 1 MiB, one batch in flight.
    fn default() -> Self {
        Self {
            max_batch_events: 512,
            max_batch_bytes: 1024 * 1024,
            max_in_flight: 1,
        }
    }
}

impl Limits {
    pub(crate) fn into_abi(self) -> LimitsV1 {
        LimitsV1 {
            max_batch_events: self.max_batch_events,
            max_batch_bytes: self.max_batch_bytes,
            max_in_flight: self.max_in_flight,
        }
    }
}

/// An instance's access to the host. Cheap to clone; it can be used from any thread.
#[derive(Debug, Clone)]
pub struct Context {
    host: Arc<HostV1>,
    spawner: Spawner,
}

impl Context {
    pub(crate) fn new(host: Arc<HostV1>, spawner: Spawner) -> Self {
        Self { host, spawner }
    }

    /// Starts a task that belongs to this instance: it runs beside the calls of the provider, its log lines are the
    /// instance's, it ends with the instance at the latest, and a panic ends nothing else.
    ///
    /// Like `publish`, it may block for a while; everything else of the instance waits meanwhile. A task of
    /// `tokio::spawn` is different: it shares the plugin's runtime with those of all other instances, so it must not
    /// block, and it may outlive its instance.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Task {
        self.spawner.spawn(task)
    }

    /// Assigns log lines of the calling thread to this instance until the guard is dropped.
    ///
    /// For threads that a client library starts, and for `spawn_blocking`; the calls and tasks of the instance need no
    /// guard.
    #[must_use = "lines are attributed for as long as the guard lives"]
    pub fn enter(&self) -> LogScope {
        log_bridge::scope(Arc::clone(&self.host))
    }

    /// Reports that the far system is reachable again; shown to the operator. Does not block.
    pub fn link_up(&self) {
        self.host.link(LinkV1::UP, "");
    }

    /// Reports that the far system is unreachable and that the instance is reconnecting by itself. The reason
    /// is one sentence without secrets. Does not block.
    pub fn link_down(&self, reason: &str) {
        self.host.link(LinkV1::DOWN, reason);
    }
}
