//! Events that entered a queue not long ago, by what their repeats have in common.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use evbus_destination::Dedup;

use crate::lane::screen::DedupKey;

/// An event that others may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct First {
    /// Its place in the queue.
    pub(super) place: u64,
    /// Whether it is on disk, or about to be.
    pub(super) is_stored: bool,
}

/// How many keys that are too old are forgotten at a time: the queue's lock is held meanwhile.
const MAX_FORGOTTEN: usize = 4;

/// The keys of the latest events.
#[derive(Debug)]
pub(super) struct Repeats {
    rule: Dedup,
    firsts: HashMap<DedupKey, (First, Instant)>,
    /// In the order in which they came. One that came again later is there twice, and counts as it is in `firsts`.
    keys: VecDeque<(DedupKey, Instant)>,
}

impl Repeats {
    pub(super) fn new(rule: Dedup) -> Self {
        Self {
            rule,
            firsts: HashMap::new(),
            keys: VecDeque::new(),
        }
    }

    /// Whether it can go on under another rule: what is remembered stands as long as the key is the same.
    pub(super) fn follows(&mut self, rule: &Dedup) -> bool {
        let is_same = self.rule.key == rule.key;
        if is_same {
            self.rule = rule.clone();
        }
        is_same
    }

    /// The event that one with this key repeats.
    pub(super) fn first(&self, key: DedupKey, now: Instant) -> Option<First> {
        let (first, entered) = self.firsts.get(&key)?;
        (now.saturating_duration_since(*entered) <= self.rule.within).then_some(*first)
    }

    /// Remembers an event.
    pub(super) fn enter(&mut self, key: DedupKey, first: First, now: Instant) {
        self.firsts.insert(key, (first, now));
        self.keys.push_back((key, now));
        // At least as many as come, so that it shrinks in time where `keep` was lowered.
        for _ in 0..MAX_FORGOTTEN {
            let Some((oldest, entered)) = self.keys.front() else {
                break;
            };
            let is_young = now.saturating_duration_since(*entered) <= self.rule.within;
            if self.keys.len() <= self.rule.keep && is_young {
                break;
            }
            if (self.firsts.get(oldest)).is_some_and(|(_, latest)| latest == entered) {
                self.firsts.remove(oldest);
            }
            self.keys.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evbus_expression::Expression;

    use super::*;

    #[test]
    fn keys_are_forgotten_after_their_time_and_beyond_their_number() {
        let mut repeats = Repeats::new(Dedup {
            key: Expression::compile("id").expect("it is an expression"),
            within: Duration::from_mins(1),
            keep: 2,
        });
        let place = |place| First {
            place,
            is_stored: false,
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (key, number, seconds) in [(1, 10, 0), (2, 11, 1)] {
            assert_eq!(repeats.first(key, at(seconds)), None);
            repeats.enter(key, place(number), at(seconds));
        }
        assert_eq!(repeats.first(1, at(60)), Some(place(10)));
        // Being repeated does not make a key younger.
        assert_eq!(repeats.first(1, at(61)), None);
        assert_eq!(repeats.first(2, at(61)), Some(place(11)));
        repeats.enter(3, place(12), at(61));
        repeats.enter(4, place(13), at(61));
        assert_eq!(repeats.first(2, at(61)), None, "two are kept");
        assert_eq!(repeats.first(3, at(61)), Some(place(12)));
    }
}
