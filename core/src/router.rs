//! From a profile name to the destinations whose patterns match it.

use std::sync::Arc;

use evbus_abi::v1::{MatchesV1, PatternSetV1};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::plugin::Plugin;

/// Bytes that the answers for names seen before may take.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// How many answers that is about.
const CACHE_ITEMS: usize = 100_000;

/// Answers which of a set of patterns match a name.
///
/// The match plugin is asked once per distinct name; then a bounded cache answers. Use it from
/// any number of threads.
pub struct Router {
    set: Option<PatternSetV1>,
    patterns: Vec<String>,
    cache: Cache<Box<str>, Arc<[u32]>, ByteWeight>,
}

#[derive(Clone)]
struct ByteWeight;

impl Weighter<Box<str>, Arc<[u32]>> for ByteWeight {
    fn weight(&self, name: &Box<str>, matches: &Arc<[u32]>) -> u64 {
        (name.len() + size_of_val(&**matches) + 96) as u64
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

    /// The positions of all patterns that match, ascending.
    pub fn route(&self, profile: &str) -> Arc<[u32]> {
        if let Some(matches) = self.cache.get(profile) {
            return matches;
        }
        let matches = self.ask(profile);
        self.cache.insert(profile.into(), Arc::clone(&matches));
        matches
    }

    fn ask(&self, profile: &str) -> Arc<[u32]> {
        let Some(set) = &self.set else {
            return Arc::new([]);
        };
        let mut matches = MatchesV1::default();
        if !set.matches(profile, &mut matches) {
            tracing::error!(
                "the match plugin panicked on profile {profile:?}; the event reaches no destination"
            );
        }
        for fault in &matches.faults {
            let pattern = self.patterns.get(fault.index as usize);
            tracing::error!(
                "pattern {:?} could not be decided for profile {profile:?} and counts as not matching: {}",
                pattern.map_or("?", String::as_str),
                fault.message
            );
        }
        // Positions past the end are the plugin's fault and nobody's destination.
        let known = |index: &&u32| (**index as usize) < self.patterns.len();
        matches.indices.iter().filter(known).copied().collect()
    }
}
