//! The cached answers of a match plugin.

use std::sync::Arc;
use std::time::Instant;

use evbus_abi::v1::MatchesV1;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::{Route, Undecided};
use evbus_report::foreign_text;

/// How many bytes of answers are cached.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// About how many answers that is.
const CACHE_ITEMS: usize = 100_000;

/// A match plugin's reason is truncated to this length.
const MAX_REASON_BYTES: usize = 300;

/// Answers by name, in bounded memory. Use it from any number of threads.
pub(super) struct Answers(Cache<Box<str>, Route, ByteWeight>);

impl Default for Answers {
    fn default() -> Self {
        Self(Cache::with_weighter(CACHE_ITEMS, CACHE_BYTES, ByteWeight))
    }
}

impl Answers {
    /// The answer for a name, unless the plugin must be asked again.
    pub(super) fn get(&self, name: &str) -> Option<Route> {
        self.0.get(name).filter(Route::is_current)
    }

    pub(super) fn keep(&self, name: &str, route: Route) {
        self.0.insert(name.into(), route);
    }
}

#[derive(Clone)]
struct ByteWeight;

impl Weighter<Box<str>, Route> for ByteWeight {
    fn weight(&self, name: &Box<str>, route: &Route) -> u64 {
        let undecided = route.undecided.as_ref().map_or(0, |undecided| {
            size_of_val(&*undecided.positions) + undecided.reason.len() + 64
        });
        (name.len() + size_of_val(&*route.matches) + undecided + 104) as u64
    }
}

/// The plugin's answer for `count` patterns; `decided` is false if it panicked.
pub(super) fn read(found: &MatchesV1, decided: bool, count: usize) -> Route {
    if !decided {
        // The plugin did not finish, so what it found until then does not count.
        return undecided(count, "the match plugin panicked");
    }
    // Positions beyond the last pattern are a fault of the plugin and belong to no destination.
    let known = |index: &u32| (*index as usize) < count;
    let mut positions: Vec<u32> = (found.faults.iter())
        .map(|fault| fault.index)
        .filter(known)
        .collect();
    positions.sort_unstable();
    positions.dedup();
    if found.faults.iter().any(|fault| !known(&fault.index)) {
        // It is unknown which pattern the plugin meant.
        positions = all(count);
    }
    let mut matches: Vec<u32> = found.indices.iter().copied().filter(known).collect();
    // Each destination gets an event once, however often its position is listed, and not at all if it is also
    // undecided.
    matches.sort_unstable();
    matches.dedup();
    matches.retain(|index| positions.binary_search(index).is_err());
    let reason = (found.faults.first()).map_or("", |fault| fault.message.as_str());
    Route {
        matches: matches.into(),
        undecided: (!positions.is_empty()).then(|| because(positions, reason)),
    }
}

/// None of the `count` patterns is decided.
pub(super) fn undecided(count: usize, reason: &str) -> Route {
    Route {
        matches: Arc::new([]),
        undecided: Some(because(all(count), reason)),
    }
}

fn because(positions: Vec<u32>, reason: &str) -> Arc<Undecided> {
    Arc::new(Undecided {
        positions,
        reason: foreign_text::line(reason, MAX_REASON_BYTES).into_owned(),
        asked: Instant::now(),
    })
}

fn all(count: usize) -> Vec<u32> {
    (0..u32::try_from(count).unwrap_or(u32::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_forgotten_and_the_last_one_is_known() {
        for (names, bytes) in [(200_000, 10), (20_000, 2_000)] {
            let answers = Answers::default();
            let route = read(&MatchesV1::default(), true, 3);
            let name = |number: u32| format!("{number:0>bytes$}");
            for number in 0..names {
                answers.keep(&name(number), route.clone());
            }
            let kept = u32::try_from(answers.0.len()).expect("they are few");
            assert!(kept > 1000 && kept < names, "{kept} of {names}");
            assert!(answers.0.weight() <= CACHE_BYTES, "{}", answers.0.weight());
            assert!(answers.get(&name(names - 1)).is_some());
        }
        // Larger than the whole cache.
        let answers = Answers::default();
        let large = "x".repeat(usize::try_from(CACHE_BYTES).expect("it is") + 1);
        answers.keep(&large, undecided(3, "a reason"));
        assert!(answers.0.weight() <= CACHE_BYTES);
    }
}
