//! The counts that a damaged store keeps about itself. They have no checksum of their own, so they are
//! trusted only as far as they are plausible.

use super::super::schema::Harm;
use super::{PAGE, Row};

/// No page has more rows: this is less than the smallest takes.
#[allow(clippy::cast_possible_wrap)] // A page has 4096 bytes.
pub(super) const SOME_ROWS: i64 = (PAGE / 48) as i64;

/// By how much two numbers differ that should be one, where none of them is taken for damaged.
const FAR: i64 = 65_536;

/// What the table `counts` says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) queued: i64,
    pub(super) dead: i64,
    /// The places of the first and the last row of the queue; the first format has none.
    pub(super) places: Option<(i64, i64)>,
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
                    places: Some((first, last)),
                    harm: harm_of(harm)?,
                })
            }
            [queued, dead] if is_sound => Some(Self {
                queued,
                dead,
                places: None,
                harm: Harm::default(),
            }),
            _ => None,
        }
    }

    /// Whether there are as many places as events. `last` is the last place that is known to be used, where
    /// these are the latest numbers.
    pub(super) fn are_believable(&self, last: i64) -> bool {
        self.places.is_none_or(|(first, own)| {
            own >= last && self.queued <= own.saturating_sub(first).saturating_add(1)
        })
    }
}

/// The numbers of `harm`, with those that early stores do not have.
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

/// What damage took, of two tables that say the same unless one is damaged; no more than `gone`: the events
/// that ever were, without those that are there.
pub(in super::super) fn believable(one: Harm, other: Harm, gone: i64) -> Harm {
    let choose = |one: i64, other: i64, most: i64| {
        let (low, high) = (one.min(other), one.max(other));
        // What is missing in one of them is likelier than what is too much, but for a bit that flipped.
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
        // Of those in memory there may have been any number.
        dead_letters_lost: choose(one.dead_letters_lost, other.dead_letters_lost, i64::MAX),
        dead_dropped: choose(one.dead_dropped, other.dead_dropped, i64::MAX),
    }
}
