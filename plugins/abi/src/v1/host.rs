//! What an instance may ask of the host.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::StableAbi;
use abi_stable::std_types::RStr;

/// Severity of a log line. An open set: a higher number is more verbose.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LevelV1(pub u8);

impl LevelV1 {
    /// Something failed.
    pub const ERROR: Self = Self(1);
    /// Something is wrong, work goes on.
    pub const WARN: Self = Self(2);
    /// What an operator wants to know in normal operation.
    pub const INFO: Self = Self(3);
    /// What an author wants to know.
    pub const DEBUG: Self = Self(4);
    /// Everything.
    pub const TRACE: Self = Self(5);
}

/// What an instance says of its link to the far system. An open set: unknown codes are shown as
/// given.
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkV1(pub u8);

impl LinkV1 {
    /// The far system is reached.
    pub const UP: Self = Self(1);
    /// The far system is not reached; the instance is trying by itself.
    pub const DOWN: Self = Self(2);
}

/// The host's side of [`HostV1`].
pub trait HostObjectV1: Send + Sync + 'static {
    /// Receives one log line. Must not block.
    fn log(&self, level: LevelV1, target: &str, message: &str);
    /// Receives a change of the link's state. Must not block.
    fn link(&self, link: LinkV1, reason: &str);
}

/// The host as an instance sees it.
///
/// Owned by the instance, which drops it when it ends. All calls may come from any thread, never
/// block, and copy what they keep.
#[repr(C)]
#[derive(StableAbi)]
pub struct HostV1 {
    state: *mut c_void,
    /// Lines more verbose than this are thrown away; do not format them.
    pub max_level: LevelV1,
    log: unsafe extern "C" fn(*mut c_void, LevelV1, RStr<'_>, RStr<'_>),
    link: unsafe extern "C" fn(*mut c_void, LinkV1, RStr<'_>),
    release: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the object inside is `Send + Sync` (bound of `HostObjectV1`).
unsafe impl Send for HostV1 {}
// SAFETY: as above.
unsafe impl Sync for HostV1 {}

impl HostV1 {
    /// Wraps the host's object.
    pub fn new<H: HostObjectV1>(host: H, max_level: LevelV1) -> Self {
        unsafe extern "C" fn log<H: HostObjectV1>(
            state: *mut c_void,
            level: LevelV1,
            target: RStr<'_>,
            message: RStr<'_>,
        ) {
            // SAFETY: `state` is the `H` of `new`, alive until `release`.
            let host = unsafe { &*state.cast::<H>() };
            let _ = catch_unwind(AssertUnwindSafe(|| {
                host.log(level, target.as_str(), message.as_str());
            }));
        }
        unsafe extern "C" fn link<H: HostObjectV1>(
            state: *mut c_void,
            link: LinkV1,
            reason: RStr<'_>,
        ) {
            // SAFETY: `state` is the `H` of `new`, alive until `release`.
            let host = unsafe { &*state.cast::<H>() };
            let _ = catch_unwind(AssertUnwindSafe(|| host.link(link, reason.as_str())));
        }
        unsafe extern "C" fn release<H: HostObjectV1>(state: *mut c_void) {
            // SAFETY: `state` came from `Box::into_raw` in `new`; `HostV1::drop` calls this once.
            let host = unsafe { Box::from_raw(state.cast::<H>()) };
            let _ = catch_unwind(AssertUnwindSafe(move || drop(host)));
        }

        Self {
            state: Box::into_raw(Box::new(host)).cast(),
            max_level,
            log: log::<H>,
            link: link::<H>,
            release: release::<H>,
        }
    }

    /// Writes one line to the host's log, under the plugin's and the profile's name.
    ///
    /// `target` is the module the line comes from.
    pub fn log(&self, level: LevelV1, target: &str, message: &str) {
        if level <= self.max_level {
            // SAFETY: `log` belongs to `state`, which lives as long as `self`.
            unsafe { (self.log)(self.state, level, target.into(), message.into()) }
        }
    }

    /// Tells the host that the link to the far system came up or went down.
    pub fn link(&self, link: LinkV1, reason: &str) {
        // SAFETY: `link` belongs to `state`, which lives as long as `self`.
        unsafe { (self.link)(self.state, link, reason.into()) }
    }
}

impl Drop for HostV1 {
    fn drop(&mut self) {
        // SAFETY: `release` belongs to `state`, and this is the only call.
        unsafe { (self.release)(self.state) }
    }
}

impl std::fmt::Debug for HostV1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostV1")
    }
}
