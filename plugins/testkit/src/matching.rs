//! Compiled patterns of a match plugin.

use evbus_abi::v1::{MatchesV1, PatternFaultV1, PatternSetV1};

/// A fault of one pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternFault {
    /// Position of the pattern in its set, from 0.
    pub index: usize,
    /// What the plugin says of it.
    pub message: String,
}

impl From<PatternFaultV1> for PatternFault {
    fn from(fault: PatternFaultV1) -> Self {
        Self {
            index: fault.index as usize,
            message: fault.message.into(),
        }
    }
}

/// A set of patterns, compiled by the plugin.
#[derive(Debug)]
pub struct PatternSet(PatternSetV1);

impl PatternSet {
    pub(crate) fn new(set: PatternSetV1) -> Self {
        Self(set)
    }

    /// Positions of all patterns that match the name, as the plugin gave them. Panics when the
    /// plugin panicked or could not decide.
    pub fn matches(&self, name: &str) -> Vec<usize> {
        let (indices, faults) = self
            .try_matches(name)
            .unwrap_or_else(|| panic!("the plugin panicked at the name {name:?}"));
        assert!(faults.is_empty(), "undecided for {name:?}: {faults:?}");
        indices
    }

    /// Positions of all patterns that match the name, and the patterns that could not be decided;
    /// `None` when the plugin panicked.
    pub fn try_matches(&self, name: &str) -> Option<(Vec<usize>, Vec<PatternFault>)> {
        let mut matches = MatchesV1::default();
        self.0.matches(name, &mut matches).then(|| {
            (
                matches
                    .indices
                    .iter()
                    .map(|&index| index as usize)
                    .collect(),
                matches.faults.into_iter().map(PatternFault::from).collect(),
            )
        })
    }
}
