//! The set of patterns as the match plugin `regex`.

use evbus_sdk::{Matcher, Matches, PatternFault};

use crate::RegexPatterns;

/// The matcher that the host finds in this library.
struct Regex(RegexPatterns);

impl Matcher for Regex {
    const NAMES: &'static [&'static str] = &["regex"];

    fn compile(patterns: &[&str]) -> Result<Self, Vec<PatternFault>> {
        RegexPatterns::compile(patterns)
            .map(Self)
            .map_err(|errors| {
                errors
                    .into_iter()
                    .map(|error| PatternFault {
                        index: error.index,
                        message: error.to_string(),
                    })
                    .collect()
            })
    }

    fn matches(&self, name: &str, matches: &mut Matches<'_>) {
        let (mut indices, mut faults) = (Vec::new(), Vec::new());
        self.0.matches(name, &mut indices, &mut faults);
        for index in indices {
            matches.push(index as usize);
        }
        for fault in faults {
            matches.fault(fault.index as usize, fault.message);
        }
    }
}

evbus_sdk::export_matcher!(Regex);
