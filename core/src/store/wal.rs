//! Finds out whether a store's log lost something to damage, and gets it back.
//!
//! `SQLite` replays its write-ahead log up to the first frame that is not as it was written, and says
//! nothing: that is how the log of a crash ends. A bit that flipped looks the same, and everything
//! from there on would silently be gone. So the log is walked before `SQLite` opens it:
//!
//! - One bit of a frame that flipped is found by the checksum, which is linear, and flipped back. For
//!   the upper bits of a word, several places may be found; then it stays, and every record's own
//!   checksum decides about the page.
//! - A frame with more damage than that is kept if a whole commit stands behind its own: its checksum
//!   is written anew, and every record's own checksum decides about the damaged page.
//! - In the last commit such a frame is what a power failure leaves of a write that nobody was told
//!   of. That commit is dropped, as `SQLite` does.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#walformat>.

use std::fs;
use std::io;
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;

/// In how many bits the salts of a frame may be damaged. Frames left over from before the last reset
/// have other salts, which differ at random in 32 bits, and so in more.
const SALT_BITS: u32 = 2;

/// The two running sums of the checksum.
type Sum = (u32, u32);

/// What [`mended`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mended {
    /// The log as it was written, or as near to that as it can be.
    pub(super) log: Vec<u8>,
    /// Frames that would not have been replayed.
    pub(super) frames: usize,
}

