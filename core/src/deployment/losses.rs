//! What removed destinations lost, until the end of the host says so.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::lane::LaneStatus;

/// The last numbers of destinations that were removed and lost events. One that was removed several times
/// is here once, with all that it lost.
#[derive(Debug, Default)]
pub(super) struct Losses(BTreeMap<(String, String), LaneStatus>);

impl Losses {
    /// Takes note of a destination that has ended.
    pub(super) fn note(&mut self, mut left: LaneStatus) {
        if left.gone() == 0 {
            return;
        }
        // What is on disk is not lost, and is counted by the one that has it next.
        let counts = &mut left.counts;
        counts.received -= counts.queued_on_disk;
        counts.queued -= counts.queued_on_disk;
        counts.queued_on_disk = 0;
        let name = (&left.destination.provider, &left.destination.pattern);
        match self.0.entry((name.0.clone(), name.1.clone())) {
            Entry::Vacant(place) => {
                place.insert(left);
            }
            Entry::Occupied(mut place) => add(place.get_mut(), left),
        }
    }

    /// Gives them away.
    pub(super) fn take(&mut self) -> impl Iterator<Item = LaneStatus> + use<> {
        std::mem::take(&mut self.0).into_values()
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
    counts.queued += earlier.counts.queued;
    sum.dead_letters_unkept += earlier.dead_letters_unkept;
    sum.lost_since_start += earlier.lost_since_start;
}
