//! A set of patterns, matched together.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use crate::guard::{Chooser, Guard};
use crate::search::Search;
use evbus_fnmatch::Pattern;

/// The longest pattern accepted, in bytes. It limits the time of one match: matching a pattern costs at
/// most its length times the length of the name.
pub const MAX_PATTERN_BYTES: usize = 64 * 1024;

/// The maximum total size of the patterns of one set, in bytes, counting one extra byte per pattern. It
/// limits the memory of a set, and allows 100,000 patterns of 160 bytes.
pub const MAX_SET_BYTES: usize = 16 * 1024 * 1024;

/// A longer scratch list is freed after the match that needed it.
const KEPT_SCRATCH: usize = 4096;

thread_local! {
    /// The guards found in one name; kept so that a match allocates nothing.
    static SCRATCH: Cell<Vec<usize>> = const { Cell::new(Vec::new()) };
}

/// An error that keeps a pattern out of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// The pattern's index in the list given to [`GlobSet::compile`], from 0.
    pub index: usize,
    /// One sentence for the operator.
    pub message: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PatternError {}

/// Compiled patterns, all matched against a name in one pass.
///
/// Any number of threads may match at the same time; they share no lock and never block.
pub struct GlobSet {
    /// Finds the guards that hold for a name.
    search: Search,
    /// The patterns of each guard.
    guarded: Vec<Vec<u32>>,
    /// Patterns without any literal, tried on every name.
    unguarded: Vec<u32>,
    /// For each pattern, what must be tried once its guard was found; `None` if the guard is equivalent.
    remaining: Vec<Option<Pattern>>,
}

impl GlobSet {
    /// Compiles `patterns`; the index of each is its position in the list. Takes about a second for a
    /// hundred thousand patterns.
    ///
    /// # Errors
    ///
    /// Every string is a valid pattern, so only sizes can be refused: each pattern longer than
    /// [`MAX_PATTERN_BYTES`], and the first pattern with which the set exceeds [`MAX_SET_BYTES`].
    pub fn compile(patterns: &[&str]) -> Result<Self, Vec<PatternError>> {
        check_sizes(patterns)?;
        let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::parse(text)).collect();
        let chooser = Chooser::new(&patterns);
        let mut guards: HashMap<Guard, Vec<u32>> = HashMap::new();
        let mut unguarded = Vec::new();
        let mut remaining = Vec::with_capacity(patterns.len());
        for (index, pattern) in (0..).zip(patterns) {
            let exact = Guard::exact(&pattern);
            let is_exact = exact.is_some();
            match exact.or_else(|| chooser.choose(&pattern)) {
                Some(guard) => guards.entry(guard).or_default().push(index),
                None => unguarded.push(index),
            }
            remaining.push((!is_exact).then_some(pattern));
        }
        drop(chooser);

        let mut guards: Vec<(Guard, Vec<u32>)> = guards.into_iter().collect();
        guards.sort_unstable();
        let (guards, guarded): (Vec<_>, Vec<_>) = guards.into_iter().unzip();
        Ok(Self {
            search: Search::new(&guards),
            guarded,
            unguarded,
            remaining,
        })
    }

    /// How many patterns the set has.
    pub fn len(&self) -> usize {
        self.remaining.len()
    }

    /// Whether the set has no patterns, so that nothing matches.
    pub fn is_empty(&self) -> bool {
        self.remaining.is_empty()
    }

    /// Replaces `out` with the indices of the patterns that match the whole of `name`, ascending, each
    /// once. Does not allocate once `out` and this thread have processed similar names.
    pub fn matches(&self, name: &str, out: &mut Vec<u32>) {
        out.clear();
        let mut add_matching = |index: &u32| {
            if self.remaining_matches(*index, name) {
                out.push(*index);
            }
        };
        let mut scratch = SCRATCH.take();
        self.search.find(name, &mut scratch, |guard| {
            self.guarded[guard].iter().for_each(&mut add_matching);
        });
        if scratch.capacity() <= KEPT_SCRATCH {
            SCRATCH.set(scratch);
        }
        self.unguarded.iter().for_each(add_matching);
        out.sort_unstable();
    }

    fn remaining_matches(&self, index: u32, name: &str) -> bool {
        match &self.remaining[index as usize] {
            Some(pattern) => pattern.is_match(name),
            None => true,
        }
    }
}

impl fmt::Debug for GlobSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobSet")
            .field("patterns", &self.remaining.len())
            .field("guards", &self.guarded.len())
            .field("unguarded", &self.unguarded.len())
            .finish_non_exhaustive()
    }
}

fn check_sizes(patterns: &[&str]) -> Result<(), Vec<PatternError>> {
    let mut errors = Vec::new();
    let mut total = 0;
    for (index, pattern) in patterns.iter().enumerate() {
        if pattern.len() > MAX_PATTERN_BYTES {
            let message = format!(
                "The pattern that begins with {:?} has {} bytes, and at most {MAX_PATTERN_BYTES} are \
                 allowed: use a shorter one, for example with `*` in place of the middle.",
                pattern.chars().take(40).collect::<String>(),
                pattern.len(),
            );
            errors.push(PatternError { index, message });
            continue;
        }
        total += pattern.len() + 1;
        if total > MAX_SET_BYTES {
            let message = format!(
                "The {} patterns together have more than {MAX_SET_BYTES} bytes, reached at pattern \
                 number {}: use fewer or shorter patterns.",
                patterns.len(),
                index + 1,
            );
            errors.push(PatternError { index, message });
            break;
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}
