//! Guards: for each pattern one literal that every matching name must contain.
//!
//! A set searches for the literals of all patterns at once and tries a pattern only if its guard was
//! found. If the guard is equivalent to the pattern, the pattern need not be tried.

use std::cmp::Reverse;
use std::collections::HashMap;

use evbus_fnmatch::{Pattern, Token};

/// Where the literal of a guard must stand in the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// It is the name.
    Whole,
    /// The name starts with it.
    Start,
    /// The name ends with it.
    End,
    /// Anywhere in the name.
    Inside,
}

/// A necessary condition of a match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Guard {
    /// Where the literal stands.
    pub(crate) place: Place,
    /// The literal; never empty.
    pub(crate) literal: String,
}

impl Guard {
    fn new(place: Place, tokens: &[Token]) -> Option<Self> {
        let literal: String = tokens.iter().map_while(literal).collect();
        // globset mistakes these two ends for a file extension and a directory: its `*.` does not
        // match the name `a/..`, and its `*/` is slow.
        let misread = place == Place::End && matches!(literal.as_str(), "." | "/");
        (!literal.is_empty() && !misread).then_some(Self { place, literal })
    }

    /// The guard that is equivalent to the pattern, if there is one.
    pub(crate) fn exact(pattern: &Pattern) -> Option<Self> {
        let (place, tokens) = match pattern.tokens() {
            [Token::Star, tokens @ .., Token::Star] => (Place::Inside, tokens),
            [Token::Star, tokens @ ..] => (Place::End, tokens),
            [tokens @ .., Token::Star] => (Place::Start, tokens),
            tokens => (Place::Whole, tokens),
        };
        let all_literal = tokens.iter().all(|token| literal(token).is_some());
        all_literal.then(|| Self::new(place, tokens)).flatten()
    }

    /// Every possible guard of the pattern; none if it has no literal at all.
    fn possible(pattern: &Pattern) -> impl Iterator<Item = Self> {
        let tokens = pattern.tokens();
        let is_literal = |token: &Token| literal(token).is_some();
        let end = tokens.iter().rev().take_while(|token| is_literal(token));
        let end = &tokens[tokens.len() - end.count()..];
        let inside = tokens
            .chunk_by(|a, b| is_literal(a) && is_literal(b))
            .filter(|run| run.iter().all(is_literal))
            .max_by_key(|run| run.len());
        [
            Self::new(Place::Start, tokens),
            Self::new(Place::End, end),
            inside.and_then(|run| Self::new(Place::Inside, run)),
        ]
        .into_iter()
        .flatten()
    }
}

/// Chooses guards that few patterns share, so that few patterns are tried in vain.
pub(crate) struct Chooser {
    /// How many of the patterns could have each guard.
    sharing: HashMap<Guard, u32>,
}

impl Chooser {
    /// Counts the guards that `patterns` could have.
    pub(crate) fn new(patterns: &[Pattern]) -> Self {
        let mut sharing = HashMap::new();
        for guard in patterns.iter().flat_map(Guard::possible) {
            *sharing.entry(guard).or_default() += 1;
        }
        Self { sharing }
    }

    /// The guard of `pattern` that fewest of the patterns could have, of those the longest.
    pub(crate) fn choose(&self, pattern: &Pattern) -> Option<Guard> {
        Guard::possible(pattern).min_by_key(|guard| {
            let sharing = self.sharing.get(guard).copied().unwrap_or_default();
            (sharing, Reverse(guard.literal.len()))
        })
    }
}

fn literal(token: &Token) -> Option<char> {
    match token {
        Token::Literal(c) => Some(*c),
        _ => None,
    }
}
