//! The cached answers of a match plugin.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// Longer names are not kept by threads.
const MAX_LAST_BYTES: usize = 256;

/// Answers by name, in bounded memory. Use it from any number of threads.
pub(super) struct Answers {
    cache: Cache<Box<str>, Route, ByteWeight>,
    /// Differs from those of all others.
    number: u64,
}

/// The name that a thread asked for last: most fire many events under one.
#[derive(Default)]
struct Last {
    /// Whose answer it is.
    number: u64,
    name: String,
    /// Decided, and so as good as ever.
    route: Option<Route>,
}

thread_local! {
    static LAST: RefCell<Last> = RefCell::default();
}

impl Default for Answers {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            cache: Cache::with_weighter(CACHE_ITEMS, CACHE_BYTES, ByteWeight),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Answers {
    /// The answer for a name, unless the plugin must be asked again.
    pub(super) fn get(&self, name: &str) -> Option<Route> {
        LAST.with_borrow_mut(|last| {
            if last.number == self.number && last.name == name && last.route.is_some() {
                return last.route.clone();
            }
            let route = self.cache.get(name).filter(Route::is_current)?;
            if route.undecided.is_none() && name.len() <= MAX_LAST_BYTES {
                last.number = self.number;
                name.clone_into(&mut last.name);
                last.route = Some(route.clone());
            }
            Some(route)
        })
    }

    pub(super) fn keep(&self, name: &str, route: Route) {
        self.cache.insert(name.into(), route);
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
    fn answers_of_one_plugin_are_not_taken_for_those_of_another() {
        let both = [Answers::default(), Answers::default()];
        for (answers, index) in both.iter().zip([1, 2]) {
            let found = MatchesV1 {
                indices: vec![index].into(),
                ..MatchesV1::default()
            };
            answers.keep("name", read(&found, true, 3));
        }
        for _ in 0..2 {
            for (answers, index) in both.iter().zip([1, 2]) {
                let route = answers.get("name").expect("it is known");
                assert_eq!(*route.matches, [index]);
                assert!(answers.get("other").is_none());
            }
        }
    }

    #[test]
    fn names_beyond_the_bound_are_forgotten_and_the_last_one_is_known() {
        for (names, bytes) in [(200_000, 10), (20_000, 2_000)] {
            let answers = Answers::default();
            let route = read(&MatchesV1::default(), true, 3);
            let name = |number: u32| format!("{number:0>bytes$}");
            for number in 0..names {
                answers.keep(&name(number), route.clone());
            }
            let kept = u32::try_from(answers.cache.len()).expect("they are few");
            assert!(kept > 1000 && kept < names, "{kept} of {names}");
            assert!(
                answers.cache.weight() <= CACHE_BYTES,
                "{}",
                answers.cache.weight()
            );
            assert!(answers.get(&name(names - 1)).is_some());
        }
        // Larger than the whole cache.
        let answers = Answers::default();
        let large = "x".repeat(usize::try_from(CACHE_BYTES).expect("it is") + 1);
        answers.keep(&large, undecided(3, "a reason"));
        assert!(answers.cache.weight() <= CACHE_BYTES);
    }
}
