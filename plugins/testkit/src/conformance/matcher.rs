//! Cases about match plugins.

use super::{Report, ensure};
use crate::{Harness, PatternSet};

/// Size of the large set.
const MANY: usize = 10_000;
/// Threads that use one set at the same time.
const THREADS: usize = 4;

/// The suite for one match plugin. Needs no far system and does not block on one.
#[derive(Debug)]
pub struct MatcherConformance {
    harness: Harness,
    patterns: Vec<String>,
    invalid: Option<String>,
    names: Vec<String>,
    numbered: fn(usize) -> String,
}

impl MatcherConformance {
    /// The suite for a plugin.
    pub fn new(harness: Harness) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Self {
            harness,
            patterns: owned(&["idem-run", "idem-status", "default"]),
            invalid: None,
            names: owned(&["idem-run", "idem-status", "default", "idem-", "nothing"]),
            numbered: |number| format!("profile-{number}"),
        }
    }

    /// Valid patterns, as varied as the plugin's language. Default: three plain names.
    #[must_use]
    pub fn patterns(mut self, patterns: &[&str]) -> Self {
        self.patterns = patterns.iter().map(ToString::to_string).collect();
        self
    }

    /// A pattern that cannot be compiled, if the plugin's language has one.
    #[must_use]
    pub fn invalid(mut self, pattern: &str) -> Self {
        self.invalid = Some(pattern.to_owned());
        self
    }

    /// Names to match.
    #[must_use]
    pub fn names(mut self, names: &[&str]) -> Self {
        self.names = names.iter().map(ToString::to_string).collect();
        self
    }

    /// Makes the pattern that matches the name `profile-N` alone. Default: the name itself.
    #[must_use]
    pub fn numbered(mut self, pattern: fn(usize) -> String) -> Self {
        self.numbered = pattern;
        self
    }

    /// Runs all cases.
    pub fn run(&self) -> Report {
        let mut report = Report::new(self.harness.id());
        report.add("has a name", self.has_a_name());
        report.add(
            "a set agrees with its patterns one by one",
            self.set_agrees(),
        );
        report.add(
            "names the index of an invalid pattern",
            self.invalid_index(),
        );
        report.add("takes an empty set", self.empty_set());
        report.add("takes an empty name and a very long one", self.odd_names());
        report.add("takes 10,000 patterns", self.many_patterns());
        report.add("answers many threads at once", self.many_threads());
        report
    }

    fn has_a_name(&self) -> Result<(), String> {
        ensure!(!self.harness.names().is_empty(), "it serves no name");
        Ok(())
    }

    fn set_agrees(&self) -> Result<(), String> {
        let set = self.compile(&self.patterns)?;
        let singles: Vec<PatternSet> = self
            .patterns
            .iter()
            .map(|pattern| self.compile(std::slice::from_ref(pattern)))
            .collect::<Result<_, _>>()?;
        for name in &self.names {
            let whole = matches(&set, name)?;
            let mut one_by_one = Vec::new();
            for (index, single) in singles.iter().enumerate() {
                if !matches(single, name)?.is_empty() {
                    one_by_one.push(index);
                }
            }
            ensure!(
                whole == one_by_one,
                "for {name:?} the set gives {whole:?}, its patterns alone give {one_by_one:?}"
            );
        }
        Ok(())
    }

    fn invalid_index(&self) -> Result<(), String> {
        let Some(invalid) = &self.invalid else {
            return Ok(());
        };
        let mut patterns = self.patterns.clone();
        patterns.push(invalid.clone());
        patterns.extend(self.patterns.iter().cloned());
        patterns.push(invalid.clone());
        let expected = [self.patterns.len(), patterns.len() - 1];
        match self.harness.compile(&patterns) {
            Ok(_) => Err(format!("{invalid:?} was compiled")),
            Err(mut faults) => {
                faults.sort_by_key(|fault| fault.index);
                let indices: Vec<usize> = faults.iter().map(|fault| fault.index).collect();
                ensure!(
                    indices == expected,
                    "expected faults at {expected:?}, found {faults:?}"
                );
                ensure!(
                    faults.iter().all(|fault| !fault.message.is_empty()),
                    "a fault has no message"
                );
                Ok(())
            }
        }
    }

    fn empty_set(&self) -> Result<(), String> {
        let set = self.compile(&[])?;
        for name in &self.names {
            ensure!(
                matches(&set, name)?.is_empty(),
                "an empty set matches {name:?}"
            );
        }
        Ok(())
    }

    fn odd_names(&self) -> Result<(), String> {
        let set = self.compile(&self.patterns)?;
        for name in [
            String::new(),
            "x".repeat(1024 * 1024),
            "\u{1f680}\n\0".to_owned(),
        ] {
            // An undecided pattern is an answer; a panic is not.
            let answer = set.try_matches(&name);
            ensure!(
                answer.is_some(),
                "panicked at a name of {} bytes",
                name.len()
            );
        }
        Ok(())
    }

    fn many_patterns(&self) -> Result<(), String> {
        let patterns: Vec<String> = (0..MANY).map(self.numbered).collect();
        let set = self.compile(&patterns)?;
        for number in (0..MANY).step_by(97).chain([MANY - 1]) {
            let found = matches(&set, &format!("profile-{number}"))?;
            ensure!(found == [number], "profile-{number} matches {found:?}");
        }
        let found = matches(&set, &format!("profile-{MANY}"))?;
        ensure!(found.is_empty(), "profile-{MANY} matches {found:?}");
        Ok(())
    }

    fn many_threads(&self) -> Result<(), String> {
        let set = self.compile(&self.patterns)?;
        let expected: Vec<Vec<usize>> = self.answers(&set)?;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..200 {
                            let found = self.answers(&set)?;
                            ensure!(found == expected, "threads get different answers");
                        }
                        Ok(())
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| {
                let ended = thread.join();
                ended.unwrap_or_else(|_| Err("a thread panicked".to_owned()))
            })
        })
    }

    fn answers(&self, set: &PatternSet) -> Result<Vec<Vec<usize>>, String> {
        self.names.iter().map(|name| matches(set, name)).collect()
    }

    fn compile(&self, patterns: &[String]) -> Result<PatternSet, String> {
        self.harness
            .compile(patterns)
            .map_err(|faults| format!("valid patterns have faults: {faults:?}"))
    }
}

/// The positions that match: decided, ascending.
fn matches(set: &PatternSet, name: &str) -> Result<Vec<usize>, String> {
    let Some((indices, faults)) = set.try_matches(name) else {
        return Err(format!("panicked at the name {name:?}"));
    };
    ensure!(faults.is_empty(), "undecided for {name:?}: {faults:?}");
    ensure!(
        indices.is_sorted(),
        "the answer for {name:?} does not ascend: {indices:?}"
    );
    Ok(indices)
}
