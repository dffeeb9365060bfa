//! Events that entered a queue not long ago, by what their repeats have in common.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

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

/// The keys of the latest events.
#[derive(Debug)]
pub(super) struct Repeats {
    rule: Dedup,
    firsts: HashMap<DedupKey, First>,
    /// In the order in which they came.
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

    /// Goes on under another rule. What is remembered stands as long as the key is the same.
    pub(super) fn follow(&mut self, rule: &Dedup) {
        if self.rule.key != rule.key {
            *self = Self::new(rule.clone());
        }
        self.rule = rule.clone();
    }

    /// The event that one with this key repeats.
    pub(super) fn first(&mut self, key: DedupKey, now: Instant) -> Option<First> {
        self.forget(now, self.rule.keep);
        self.firsts.get(&key).copied()
    }

    /// Remembers an event that does not repeat another one.
    pub(super) fn enter(&mut self, key: DedupKey, first: First, now: Instant) {
        self.forget(now, self.rule.keep - 1);
        // An event with the same key may have been let in nevertheless.
        if self.firsts.insert(key, first).is_none() {
            self.keys.push_back((key, now));
        }
    }

    fn forget(&mut self, now: Instant, keep: usize) {
        let within: Duration = self.rule.within;
        while let Some((key, entered)) = self.keys.front() {
            if self.keys.len() <= keep && now.saturating_duration_since(*entered) <= within {
                break;
            }
            self.firsts.remove(key);
            self.keys.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use evbus_expression::Expression;

    use super::*;

    #[test]
    fn keys_are_forgotten_after_their_time_and_beyond_their_number() {
        let mut repeats = Repeats::new(Dedup {
            key: Expression::compile("id").expect("it is an expression"),
            within: Duration::from_secs(60),
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
