//! The index of a log (`-shm`), which is there after a killed process.

use super::VERSION;
use super::flip::checksum;

/// The size of its header, of which there are two copies.
const INDEX_HEADER: usize = 48;

/// From the log's index: the salts, the byte order of the checksum, and how many frames were committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) salts: [u8; 8],
    pub(super) big_endian: bool,
    pub(super) frames: usize,
}

/// Reads the index, if it is intact. Its numbers are in this machine's byte order.
pub(super) fn read_index(bytes: &[u8]) -> Option<Index> {
    let copies = bytes.get(..2 * INDEX_HEADER)?;
    let (one, other) = copies.split_at(INDEX_HEADER);
    let number = |at: usize| {
        let bytes = [one[at], one[at + 1], one[at + 2], one[at + 3]];
        u32::from_ne_bytes(bytes)
    };
    let sum = checksum(&one[..40], (0, 0), cfg!(target_endian = "big"));
    let is_well = one == other && sum == (number(40), number(44)) && number(0) == VERSION;
    is_well.then(|| Index {
        salts: [0, 1, 2, 3, 4, 5, 6, 7].map(|at| one[32 + at]),
        big_endian: one[13] == 1,
        frames: number(16) as usize,
    })
}
