//! The set of patterns as the match plugin `glob`.

use evbus_sdk::{Matcher, Matches, PatternFault};

use crate::GlobSet;

/// The matcher that the host finds in this library.
struct Glob(GlobSet);

impl Matcher for Glob {
    const NAMES: &'static [&'static str] = &["glob"];

    fn compile(patterns: &[&str]) -> Result<Self, Vec<PatternFault>> {
        GlobSet::compile(patterns).map(Self).map_err(|errors| {
            errors
                .into_iter()
                .map(|error| PatternFault {
                    index: error.index,
                    message: error.message,
                })
                .collect()
        })
    }

    fn matches(&self, name: &str, matches: &mut Matches<'_>) {
        let mut indices = Vec::new();
        self.0.matches(name, &mut indices);
        for index in indices {
            matches.push(index as usize);
        }
    }
}

evbus_sdk::export_matcher!(Glob);