/// Reads the log at `path` and mends it; nothing where it is well, absent, or ends as after a crash.
pub(super) fn read(path: &Path) -> io::Result<Option<Mended>> {
    match fs::read(path) {
        Ok(log) => Ok(mended(log)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn mended(mut log: Vec<u8>) -> Option<Mended> {
    let header_was_well = is_header_well(&log);
    let header_is_well = header_was_well || restore_header(&mut log);
    let page = match u32_at(&log, 8)? {
        size @ (512..=65_536) if size.is_power_of_two() => size as usize,
        // The size itself is damaged; stores are made with this one.
        _ => 4096,
    };
    let frame = FRAME_HEADER + page;
    let frames = (log.len().checked_sub(HEADER)?) / frame;
    let at = |number: usize| HEADER + number * frame;
    if !header_is_well {
        let salts = log.get(at(0) + 8..at(0) + 16)?.try_into().ok()?;
        write_header(&mut log, page, salts);
    }
    let salts: [u8; 8] = log.get(16..24)?.try_into().ok()?;
    let big_endian = log.get(..4)? == (MAGIC | 1).to_be_bytes();
    // The sums as they are to be from now on, and as they were when the frames were written.
    let mut sum = (u32_at(&log, 24)?, u32_at(&log, 28)?);
    let mut original = header_is_well.then_some(sum);
    // The first frame that would not be replayed.
    let mut stop = (!header_was_well).then_some(0);
    // The end of the last whole commit.
    let mut end = 0;
    let mut commit_is_whole = true;
    for number in 0..frames {
        let (bytes, behind) = log.get_mut(at(number)..)?.split_at_mut_checked(frame)?;
        let next = behind.chunks_exact(frame).next();
        let next = next.filter(|next| next[8..16] == salts);
        let stored = stored_sum(bytes)?;
        // The sum goes on from one frame to the next.
        let goes_on =
            next.is_some_and(|next| Some(frame_sum(next, stored, big_endian)) == stored_sum(next));
        let salts_differ = salt_distance(bytes, salts);
        if salts_differ > SALT_BITS && !goes_on {
            break;
        }
        let computed = original.map_or(stored, |sum| frame_sum(bytes, sum, big_endian));
        // A flipped bit in the last word of a page looks like one in the stored sum; the next frame
        // tells.
        let stored_is_flipped = sum_distance(computed, stored) == 1 && !goes_on;
        if computed != stored || salts_differ > 0 {
            stop.get_or_insert(number);
        }
        if computed != stored && !stored_is_flipped {
            let is_last = next.is_none();
            commit_is_whole &= flip_back(bytes, computed, stored, big_endian, is_last);
        }
        original = Some(if stored_is_flipped { computed } else { stored });
        bytes[8..16].copy_from_slice(&salts);
        sum = frame_sum(bytes, sum, big_endian);
        bytes[16..20].copy_from_slice(&sum.0.to_be_bytes());
        bytes[20..24].copy_from_slice(&sum.1.to_be_bytes());
        let is_commit = bytes[4..8] != [0; 4];
        if is_commit {
            if commit_is_whole {
                end = number + 1;
            }
            commit_is_whole = true;
        }
    }
    let frames = end.checked_sub(stop?).filter(|frames| *frames > 0)?;
    log.truncate(at(end));
    Some(Mended { log, frames })
}

/// Flips the one bit of the header that makes it right, as the first frame bears witness; false if
/// there is none.
fn restore_header(log: &mut [u8]) -> bool {
    (0..HEADER * 8).any(|bit| {
        let flip = |log: &mut [u8]| {
            if let Some(byte) = log.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        };
        flip(log);
        let is_well = is_header_well(log) && goes_before_the_first_frame(log) == Some(true);
        if !is_well {
            flip(log);
        }
        is_well
    })
}

/// Several bits may make the checksum right: what else is known has to be right as well.
fn goes_before_the_first_frame(log: &[u8]) -> Option<bool> {
    let page = u32_at(log, 8).filter(|size| size.is_power_of_two())? as usize;
    let first = log.get(HEADER..HEADER + FRAME_HEADER + page)?;
    let big_endian = log.get(..4)? == (MAGIC | 1).to_be_bytes();
    let sum = frame_sum(first, (u32_at(log, 24)?, u32_at(log, 28)?), big_endian);
    Some(
        u32_at(log, 4)? == VERSION
            && log.get(16..24) == first.get(8..16)
            && stored_sum(first) == Some(sum),
    )
}

fn is_header_well(log: &[u8]) -> bool {
    let Some(header) = log.get(..HEADER) else {
        return false;
    };
    let magic = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let sum = checksum(&header[..24], (0, 0), magic == MAGIC | 1);
    (magic | 1) == MAGIC | 1
        && u32_at(header, 24) == Some(sum.0)
        && u32_at(header, 28) == Some(sum.1)
}

fn write_header(log: &mut [u8], page: usize, salts: [u8; 8]) {
    // Pages are 64 KiB at most.
    let page = u32::try_from(page).unwrap_or(4096);
    log[..4].copy_from_slice(&MAGIC.to_be_bytes());
    log[4..8].copy_from_slice(&VERSION.to_be_bytes());
    log[8..12].copy_from_slice(&page.to_be_bytes());
    log[12..16].copy_from_slice(&[0; 4]);
    log[16..24].copy_from_slice(&salts);
    let sum = checksum(&log[..24], (0, 0), false);
    log[24..28].copy_from_slice(&sum.0.to_be_bytes());
    log[28..32].copy_from_slice(&sum.1.to_be_bytes());
}

/// The checksum of a frame: over the first 8 bytes of its header and its page.
fn frame_sum(frame: &[u8], sum: Sum, big_endian: bool) -> Sum {
    let sum = checksum(&frame[..8], sum, big_endian);
    checksum(&frame[FRAME_HEADER..], sum, big_endian)
}

fn stored_sum(frame: &[u8]) -> Option<Sum> {
    Some((u32_at(frame, 16)?, u32_at(frame, 20)?))
}

/// In how many bits two sums differ.
fn sum_distance(one: Sum, other: Sum) -> u32 {
    (one.0 ^ other.0).count_ones() + (one.1 ^ other.1).count_ones()
}

/// In how many bits the salts of a frame differ from the right ones.
fn salt_distance(frame: &[u8], salts: [u8; 8]) -> u32 {
    let bits = frame[8..16]
        .iter()
        .zip(salts)
        .map(|(one, other)| (one ^ other).count_ones());
    bits.sum()
}

fn checksum(bytes: &[u8], sum: Sum, big_endian: bool) -> Sum {
    bytes.chunks_exact(8).fold(sum, |(one, two), chunk| {
        let one = one
            .wrapping_add(word(&chunk[..4], big_endian))
            .wrapping_add(two);
        (
            one,
            two.wrapping_add(word(&chunk[4..], big_endian))
                .wrapping_add(one),
        )
    })
}

fn word(bytes: &[u8], big_endian: bool) -> u32 {
    let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    }
}

/// Flips the one bit of a frame that makes its checksum the stored one, if one alone does; false if
/// none does.
///
/// The sums are linear in the words they are taken over: a bit changes them by its own value, times
/// what a word at its place counts, which follows from the place alone. Of the upper bits of words so
/// little is left in 32 bits that many places count the same.
fn flip_back(
    frame: &mut [u8],
    computed: Sum,
    stored: Sum,
    big_endian: bool,
    is_last: bool,
) -> bool {
    let missing = (
        stored.0.wrapping_sub(computed.0),
        stored.1.wrapping_sub(computed.1),
    );
    // What the two words of the last chunk count; each chunk before that counts as `earlier` says.
    let mut counts: [Sum; 2] = [(1, 1), (0, 1)];
    let earlier = |(one, two): Sum| {
        let one = one.wrapping_add(two);
        (one, one.wrapping_add(two))
    };
    let chunks = (FRAME_HEADER..frame.len()).step_by(8).rev().chain([0]);
    let mut found = Vec::new();
    for chunk in chunks {
        for (at, count) in [(chunk, counts[0]), (chunk + 4, counts[1])] {
            let now = word(&frame[at..at + 4], big_endian);
            for bit in 0..32 {
                let flipped = now ^ (1 << bit);
                let by = flipped.wrapping_sub(now);
                if (count.0.wrapping_mul(by), count.1.wrapping_mul(by)) == missing {
                    found.push((at, flipped));
                }
            }
        }
        counts = counts.map(earlier);
    }
    // A log ends with a commit: where the last frame is none, that is what flipped.
    let commit = found.iter().find(|(at, _)| *at == 4);
    let bit = match (&found[..], commit) {
        ([bit], _) => bit,
        (_, Some(commit)) if is_last && frame[4..8] == [0; 4] => commit,
        (found, _) => return !found.is_empty(),
    };
    let bytes = if big_endian {
        bit.1.to_be_bytes()
    } else {
        bit.1.to_le_bytes()
    };
    frame[bit.0..bit.0 + 4].copy_from_slice(&bytes);
    true
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of three commits, as `SQLite` wrote it, and the directory it lies in.
    fn log() -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.db");
        let store = rusqlite::Connection::open(&path).expect("a store");
        store
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x);
                 INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); INSERT INTO t VALUES (3);",
            )
            .expect("rows are written");
        let log = fs::read(dir.path().join("a.db-wal")).expect("there is a log");
        fs::copy(&path, dir.path().join("b.db")).expect("the store can be copied");
        (dir, log)
    }

    fn rows(dir: &tempfile::TempDir, log: &[u8]) -> i64 {
        fs::write(dir.path().join("b.db-wal"), log).expect("the log is written");
        let store = rusqlite::Connection::open(dir.path().join("b.db")).expect("a store");
        let rows = store
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
            .unwrap_or(-1);
        drop(store);
        let _ = fs::remove_file(dir.path().join("b.db-wal"));
        rows
    }

    #[test]
    fn a_whole_log_and_one_cut_by_a_crash_are_left_alone() {
        let (_dir, log) = log();
        assert_eq!(mended(log.clone()), None);
        for cut in 0..log.len() / 512 {
            assert_eq!(mended(log[..cut * 512].to_vec()), None, "cut at {cut}");
        }
        let mut torn = log.clone();
        torn.extend([0xa5; 5000]);
        assert_eq!(mended(torn), None, "a torn write behind the last commit");
        assert_eq!(mended(Vec::new()), None);
    }

    #[test]
    fn what_stands_behind_a_flipped_bit_is_replayed_again() {
        let (dir, log) = log();
        let page = u32_at(&log, 8).expect("a page size") as usize;
        let second_frame = HEADER + FRAME_HEADER + page;
        for place in [8, 20, second_frame + 9, second_frame + 18] {
            let mut damaged = log.clone();
            damaged[place] ^= 0x11;
            let mended = mended(damaged).unwrap_or_else(|| panic!("damage at {place} is noticed"));
            assert!(mended.frames > 0);
            assert_eq!(rows(&dir, &mended.log), 3, "damage at {place}");
        }
    }

    #[test]
    fn any_one_bit_is_flipped_back_in_the_last_commit_too() {
        let (_dir, log) = log();
        for byte in (0..log.len())
            .step_by(41)
            .chain(log.len() - 4120..log.len() - 4090)
        {
            let mut damaged = log.clone();
            damaged[byte] ^= 1 << (byte % 8);
            let mended = mended(damaged).unwrap_or_else(|| panic!("damage at {byte} is noticed"));
            // Elsewhere, the records' own checksums tell.
            let is_unique = byte % 4 < 2 && byte < log.len() - 4;
            assert!(mended.log == log || !is_unique, "damage at {byte}");
            assert_eq!(mended.log.len(), log.len(), "damage at {byte}");
        }
    }

    #[test]
    fn a_last_commit_with_much_damage_is_dropped_as_after_a_power_failure() {
        let (dir, log) = log();
        let mut torn = log.clone();
        let half = log.len() - 2048;
        torn[half..].fill(0);
        assert_eq!(mended(torn.clone()), None);
        assert_eq!(rows(&dir, &torn), 2);
    }

    #[test]
    fn frames_from_before_the_last_reset_are_left_alone() {
        let (dir, log) = log();
        let frame = FRAME_HEADER + u32_at(&log, 8).expect("a page size") as usize;
        let mut reused = log.clone();
        let last = log.len() - frame;
        reused[last + 8..last + 16].copy_from_slice(&[0x5a; 8]);
        // And behind them what looks like a frame of now.
        reused.extend_from_slice(&log[HEADER..HEADER + frame]);
        assert_eq!(mended(reused.clone()), None);
        assert_eq!(rows(&dir, &reused), 2);
    }
}
