//! Patterns for the linear engine, which matches any number of them against a name at once.
//!
//! A pattern is a literal prefix and a rest. The prefixes are looked up in a map, once per
//! distinct prefix length, so that a set of 100,000 patterns `idem-12345-.*` costs a few look-ups
//! and one automaton, not 100,000. Equal rests are compiled once.

use std::collections::HashMap;
use std::ops::Range;

use regex::{RegexSet, RegexSetBuilder, SetMatches};

use crate::PatternError;

/// Automaton states (see [`crate::analysis::weight`]) compiled into one set.
const CHUNK_WEIGHT: u64 = 5_000;

/// The largest compiled set, in bytes. A larger set is split; a single larger pattern is refused.
const CHUNK_BYTES: usize = 32 << 20;

/// Bytes of the cache that a set's automaton keeps for each concurrently matching thread.
const CACHE_BYTES: usize = 1 << 20;

/// Deeper than any tree from the parser, which has its own limit.
const NEST_LIMIT: u32 = 1_000;

/// A pattern to compile.
#[derive(Debug)]
pub(crate) struct Item {
    /// Position in the whole set.
    pub(crate) index: u32,
    /// Every match begins with it.
    pub(crate) prefix: String,
    /// What must match all that follows the prefix, in the engine's syntax.
    pub(crate) rest: String,
    pub(crate) weight: u64,
}

/// Compiled patterns.
#[derive(Debug, Default)]
pub(crate) struct LinearSet {
    /// The entries of every prefix.
    prefixes: HashMap<String, Range<usize>>,
    /// The distinct lengths of the prefixes in bytes, ascending.
    lengths: Vec<usize>,
    /// Grouped by prefix, then in the order of the rests' chunks.
    entries: Vec<Entry>,
    chunks: Vec<RegexSet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    chunk: usize,
    slot: usize,
    index: u32,
}

impl LinearSet {
    /// # Errors
    ///
    /// The patterns whose automaton would be too large.
    pub(crate) fn compile(mut items: Vec<Item>) -> Result<Self, Vec<PatternError>> {
        // Sorted, so that rests with similar prefixes get into the same chunk.
        items.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        let mut rests = Rests::default();
        let numbers: Vec<usize> = items.iter().map(|item| rests.number(item)).collect();
        let (chunks, places) = match rests.compile() {
            Ok(compiled) => compiled,
            Err(too_large) => {
                return Err(items
                    .iter()
                    .zip(numbers)
                    .filter_map(|(item, rest)| {
                        let message = too_large.get(&rest)?.clone();
                        Some(PatternError {
                            index: item.index as usize,
                            offset: None,
                            message,
                        })
                    })
                    .collect());
            }
        };

        let mut set = Self {
            chunks,
            ..Self::default()
        };
        for (item, rest) in items.into_iter().zip(numbers) {
            let (chunk, slot) = places[rest];
            let end = set.entries.len() + 1;
            set.entries.push(Entry {
                chunk,
                slot,
                index: item.index,
            });
            set.prefixes
                .entry(item.prefix)
                .and_modify(|range| range.end = end)
                .or_insert(end - 1..end);
        }
        for range in set.prefixes.values() {
            set.entries[range.clone()].sort_unstable();
        }
        set.lengths = set.prefixes.keys().map(String::len).collect();
        set.lengths.sort_unstable();
        set.lengths.dedup();
        Ok(set)
    }

    /// Appends the indices of the patterns that match the whole name, in any order.
    pub(crate) fn matches(&self, name: &str, out: &mut Vec<u32>) {
        let lengths = self.lengths.iter().take_while(|&&n| n <= name.len());
        for (prefix, rest) in lengths.filter_map(|&n| name.split_at_checked(n)) {
            let Some(range) = self.prefixes.get(prefix) else {
                continue;
            };
            for entries in self.entries[range.clone()].chunk_by(|a, b| a.chunk == b.chunk) {
                let matched: SetMatches = self.chunks[entries[0].chunk].matches(rest);
                out.extend(
                    entries
                        .iter()
                        .filter(|entry| matched.matched(entry.slot))
                        .map(|entry| entry.index),
                );
            }
        }
    }
}

/// The distinct rests, in the order in which they first occur.
#[derive(Default)]
struct Rests {
    numbers: HashMap<String, usize>,
    texts: Vec<(String, u64)>,
}

/// The compiled sets, and every rest's set and position in it.
type Compiled = (Vec<RegexSet>, Vec<(usize, usize)>);

impl Rests {
    fn number(&mut self, item: &Item) -> usize {
        if let Some(&number) = self.numbers.get(&item.rest) {
            return number;
        }
        let number = self.texts.len();
        self.numbers.insert(item.rest.clone(), number);
        self.texts
            .push((format!(r"\A(?:{})\z", item.rest), item.weight));
        number
    }

    /// # Errors
    ///
    /// The rests that are too large, by number, and why.
    fn compile(&self) -> Result<Compiled, HashMap<usize, String>> {
        let mut chunks = Vec::new();
        let mut places = Vec::with_capacity(self.texts.len());
        let mut too_large = HashMap::new();
        // Ranges still to compile, the next one last.
        let mut pending = self.chunk_ranges();
        pending.reverse();
        while let Some(range) = pending.pop() {
            let texts = self.texts[range.clone()].iter().map(|(text, _)| text);
            let built = RegexSetBuilder::new(texts)
                .size_limit(CHUNK_BYTES)
                .dfa_size_limit(CACHE_BYTES)
                .nest_limit(NEST_LIMIT)
                .build();
            match built {
                Ok(set) => {
                    places.extend((0..range.len()).map(|slot| (chunks.len(), slot)));
                    chunks.push(set);
                }
                Err(_) if range.len() > 1 => {
                    let middle = range.start + range.len() / 2;
                    pending.push(middle..range.end);
                    pending.push(range.start..middle);
                }
                Err(regex::Error::CompiledTooBig(limit)) => {
                    let message = format!(
                        "the pattern's automaton would be larger than {limit} bytes; use lower \
                         repetition counts"
                    );
                    too_large.insert(range.start, message);
                }
                Err(error) => {
                    too_large.insert(range.start, one_line(&error.to_string()));
                }
            }
        }
        if too_large.is_empty() {
            Ok((chunks, places))
        } else {
            Err(too_large)
        }
    }

    fn chunk_ranges(&self) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut weight = u64::MAX;
        for (i, (_, w)) in self.texts.iter().enumerate() {
            weight = weight.saturating_add(*w);
            match ranges.last_mut() {
                Some(range) if weight <= CHUNK_WEIGHT => range.end = i + 1,
                _ => {
                    ranges.push(i..i + 1);
                    weight = *w;
                }
            }
        }
        ranges
    }
}

/// An engine's message, which may contain line breaks and arrows, on one line.
pub(crate) fn one_line(text: &str) -> String {
    let cause = text.lines().last().unwrap_or(text).trim();
    format!("the engine does not accept this pattern: {cause}")
}
