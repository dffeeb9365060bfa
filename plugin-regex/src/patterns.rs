//! A whole set of patterns.

use std::collections::HashMap;
use std::fmt;

use crate::analysis::{any_assertion, is_linear, looks_back, split_prefix, weight};
use crate::backtracking::Backtracking;
use crate::linear::{Item, LinearSet};
use crate::simplify::simplify;
use crate::syntax::{Assertion, Node, SyntaxError, parse};
use crate::translate::{Engine, translate};

/// The most automaton states of a pattern, with every counted repetition expanded.
const MAX_WEIGHT: u64 = 200_000;

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// Position of the pattern in its set, from 0.
    pub index: usize,
    /// The position in the pattern, in characters from 0; `None` if it concerns the whole pattern.
    pub offset: Option<usize>,
    /// One sentence: what was found, what was expected.
    pub message: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.offset {
            Some(offset) => write!(f, " (at character {})", offset + 1),
            None => Ok(()),
        }
    }
}

/// A pattern that could not be decided for a name. It counts as not matching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchFault {
    /// Position of the pattern in its set, from 0.
    pub index: u32,
    /// One sentence: what happened and what to do.
    pub message: String,
}

/// Compiled patterns, each with the meaning of `CPython` 3.11's `re.fullmatch(pattern, name)`.
///
/// ```
/// use plugin_regex::RegexPatterns;
///
/// let set = RegexPatterns::compile(&["idem-.*", "idem-(?!log).*", r"(\w+)-\1"]).unwrap();
/// let (mut matches, mut faults) = (Vec::new(), Vec::new());
/// set.matches("idem-logger", &mut matches, &mut faults);
/// assert_eq!(matches, [0]);
/// set.matches("idem-idem", &mut matches, &mut faults);
/// assert_eq!(matches, [0, 1, 2]);
/// assert!(faults.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct RegexPatterns {
    linear: LinearSet,
    /// Patterns with `\b` or `\B`, which the linear engine matches like Python only for names that are ASCII and not
    /// empty.
    linear_ascii: LinearSet,
    backtracking: Vec<Shared>,
}

/// A backtracking pattern and all its positions in the set.
#[derive(Debug)]
struct Shared {
    pattern: Backtracking,
    indices: Vec<u32>,
    /// Whether `linear_ascii` contains it too and decides ASCII names.
    spared_ascii: bool,
}

impl RegexPatterns {
    /// Compiles a set of patterns. May take seconds for hundreds of thousands.
    ///
    /// # Errors
    ///
    /// An error for every pattern that Python refuses, that exceeds a limit (64 KiB, 100 nested groups,
    /// repetition counts that multiply to about 100,000), or that the engine cannot express; in
    /// ascending order.
    pub fn compile(patterns: &[&str]) -> Result<Self, Vec<PatternError>> {
        let mut build = Builder::default();
        for (index, pattern) in patterns.iter().enumerate() {
            build.add(index, pattern);
        }
        build.finish()
    }

    /// Replaces `matches` with the indices of all patterns that match the whole name, ascending,
    /// and `faults` with the patterns that could not be decided.
    ///
    /// May be called from any number of threads. Takes at most some milliseconds, except that every
    /// backtracking pattern may take up to its limit of steps.
    pub fn matches(&self, name: &str, matches: &mut Vec<u32>, faults: &mut Vec<MatchFault>) {
        matches.clear();
        faults.clear();
        let plain = name.is_ascii() && !name.is_empty();
        self.linear.matches(name, matches);
        if plain {
            self.linear_ascii.matches(name, matches);
        }
        for shared in &self.backtracking {
            if plain && shared.spared_ascii {
                continue;
            }
            match shared.pattern.is_match(name) {
                Ok(true) => matches.extend(&shared.indices),
                Ok(false) => {}
                Err(message) => faults.extend(shared.indices.iter().map(|&index| MatchFault {
                    index,
                    message: message.clone(),
                })),
            }
        }
        matches.sort_unstable();
        faults.sort_unstable_by_key(|fault| fault.index);
    }
}

/// A set under construction.
#[derive(Default)]
struct Builder {
    linear: Vec<Item>,
    linear_ascii: Vec<Item>,
    backtracking: Vec<Shared>,
    /// The entry of `backtracking` for a translated pattern.
    known: HashMap<String, usize>,
    errors: Vec<PatternError>,
}

impl Builder {
    fn add(&mut self, index: usize, pattern: &str) {
        let result = u32::try_from(index)
            .map_err(|_| SyntaxError {
                offset: 0,
                message: "a set holds fewer than 2^32 patterns".to_owned(),
            })
            .and_then(|number| Ok((number, simplify(parse(pattern)?))));
        let outcome = match result {
            Ok((index, node)) => self.place(index, node),
            Err(SyntaxError { offset, message }) => Err((Some(offset), message)),
        };
        if let Err((offset, message)) = outcome {
            self.errors.push(PatternError {
                index,
                offset,
                message,
            });
        }
    }

    /// Passes a pattern to the engine that can match it.
    fn place(&mut self, index: u32, node: Node) -> Result<(), (Option<usize>, String)> {
        let weight = weight(&node);
        if weight > MAX_WEIGHT {
            return Err((
                None,
                format!(
                    "the pattern's repetition counts multiply to about {weight} states; at most {MAX_WEIGHT} are allowed, so use lower counts"
                ),
            ));
        }
        let linear = is_linear(&node, true);
        let boundary = any_assertion(&node, |a| matches!(a, Assertion::WordBoundary { .. }));
        if !linear || boundary {
            self.backtrack(index, &node, linear)
                .map_err(|message| (None, message))?;
        }
        if linear {
            let (prefix, rest) = split_prefix(node.clone());
            let (prefix, rest) = if looks_back(&rest) {
                (String::new(), node)
            } else {
                (prefix, rest)
            };
            let item = Item {
                index,
                prefix,
                rest: translate(&rest, Engine::Linear),
                weight,
            };
            if boundary {
                self.linear_ascii.push(item);
            } else {
                self.linear.push(item);
            }
        }
        Ok(())
    }

    fn backtrack(&mut self, index: u32, node: &Node, spared_ascii: bool) -> Result<(), String> {
        let text = translate(node, Engine::Backtracking);
        if let Some(&known) = self.known.get(&text) {
            self.backtracking[known].indices.push(index);
            return Ok(());
        }
        let (prefix, _) = split_prefix(node.clone());
        let pattern = Backtracking::compile(prefix, &text)?;
        self.known.insert(text, self.backtracking.len());
        self.backtracking.push(Shared {
            pattern,
            indices: vec![index],
            spared_ascii,
        });
        Ok(())
    }

    fn finish(mut self) -> Result<RegexPatterns, Vec<PatternError>> {
        let mut compile = |items| {
            LinearSet::compile(items).unwrap_or_else(|errors| {
                self.errors.extend(errors);
                LinearSet::default()
            })
        };
        let linear = compile(self.linear);
        let linear_ascii = compile(self.linear_ascii);
        if !self.errors.is_empty() {
            self.errors.sort_by_key(|error| error.index);
            return Err(self.errors);
        }
        Ok(RegexPatterns {
            linear,
            linear_ascii,
            backtracking: self.backtracking,
        })
    }
}
