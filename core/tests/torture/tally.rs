//! What happened in a run, or in all of them.

use std::fmt;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) fired: usize,
    pub(crate) acknowledged: usize,
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    /// Hosts that were ended while they started.
    pub(crate) interrupted: usize,
    pub(crate) reloads: usize,
    pub(crate) failed_reloads: usize,
    /// Programs that were made to wait for room.
    pub(crate) waits: usize,
    pub(crate) full_disks: usize,
    pub(crate) torn: usize,
    pub(crate) flips: usize,
    pub(crate) blocks: usize,
    /// How often the numbers were checked.
    pub(crate) sums: usize,
    pub(crate) duplicates: usize,
    /// Acknowledged, not delivered, but counted by the host as damaged or lost.
    pub(crate) counted: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.fired += other.fired;
        self.acknowledged += other.acknowledged;
        self.kills += other.kills;
        self.stops += other.stops;
        self.interrupted += other.interrupted;
        self.reloads += other.reloads;
        self.failed_reloads += other.failed_reloads;
        self.waits += other.waits;
        self.full_disks += other.full_disks;
        self.torn += other.torn;
        self.flips += other.flips;
        self.blocks += other.blocks;
        self.sums += other.sums;
        self.duplicates += other.duplicates;
        self.counted += other.counted;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events fired, {} acknowledged; {} kills, {} stops, {} interrupted starts; {} reloads, \
             {} of them failed; {} waiting programs; {} full disks, {} torn writes, {} flipped bits, \
             {} ruined blocks; {} sums; {} duplicates, {} damaged or lost and counted, 0 contradictions",
            self.fired,
            self.acknowledged,
            self.kills,
            self.stops,
            self.interrupted,
            self.reloads,
            self.failed_reloads,
            self.waits,
            self.full_disks,
            self.torn,
            self.flips,
            self.blocks,
            self.sums,
            self.duplicates,
            self.counted
        )
    }
}
