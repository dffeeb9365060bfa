//! The events that removed destinations lost, kept until the host reports them at its end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use evbus_delivery::LaneStatus;
use evbus_store::StoreName;

/// How many removed destinations are remembered by name.
const MOST: usize = 1000;

/// The last numbers of removed destinations that lost events. A destination that was removed several times is listed
/// once, with its total losses; those beyond [`MOST`] are combined.
#[derive(Debug, Default)]
pub(super) struct Losses {
    named: BTreeMap<StoreName, LaneStatus>,
    /// The first of the rest, with all their numbers.
    rest: Option<LaneStatus>,
}

impl Losses {
    /// Records a destination that has ended.
    pub(super) fn note(&mut self, name: StoreName, mut left: LaneStatus) {
        if left.gone() == 0 {
            return;
        }
        // Events on disk are not lost; the next lane that opens the store counts them.
        let counts = &mut left.counts;
        counts.received -= counts.queued_on_disk;
        counts.queued -= counts.queued_on_disk;
        counts.queued_on_disk = 0;
        let is_full = self.named.len() >= MOST;
        match self.named.entry(name) {
            Entry::Occupied(mut entry) => add(entry.get_mut(), left),
            Entry::Vacant(entry) if !is_full => {
                entry.insert(left);
            }
            Entry::Vacant(_) => match &mut self.rest {
                Some(rest) => {
                    let others = rest.others + 1;
                    add(rest, left);
                    rest.others = others;
                }
                rest @ None => {
                    left.others = 1;
                    *rest = Some(left);
                }
            },
        }
    }

    /// Returns and forgets them.
    pub(super) fn take(&mut self) -> impl Iterator<Item = LaneStatus> + use<> {
        let Self { named, rest } = std::mem::take(self);
        named.into_values().chain(rest)
    }
}

/// Adds an earlier destination's numbers to a later one's.
fn add(sum: &mut LaneStatus, later: LaneStatus) {
    let earlier = std::mem::replace(sum, later);
    let counts = &mut sum.counts;
    counts.received += earlier.counts.received;
    counts.accepted += earlier.counts.accepted;
    counts.dead_lettered += earlier.counts.dead_lettered;
    counts.dropped += earlier.counts.dropped;
    counts.deduplicated += earlier.counts.deduplicated;
    counts.filtered += earlier.counts.filtered;
    counts.filter_faults += earlier.counts.filter_faults;
    counts.queued += earlier.counts.queued;
    sum.dead_letters_unkept += earlier.dead_letters_unkept;
    sum.lost_since_start += earlier.lost_since_start;
}

#[cfg(test)]
mod tests {
    use super::*;
    use evbus_delivery::{Counts, InstanceState};
    use evbus_destination::Destination;

    fn left(nth: usize, queued: u64) -> (StoreName, LaneStatus) {
        let name = StoreName {
            provider: "kafka".to_owned(),
            pattern: "idem-*".to_owned(),
            nth,
        };
        let left = LaneStatus {
            destination: Destination {
                provider: name.provider.clone(),
                pattern: name.pattern.clone(),
                index: nth,
            },
            counts: Counts {
                received: queued,
                queued,
                ..Counts::default()
            },
            in_flight: 0,
            retrying: 0,
            waiting_for_room: 0,
            oldest_age_s: None,
            state: InstanceState::Closed,
            instances: 0,
            generation: 1,
            flushed_commits: 0,
            dead_letters: 0,
            dead_letter_bytes: 0,
            dead_letters_dropped: 0,
            dead_letters_lost: 0,
            dead_letters_unkept: 0,
            lost_since_start: 0,
            others: 0,
            disk_fault: None,
            next_attempt_s: None,
            paused_by: None,
            last_error: None,
            last_error_age_s: None,
        };
        (name, left)
    }

    fn taken(mut losses: Losses) -> Vec<(usize, u64, usize)> {
        let told = |left: LaneStatus| (left.destination.index, left.gone(), left.others);
        losses.take().map(told).collect()
    }

    #[test]
    fn two_entries_with_one_pattern_are_told_apart_and_one_that_comes_back_is_summed() {
        let mut losses = Losses::default();
        for (nth, queued) in [(0, 1), (1, 10), (0, 100), (2, 0)] {
            let (name, left) = left(nth, queued);
            losses.note(name, left);
        }
        assert_eq!(taken(losses), [(0, 101, 0), (1, 10, 0)]);
    }

    #[test]
    fn however_many_destinations_lose_events_a_bounded_number_is_named_and_all_are_counted() {
        let mut losses = Losses::default();
        for nth in 0..MOST + 5 {
            let (name, left) = left(nth, 2);
            losses.note(name, left);
        }
        // A destination that is counted by name stays so.
        let (name, again) = left(0, 2);
        losses.note(name, again);
        let taken = taken(losses);
        assert_eq!(taken.len(), MOST + 1);
        assert_eq!(taken[0], (0, 4, 0));
        assert_eq!((taken[MOST].1, taken[MOST].2), (10, 5));
    }
}
