//! The interface for authors of match plugins.

use evbus_abi::v1::{MatchesV1, PatternFaultV1, PatternSetObjectV1};

use crate::log_bridge;

/// A match plugin: decides which patterns a profile name matches.
///
/// ```
/// use evbus_sdk::{Matcher, Matches, PatternFault};
///
/// /// Patterns are exact names.
/// struct Exact(Vec<String>);
///
/// impl Matcher for Exact {
///     const NAMES: &'static [&'static str] = &["exact"];
///
///     fn compile(patterns: &[&str]) -> Result<Self, Vec<PatternFault>> {
///         Ok(Self(patterns.iter().map(ToString::to_string).collect()))
///     }
///
///     fn matches(&self, name: &str, matches: &mut Matches<'_>) {
///         for (index, pattern) in self.0.iter().enumerate() {
///             if pattern == name {
///                 matches.push(index);
///             }
///         }
///     }
/// }
///
/// evbus_sdk::export_matcher!(Exact);
/// # fn main() {}
/// ```
pub trait Matcher: Sized + Send + Sync + 'static {
    /// The names for `match_plugin` in an acct file.
    const NAMES: &'static [&'static str];

    /// Compiles a set of patterns; called once per set.
    ///
    /// # Errors
    ///
    /// A fault for every pattern that cannot be used.
    fn compile(patterns: &[&str]) -> Result<Self, Vec<PatternFault>>;

    /// Pushes the position of every pattern that matches the whole name, in ascending order.
    ///
    /// This is called from several threads at once and must end in bounded time: the host waits one second
    /// for a name, and refuses its event if there is no answer by then. The host caches answers, so this
    /// runs once per distinct name, not once per event.
    fn matches(&self, name: &str, matches: &mut Matches<'_>);
}

/// A fault of one pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternFault {
    /// The position of the pattern in its set, from 0.
    pub index: usize,
    /// One sentence: what was found, what was expected.
    pub message: String,
}

impl PatternFault {
    pub(crate) fn into_abi(self) -> PatternFaultV1 {
        PatternFaultV1 {
            // A set has fewer than 2^32 patterns: the host refuses larger ones.
            index: u32::try_from(self.index).unwrap_or(u32::MAX),
            message: self.message.into(),
        }
    }
}

/// Collects a matcher's answer.
#[derive(Debug)]
pub struct Matches<'a>(&'a mut MatchesV1);

impl Matches<'_> {
    /// Reports that the pattern at this position matches.
    pub fn push(&mut self, index: usize) {
        if let Ok(index) = u32::try_from(index) {
            self.0.indices.push(index);
        }
    }

    /// Reports that the pattern at this position could not be decided. It counts as not matching, and the
    /// host logs the message: one sentence.
    pub fn fault(&mut self, index: usize, message: impl Into<String>) {
        self.0.faults.push(
            PatternFault {
                index,
                message: message.into(),
            }
            .into_abi(),
        );
    }
}

/// A matcher behind the contract.
pub(crate) struct PatternSet<M>(pub(crate) M);

impl<M: Matcher> PatternSetObjectV1 for PatternSet<M> {
    fn matches(&self, name: &str, matches: &mut MatchesV1) {
        let _voice = log_bridge::enter_library();
        self.0.matches(name, &mut Matches(matches));
    }
}
