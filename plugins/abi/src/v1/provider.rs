//! Ingress providers: plugins that publish events to one kind of system.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::StableAbi;
use abi_stable::std_types::{RResult, RStr, RString, RVec};

use super::{BatchOutcomeV1, BatchV1, CompletionV1, HostV1};

/// How an instance wants its batches.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsV1 {
    /// Most events in a batch; 0 counts as 1.
    pub max_batch_events: u32,
    /// Most bytes of bodies in a batch; a single larger event still comes, alone.
    pub max_batch_bytes: u64,
    /// Most batches not yet answered; 0 counts as 1.
    pub max_in_flight: u32,
}

/// A fault in a configuration.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq, Eq)]
pub struct ConfigFaultV1 {
    /// Where: keys joined by `.`, list positions as `[0]`, empty for the whole.
    pub path: RString,
    /// What was found and what was expected, without the values of secrets.
    pub message: RString,
}

/// Why an instance could not be made.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq, Eq)]
pub struct ConnectFailureV1 {
    /// Trying again without a change is pointless: wrong credentials, wrong configuration.
    pub permanent: bool,
    /// One sentence for the operator, without secrets.
    pub reason: RString,
}

/// The answer to a connect.
pub type ConnectOutcomeV1 = RResult<InstanceV1, ConnectFailureV1>;

/// The functions of a plugin that serves ingress providers.
///
/// All are callable from any thread, also at the same time, and contain their panics.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct ProviderV1 {
    /// The provider names served, as they stand in acct files, the first being the usual one.
    /// Does not block.
    pub names: extern "C" fn() -> RVec<RString>,
    /// JSON Schema of the configuration, as JSON text. Does not block.
    pub config_schema: extern "C" fn() -> RString,
    /// Checks a configuration (JSON text) without connecting anywhere; empty: it is usable.
    /// Unknown keys are faults. Does not block beyond reading local files that it names.
    pub check_config: extern "C" fn(RStr<'_>) -> RVec<ConfigFaultV1>,
    /// Makes an instance. Returns at once; the answer comes through the completion, from a thread
    /// of the plugin. The plugin owns host and completion.
    pub connect: extern "C" fn(RStr<'_>, HostV1, CompletionV1<ConnectOutcomeV1>),
}

/// The plugin's side of [`InstanceV1`].
pub trait InstanceObjectV1: Send + Sync + 'static {
    /// Receives a batch and returns at once; answers through the completion.
    fn publish(&self, batch: BatchV1, done: CompletionV1<BatchOutcomeV1>);
    /// Finishes what is in flight, flushes, disconnects, then answers. Returns at once.
    fn close(&self, done: CompletionV1<()>);
}

/// A connected instance of a provider: one per destination.
///
/// Owned by the host. Calls come from any thread, one at a time; none may block. Dropping it lets
/// go of the far system without waiting; batches in flight are answered by dropping their
/// completions.
#[repr(C)]
#[derive(StableAbi)]
pub struct InstanceV1 {
    state: *mut c_void,
    /// How it wants its batches.
    pub limits: LimitsV1,
    publish: unsafe extern "C" fn(*mut c_void, BatchV1, CompletionV1<BatchOutcomeV1>),
    close: unsafe extern "C" fn(*mut c_void, CompletionV1<()>),
    release: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the object inside is `Send + Sync` (bound of `InstanceObjectV1`).
unsafe impl Send for InstanceV1 {}
// SAFETY: as above.
unsafe impl Sync for InstanceV1 {}

impl InstanceV1 {
    /// Wraps the plugin's object.
    pub fn new<I: InstanceObjectV1>(instance: I, limits: LimitsV1) -> Self {
        unsafe extern "C" fn publish<I: InstanceObjectV1>(
            state: *mut c_void,
            batch: BatchV1,
            done: CompletionV1<BatchOutcomeV1>,
        ) {
            // SAFETY: `state` is the `I` of `new`, alive until `release`.
            let instance = unsafe { &*state.cast::<I>() };
            // A panic drops the completion, which tells the host.
            let _ = catch_unwind(AssertUnwindSafe(|| instance.publish(batch, done)));
        }
        unsafe extern "C" fn close<I: InstanceObjectV1>(
            state: *mut c_void,
            done: CompletionV1<()>,
        ) {
            // SAFETY: `state` is the `I` of `new`, alive until `release`.
            let instance = unsafe { &*state.cast::<I>() };
            let _ = catch_unwind(AssertUnwindSafe(|| instance.close(done)));
        }
        unsafe extern "C" fn release<I: InstanceObjectV1>(state: *mut c_void) {
            // SAFETY: `state` came from `Box::into_raw` in `new`; `InstanceV1::drop` calls this
            // once.
            let instance = unsafe { Box::from_raw(state.cast::<I>()) };
            let _ = catch_unwind(AssertUnwindSafe(move || drop(instance)));
        }

        Self {
            state: Box::into_raw(Box::new(instance)).cast(),
            limits,
            publish: publish::<I>,
            close: close::<I>,
            release: release::<I>,
        }
    }

    /// Hands over a batch; returns at once. The outcome comes through `done`.
    pub fn publish(&self, batch: BatchV1, done: CompletionV1<BatchOutcomeV1>) {
        // SAFETY: `publish` belongs to `state`, which lives as long as `self`.
        unsafe { (self.publish)(self.state, batch, done) }
    }

    /// Asks for an orderly end; returns at once. No batch is handed over afterwards.
    pub fn close(&self, done: CompletionV1<()>) {
        // SAFETY: `close` belongs to `state`, which lives as long as `self`.
        unsafe { (self.close)(self.state, done) }
    }
}

impl Drop for InstanceV1 {
    fn drop(&mut self) {
        // SAFETY: `release` belongs to `state`, and this is the only call.
        unsafe { (self.release)(self.state) }
    }
}

impl std::fmt::Debug for InstanceV1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceV1")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
