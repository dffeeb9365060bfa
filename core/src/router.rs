//! From a profile name to the destinations whose patterns match it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evbus_abi::v1::{MatchesV1, PatternSetV1};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::foreign_text;
use crate::plugin::Plugin;

/// Bytes that the answers for names seen before may take.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// How many answers that is about.
const CACHE_ITEMS: usize = 100_000;

/// For how long a name that could not be decided is not asked about again. An answer costs a matcher
/// that runs into its limit as much as thousands of others.
const UNDECIDED_FOR: Duration = Duration::from_secs(1);

/// The most of a match plugin's reason that is kept.
const MAX_REASON_BYTES: usize = 300;

/// Answers which of a set of patterns match a name.
///
/// The match plugin is asked once per distinct name; then a bounded cache answers. What it could
/// not decide is asked again a second later. Use it from any number of threads.
pub struct Router {
    set: Option<PatternSetV1>,
    patterns: Vec<String>,
    cache: Cache<Box<str>, Route, ByteWeight>,
}

/// Where events of one profile name go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Route {
    /// The positions of all patterns that match, ascending, each once.
    pub matches: Arc<[u32]>,
    /// Patterns of which the match plugin did not say whether they match.
    pub undecided: Option<Arc<Undecided>>,
}

/// Patterns that could not be decided for a name. They are neither matches nor none: an event of that
/// name must not count as delivered everywhere.
#[derive(Debug, Clone)]
pub struct Undecided {
    /// The positions of the patterns.
    pub positions: Vec<u32>,
    /// Why, in the match plugin's words, cut and on one line.
    pub reason: String,
    asked: Instant,
}

impl Route {
    fn nowhere() -> Self {
        Self {
            matches: Arc::new([]),
            undecided: None,
        }
    }

    /// Whether no pattern matches, and that is certain.
    pub fn is_nowhere(&self) -> bool {
        self.matches.is_empty() && self.undecided.is_none()
    }

    fn is_current(&self) -> bool {
        (self.undecided.as_ref()).is_none_or(|undecided| undecided.asked.elapsed() < UNDECIDED_FOR)
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

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("patterns", &self.patterns.len())
            .finish_non_exhaustive()
    }
}

impl Router {
    /// Compiles the patterns, all at once.
    ///
    /// # Errors
    ///
    /// The position and the fault of every pattern that cannot be used.
    pub fn compile(plugin: &Plugin, patterns: &[&str]) -> Result<Self, Vec<(usize, String)>> {
        let set = plugin.compile(patterns)?;
        Ok(Self::new(
            Some(set),
            patterns.iter().map(ToString::to_string).collect(),
        ))
    }

    /// A router without patterns.
    pub(crate) fn empty() -> Self {
        Self::new(None, Vec::new())
    }

    fn new(set: Option<PatternSetV1>, patterns: Vec<String>) -> Self {
        Self {
            set,
            patterns,
            cache: Cache::with_weighter(CACHE_ITEMS, CACHE_BYTES, ByteWeight),
        }
    }

    /// Where events fired under `profile` go.
    pub fn route(&self, profile: &str) -> Route {
        if let Some(route) = self.cache.get(profile).filter(Route::is_current) {
            return route;
        }
        let route = self.ask(profile);
        self.cache.insert(profile.into(), route.clone());
        route
    }

    fn ask(&self, profile: &str) -> Route {
        let Some(set) = &self.set else {
            return Route::nowhere();
        };
        let mut found = MatchesV1::default();
        // Positions past the end are the plugin's fault and nobody's destination.
        let count = self.patterns.len();
        let known = |index: &u32| (*index as usize) < count;
        let all = || (0..u32::try_from(count).unwrap_or(u32::MAX)).collect::<Vec<_>>();
        let undecided = if set.matches(profile, &mut found) {
            let mut positions: Vec<u32> = (found.faults.iter())
                .map(|fault| fault.index)
                .filter(known)
                .collect();
            positions.sort_unstable();
            positions.dedup();
            let reason = (found.faults.first()).map_or("", |fault| fault.message.as_str());
            if found.faults.iter().any(|fault| !known(&fault.index)) {
                // It is not known of which pattern that is said.
                positions = all();
            }
            (
                positions,
                foreign_text::line(reason, MAX_REASON_BYTES).into_owned(),
            )
        } else {
            // Whatever it had found until then, it has not finished.
            found.indices.clear();
            (all(), "the match plugin panicked".to_owned())
        };
        let (positions, reason) = undecided;
        let mut matches: Vec<u32> = found.indices.iter().copied().filter(known).collect();
        // Each destination gets an event once, however often its position is named, and none that
        // is named as undecided too.
        matches.sort_unstable();
        matches.dedup();
        matches.retain(|index| positions.binary_search(index).is_err());
        Route {
            matches: matches.into(),
            undecided: (!positions.is_empty()).then(|| {
                Arc::new(Undecided {
                    positions,
                    reason,
                    asked: Instant::now(),
                })
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use evbus_sdk::{Matcher, Matches, PatternFault, matcher_plugin};

    use super::*;

    /// A matcher with a mind of its own: what it does depends on the name alone.
    struct Odd;

    impl Matcher for Odd {
        const NAMES: &'static [&'static str] = &["odd"];

        fn compile(_: &[&str]) -> Result<Self, Vec<PatternFault>> {
            Ok(Self)
        }

        fn matches(&self, name: &str, matches: &mut Matches<'_>) {
            match name {
                "repeats" => [2, 0, 2, 0].into_iter().for_each(|at| matches.push(at)),
                "faults" => {
                    matches.push(0);
                    matches.push(1);
                    matches.fault(1, "too\nmuch work");
                }
                "panics" => {
                    matches.push(0);
                    panic!("it cannot");
                }
                _ => {}
            }
        }
    }

    fn router() -> Router {
        let plugin = Plugin::linked(matcher_plugin::<Odd>("odd", "1.0.0", ""));
        Router::compile(&plugin, &["a", "b", "c"]).expect("it takes everything")
    }

    #[test]
    fn a_position_that_is_named_twice_counts_once() {
        assert_eq!(*router().route("repeats").matches, [0, 2]);
    }

    #[test]
    fn what_cannot_be_decided_is_no_match_and_not_nowhere_and_asked_again() {
        let router = router();
        let route = router.route("faults");
        assert_eq!(*route.matches, [0]);
        let undecided = route.undecided.clone().expect("one pattern is undecided");
        assert_eq!(undecided.positions, [1]);
        assert_eq!(undecided.reason, "too much work");
        assert!(!route.is_nowhere());
        let again = router.route("faults").undecided.expect("it still is");
        assert!(Arc::ptr_eq(&undecided, &again), "it is not asked at once");
        let mut old = route;
        old.undecided = Some(Arc::new(Undecided {
            asked: undecided
                .asked
                .checked_sub(UNDECIDED_FOR)
                .expect("a second ago"),
            ..(*undecided).clone()
        }));
        router.cache.insert("faults".into(), old);
        let later = router.route("faults").undecided.expect("it still is");
        assert!(later.asked > undecided.asked, "it is asked again");
    }

    #[test]
    fn a_panic_leaves_every_pattern_undecided() {
        let route = router().route("panics");
        assert!(route.matches.is_empty());
        let undecided = route.undecided.expect("all are undecided");
        assert_eq!(undecided.positions, [0, 1, 2]);
    }

    #[test]
    fn a_name_that_matches_nothing_goes_nowhere() {
        assert!(router().route("other").is_nowhere());
    }
}
