//! What the author of an ingress provider writes.

use std::future::Future;
use std::sync::Arc;

use evbus_abi::v1::{HostV1, LimitsV1, LinkV1};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tracing::level_filters::LevelFilter;

use crate::log_bridge::{self, LogScope};
use crate::{Batch, ConfigFault, ConnectError, Outcomes};

/// An ingress provider: publishes events to one kind of system.
///
/// One instance serves one destination (one entry of the acct file) for as long as it works. Its
/// futures run on the instance's own thread, inside a tokio runtime with timers and sockets.
pub trait Provider: Sized + Send + Sync + 'static {
    /// The provider names in acct files that this plugin serves, the usual one first.
    const NAMES: &'static [&'static str];

    /// What stands under a profile in the acct file, without the host's own `evbus:` key.
    ///
    /// Keys that no field takes are refused by the SDK at any depth. Use [`Secret`](crate::Secret)
    /// for passwords. Document the fields: the text is in the schema that operators read.
    type Config: DeserializeOwned + JsonSchema + Send + 'static;

    /// Modules of client libraries (`lapin`, `lapin::channel`) and the most verbose level that is
    /// passed on from each and from what lies inside of it; of two that apply the longer one holds.
    ///
    /// For libraries whose verbose lines show secrets or bodies, since the operator may turn on
    /// everything; and, with `OFF`, for those that call an error what the plugin handles itself.
    const LOG_CEILINGS: &'static [(&'static str, LevelFilter)] = &[];

    /// Checks what the types of the configuration cannot say, without connecting anywhere.
    ///
    /// A value that cannot be read counts as one that is not there; see [`ConfigFault::of_key`].
    ///
    /// # Errors
    ///
    /// Every fault, with the path of its key.
    fn check(config: &Self::Config) -> Result<(), Vec<ConfigFault>> {
        let _ = config;
        Ok(())
    }

    /// How the host shall make this instance's batches. Asked once, after `connect`.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Connects to the far system; the configuration has been checked.
    ///
    /// Should give up in time: the host stops waiting after the destination's deadline.
    ///
    /// # Errors
    ///
    /// Says whether another attempt may succeed without a change.
    fn connect(
        config: Self::Config,
        context: Context,
    ) -> impl Future<Output = Result<Self, ConnectError>> + Send;

    /// Publishes a batch and waits until the far system has acknowledged it.
    ///
    /// Up to [`Limits::max_in_flight`] calls run at once; they are first polled in the order of
    /// their batches, so what happens before the first `await` is in order. Do not retry inside
    /// beyond what the protocol needs: the host does, and counts it. The host drops batches that it
    /// waited for too long and builds a new instance.
    fn publish(&self, batch: Batch) -> impl Future<Output = Outcomes> + Send;

    /// Flushes and disconnects. Called once, after the last publish was answered.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// How an instance wants its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most events in a batch.
    pub max_batch_events: u32,
    /// Most bytes of bodies in a batch; a single larger event still comes, alone.
    pub max_batch_bytes: u64,
    /// Most calls of `publish` at once.
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

/// What an instance may ask of the host. Cheap to clone; use it from any thread.
#[derive(Debug, Clone)]
pub struct Context {
    host: Arc<HostV1>,
}

impl Context {
    pub(crate) fn new(host: Arc<HostV1>) -> Self {
        Self { host }
    }

    /// Log lines of the calling thread are this instance's until the guard is dropped.
    ///
    /// For callbacks on threads that a client library starts; the instance's own thread needs no
    /// guard.
    #[must_use = "lines are attributed for as long as the guard lives"]
    pub fn enter(&self) -> LogScope {
        log_bridge::enter(Arc::clone(&self.host))
    }

    /// Says that the far system is reached again; shown to the operator. Does not block.
    pub fn link_up(&self) {
        self.host.link(LinkV1::UP, "");
    }

    /// Says that the far system is not reached and the instance is trying by itself. One sentence,
    /// without secrets. Does not block.
    pub fn link_down(&self, reason: &str) {
        self.host.link(LinkV1::DOWN, reason);
    }
}
