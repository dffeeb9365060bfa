//! The counts that a damaged store keeps about itself. They have no checksum of their own, so they are
//! trusted only as far as they are plausible.

use super::super::schema::Harm;
use super::{PAGE, Row, pack};

/// An upper bound of the events in a page, from the size of the smallest one.
#[allow(clippy::cast_possible_wrap)] // A page has 4096 bytes.
pub(super) const SOME_EVENTS: i64 = (PAGE / pack::HEAD) as i64;

/// Two copies of a number that differ by one bit, and by more than this: the higher one is damaged.
const FAR: i64 = 65_536;

/// The content of the table `counts`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) queued: i64,
    pub(super) dead: i64,
    /// The positions of the first and the last row of the queue; the first format does not have them.
    pub(super) positions: Option<(i64, i64)>,
    pub(super) harm: Harm,
}

impl Counts {
    pub(super) fn new(row: &Row) -> Option<Self> {
        let numbers = row.numbers()?;
        let is_sound = numbers.iter().all(|number| *number >= 0);
        match numbers[..] {
            [queued, dead, first, last, ref harm @ ..] if is_sound && harm.len() >= 3 => {
                Some(Self {
                    queued,
                    dead,
                    positions: Some((first, last)),
                    harm: harm_of(harm)?,
                })
            }
            [queued, dead] if is_sound => Some(Self {
                queued,
                dead,
                positions: None,
                harm: Harm::default(),
            }),
            _ => None,
        }
    }

    /// Whether there are at least as many positions as events. `last` is the last position known to be used, if these
    /// are the latest counts.
    pub(super) fn are_believable(&self, last: i64) -> bool {
        self.positions.is_none_or(|(first, own)| {
            own >= last && self.queued <= own.saturating_sub(first).saturating_add(1)
        })
    }
}

/// The numbers of `harm`, including those that early stores do not have.
pub(super) fn harm_of(numbers: &[i64]) -> Option<Harm> {
    let (damaged, lost, dead_letters_lost, dead_dropped) = match *numbers {
        [damaged, lost, dead_letters] => (damaged, lost, dead_letters, 0),
        [damaged, lost, dead_letters, dropped] => (damaged, lost, dead_letters, dropped),
        _ => return None,
    };
    Some(Harm {
        damaged: damaged.max(0),
        lost: lost.max(0),
        dead_letters_lost: dead_letters_lost.max(0),
        dead_dropped: dead_dropped.max(0),
    })
}

/// Chooses between two tables that are equal unless one is damaged. No loss may exceed `gone`: all events that ever
/// were, minus those that are there.
pub(in super::super) fn believable(one: Harm, other: Harm, gone: i64) -> Harm {
    let choose = |one: i64, other: i64, most: i64| {
        let (low, high) = (one.min(other), one.max(other));
        // A number that is too small is likelier than one that is too large, except for a flipped bit.
        let is_flipped = (one ^ other).count_ones() == 1 && high - low > FAR;
        if is_flipped || (high > most && low != high) {
            low
        } else {
            high
        }
    };
    Harm {
        damaged: choose(one.damaged, other.damaged, gone),
        lost: choose(one.lost, other.lost, gone),
        // Any number of them may have been in memory.
        dead_letters_lost: choose(one.dead_letters_lost, other.dead_letters_lost, i64::MAX),
        dead_dropped: choose(one.dead_dropped, other.dead_dropped, i64::MAX),
    }
}
