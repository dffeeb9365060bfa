//! Match plugins: they decide which patterns a profile name matches.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::StableAbi;
use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};

/// A fault of one pattern of a set, at compile time or while matching.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq, Eq)]
pub struct PatternFaultV1 {
    /// Position of the pattern in its set, from 0.
    pub index: u32,
    /// One sentence: what was found, what was expected.
    pub message: RString,
}

/// The answer of a pattern set; reused by the caller from name to name.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default)]
pub struct MatchesV1 {
    /// Positions of all patterns that match, ascending.
    pub indices: RVec<u32>,
    /// Patterns that could not be decided for this name, a backtracking limit say. They count as
    /// not matching.
    pub faults: RVec<PatternFaultV1>,
}

/// The functions of a match plugin. Callable from any thread; they contain their panics.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct MatcherFnsV1 {
    /// The names under which an acct file selects it with `match_plugin`. Does not block.
    pub names: extern "C" fn() -> RVec<RString>,
    /// Compiles a whole set of patterns, once. All faults are given, not only the first. May take
    /// as long as the set needs, but does no input or output.
    pub compile: extern "C" fn(RSlice<'_, RStr<'_>>) -> RResult<PatternSetV1, RVec<PatternFaultV1>>,
}

/// The plugin's side of [`PatternSetV1`].
pub trait PatternSetObjectV1: Send + Sync + 'static {
    /// Fills `matches`, which is empty before.
    fn matches(&self, name: &str, matches: &mut MatchesV1);
}

/// A compiled set of patterns.
///
/// Owned by the host; called from any number of threads at the same time. A call takes bounded
/// time and does not block.
#[repr(C)]
#[derive(StableAbi)]
pub struct PatternSetV1 {
    state: *mut c_void,
    matches: unsafe extern "C" fn(*mut c_void, RStr<'_>, &mut MatchesV1) -> bool,
    release: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the object inside is `Send + Sync` (bound of `PatternSetObjectV1`).
unsafe impl Send for PatternSetV1 {}
// SAFETY: as above.
unsafe impl Sync for PatternSetV1 {}

impl PatternSetV1 {
    /// Wraps the plugin's object.
    pub fn new<P: PatternSetObjectV1>(set: P) -> Self {
        unsafe extern "C" fn matches<P: PatternSetObjectV1>(
            state: *mut c_void,
            name: RStr<'_>,
            matches: &mut MatchesV1,
        ) -> bool {
            // SAFETY: `state` is the `P` of `new`, alive until `release`.
            let set = unsafe { &*state.cast::<P>() };
            catch_unwind(AssertUnwindSafe(|| set.matches(name.as_str(), matches))).is_ok()
        }
        unsafe extern "C" fn release<P: PatternSetObjectV1>(state: *mut c_void) {
            // SAFETY: `state` came from `Box::into_raw` in `new`; `PatternSetV1::drop` calls this
            // once.
            let set = unsafe { Box::from_raw(state.cast::<P>()) };
            let _ = catch_unwind(AssertUnwindSafe(move || drop(set)));
        }

        Self {
            state: Box::into_raw(Box::new(set)).cast(),
            matches: matches::<P>,
            release: release::<P>,
        }
    }

    /// Clears `matches` and fills it for a profile name.
    ///
    /// Returns false, and leaves `matches` empty, when the plugin panicked.
    #[must_use = "false means that the plugin panicked and nothing was decided"]
    pub fn matches(&self, name: &str, matches: &mut MatchesV1) -> bool {
        matches.indices.clear();
        matches.faults.clear();
        // SAFETY: `matches` belongs to `state`, which lives as long as `self`.
        let decided = unsafe { (self.matches)(self.state, name.into(), matches) };
        if !decided {
            matches.indices.clear();
            matches.faults.clear();
        }
        decided
    }
}

impl Drop for PatternSetV1 {
    fn drop(&mut self) {
        // SAFETY: `release` belongs to `state`, and this is the only call.
        unsafe { (self.release)(self.state) }
    }
}

impl std::fmt::Debug for PatternSetV1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PatternSetV1")
    }
}
