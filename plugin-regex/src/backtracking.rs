//! Patterns with look-around, back-references, conditions or atomic groups.
//!
//! Matching them may take exponential time, so every match has a budget of steps. The engine's own limit
//! counts only backtracking steps; the work between two of them may also grow with a power of the name's
//! length, as in `(?:(?=(?:(?=a*)a)*)a)*`.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fancy_regex::{Error, Input, Match, Regex, RegexBuilder, RuntimeError};

/// Steps after which a match is given up; they take about 100 ms at most on a current machine.
///
/// A step is one access to a name of up to [`BYTES_PER_STEP`] bytes. An access to a longer one may run a linear
/// automaton over all of it, so it counts as more.
const MAX_STEPS: u64 = 5_000_000;

/// See [`MAX_STEPS`].
const BYTES_PER_STEP: usize = 16;

/// Backtracking steps after which the engine itself gives up.
const MAX_BACKTRACKING: usize = 1_000_000;

/// Bytes of each linear automaton inside a pattern.
const AUTOMATON_BYTES: usize = 8 << 20;

/// Bytes of each such automaton's cache, per thread that matches at once.
const CACHE_BYTES: usize = 1 << 20;

/// One compiled pattern.
#[derive(Debug)]
pub(crate) struct Backtracking {
    regex: Regex,
    /// Every match begins with this: most names are decided without the engine.
    prefix: String,
}

impl Backtracking {
    /// `pattern` is the whole pattern in the engine's syntax, without anchors.
    ///
    /// # Errors
    ///
    /// One sentence if the engine does not take the pattern.
    pub(crate) fn compile(prefix: String, pattern: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
            .backtrack_limit(MAX_BACKTRACKING)
            .delegate_size_limit(AUTOMATON_BYTES)
            .delegate_dfa_size_limit(CACHE_BYTES)
            .build()
            .map_err(|error| crate::linear::one_line(&error.to_string()))?;
        Ok(Self { regex, prefix })
    }

    /// # Errors
    ///
    /// One sentence if it could not be decided within the limits.
    pub(crate) fn is_match(&self, name: &str) -> Result<bool, String> {
        if !name.starts_with(&self.prefix) {
            return Ok(false);
        }
        let metered = Metered::new(name);
        // The regex survives unwinding: its working memory is reset before every use, and nothing else in it changes.
        match catch_unwind(AssertUnwindSafe(|| self.regex.is_match(&metered))) {
            Ok(Ok(is_match)) => Ok(is_match),
            Ok(Err(Error::RuntimeError(
                RuntimeError::BacktrackLimitExceeded | RuntimeError::StackOverflow,
            ))) => Err(given_up(name)),
            Ok(Err(error)) => Err(crate::linear::one_line(&error.to_string())),
            Err(payload) if payload.is::<Exhausted>() => Err(given_up(name)),
            // A fault of the engine, which the plugin's own guard handles.
            Err(payload) => resume_unwind(payload),
        }
    }
}

fn given_up(name: &str) -> String {
    format!(
        "matching a name of {} bytes was given up because it takes too many steps; rewrite nested repetitions such as `(a+)+`, or use shorter names",
        name.len()
    )
}

/// A name that counts the engine's accesses.
struct Metered<'a> {
    name: &'a str,
    cost: u64,
    left: Cell<u64>,
}

/// Unwinds out of the engine when the steps are used up, because the engine cannot be stopped otherwise.
/// `resume_unwind` runs no panic hook, so nothing is printed.
struct Exhausted;

impl<'a> Metered<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            cost: 1 + (name.len() / BYTES_PER_STEP) as u64,
            left: Cell::new(MAX_STEPS),
        }
    }
}

impl Input for Metered<'_> {
    type Match<'t>
        = Match<'t>
    where
        Self: 't;

    fn len(&self) -> usize {
        self.name.len()
    }

    fn as_bytes(&self) -> &[u8] {
        match self.left.get().checked_sub(self.cost) {
            Some(left) => self.left.set(left),
            None => resume_unwind(Box::new(Exhausted)),
        }
        self.name.as_bytes()
    }

    fn is_char_boundary(&self, index: usize) -> bool {
        self.name.is_char_boundary(index)
    }

    fn is_ascii(&self) -> bool {
        self.name.is_ascii()
    }

    fn prev_codepoint_ix(&self, index: usize) -> usize {
        self.name.prev_codepoint_ix(index)
    }

    fn make_match(&self, start: usize, end: usize) -> Match<'_> {
        self.name.make_match(start, end)
    }

    fn advance_position(&self, index: usize) -> usize {
        self.name.advance_position(index)
    }
}
