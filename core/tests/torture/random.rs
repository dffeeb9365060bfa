//! Random numbers from a seed. They are implemented here, because a seed that failed must fail again whatever happens
//! to a dependency.

use std::ops::Range;

/// Xorshift64*, by Marsaglia and Vigna.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds must give unrelated numbers, and the state must not be 0.
        let spread = (seed ^ (seed >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut random = Self(spread.wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1);
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 on, less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // The upper bits are more random.
        (self.next() >> 16) % end
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[5]).collect()
    }
}
