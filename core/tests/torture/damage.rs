//! Damage to the files of stores.

use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;

use super::random::Random;

/// The size of the header of a store's log, and of a frame: a header and a page.
const LOG_HEAD: u64 = 32;
const FRAME_HEAD: u64 = 24;
const FRAME: u64 = FRAME_HEAD + PAGE;
const PAGE: u64 = 4096;

pub(crate) fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "db-wal")
}

/// Appends what a write leaves behind that a crash interrupts.
pub(crate) fn tear(log: &Path, random: &mut Random) {
    let content = fs::read(log).unwrap();
    let part = random.within(1..FRAME);
    let frame = content.get(32..32 + usize::try_from(part).unwrap());
    let torn = match frame {
        // The beginning of a frame that resembles others.
        Some(frame) if random.below(2) == 0 => frame.to_vec(),
        _ => random.bytes(part),
    };
    let mut log = fs::File::options().append(true).open(log).unwrap();
    log.write_all(&torn).unwrap();
}

/// Flips one bit of a file, often one that the rest depends on. Returns its position; `None` if the file is empty.
pub(crate) fn flip(path: &Path, random: &mut Random) -> Option<u64> {
    let mut content = fs::read(path).unwrap();
    let len = content.len() as u64;
    if len == 0 {
        return None;
    }
    let frames = (len.saturating_sub(LOG_HEAD)) / FRAME;
    let byte = match random.below(4) {
        // The head of the store, or of its log.
        0 => random.below(if is_log(path) { LOG_HEAD } else { 100 }.min(len)),
        // The head of a frame.
        1 if is_log(path) && frames > 0 => {
            LOG_HEAD + random.below(frames) * FRAME + random.below(FRAME_HEAD)
        }
        _ => random.below(len),
    };
    let bit = random.below(8);
    content[usize::try_from(byte).unwrap()] ^= 1 << bit;
    fs::write(path, content).unwrap();
    Some(byte * 8 + bit)
}

/// Zeroes or garbles a disk block of the file. Returns its number; `None` if no block's loss could be noticed.
pub(crate) fn ruin_block(path: &Path, random: &mut Random) -> Option<u64> {
    let mut content = fs::read(path).unwrap();
    let end = if is_log(path) {
        before_last_commit(&content)
    } else {
        content.len() as u64
    };
    let block = match end / PAGE {
        0 => return None,
        blocks => random.below(blocks),
    };
    let range: Range<usize> =
        usize::try_from(block * PAGE).unwrap()..usize::try_from((block + 1) * PAGE).unwrap();
    if random.below(2) == 0 {
        content[range].fill(0);
    } else {
        content[range].copy_from_slice(&random.bytes(PAGE));
    }
    fs::write(path, content).unwrap();
    Some(block)
}

/// The beginning of a log's last commit. A damaged block in it looks like what a power failure leaves of a write that
/// was never confirmed, so no host can count what it contained.
fn before_last_commit(log: &[u8]) -> u64 {
    let (mut before, mut end) = (0, 0);
    let salts = log.get(16..24);
    for number in 0..(log.len() as u64).saturating_sub(LOG_HEAD) / FRAME {
        let at = usize::try_from(LOG_HEAD + number * FRAME).unwrap();
        if log.get(at + 8..at + 16) != salts {
            break;
        }
        if log[at + 4..at + 8] != [0; 4] {
            (before, end) = (end, LOG_HEAD + (number + 1) * FRAME);
        }
    }
    before
}
