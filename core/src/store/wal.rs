//! Finds out whether a store's log lost its end to damage, and gets it back.
//!
//! `SQLite` replays its write-ahead log up to the first frame whose checksum is wrong, and says
//! nothing: that is how the log of a crash ends. A bit that flipped in the middle looks the same, and
//! everything behind it would silently be gone. Here, a commit that stands *behind* the first wrong
//! checksum is what tells damage from a crash; the checksums are then written anew, so that all of it
//! is replayed, and every record's own checksum decides about the damaged page.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#walformat>.

use std::fs;
use std::io;
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// What [`mended`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mended {
    /// The log with checksums that are right.
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
    let page = match u32_at(&log, 8)? {
        size @ (512..=65_536) if size.is_power_of_two() => size as usize,
        // The size itself is damaged; stores are made with this one.
        _ => 4096,
    };
    let frame = FRAME_HEADER + page;
    let frames = (log.len().checked_sub(HEADER)?) / frame;
    let header_is_well = is_header_well(&log);
    let at = |number: usize| HEADER + number * frame;
    // Frames left over from before the last reset have other salts, and come last.
    let salts: [u8; 8] = if header_is_well {
        log.get(16..24)?
    } else {
        log.get(at(0) + 8..at(0) + 16)?
    }
    .try_into()
    .ok()?;
    let big_endian = log.get(..4)? == (MAGIC | 1).to_be_bytes();
    let mut sum = if header_is_well {
        (u32_at(&log, 24)?, u32_at(&log, 28)?)
    } else {
        (0, 0)
    };
    let mut valid = 0;
    while header_is_well && valid < frames {
        let bytes = log.get(at(valid)..at(valid) + frame)?;
        let next = frame_sum(bytes, sum, big_endian);
        if bytes[8..16] != salts || stored_sum(bytes) != Some(next) {
            break;
        }
        sum = next;
        valid += 1;
    }
    let last_commit = (valid..frames).rev().find(|number| {
        let bytes = &log[at(*number)..at(*number) + frame];
        bytes[8..16] == salts && bytes[4..8] != [0; 4]
    })?;
    if !header_is_well {
        write_header(&mut log, page, salts);
        sum = (u32_at(&log, 24)?, u32_at(&log, 28)?);
    }
    let big_endian = log.get(..4)? == (MAGIC | 1).to_be_bytes();
    for number in valid..=last_commit {
        let bytes = log.get_mut(at(number)..at(number) + frame)?;
        bytes[8..16].copy_from_slice(&salts);
        sum = frame_sum(bytes, sum, big_endian);
        bytes[16..20].copy_from_slice(&sum.0.to_be_bytes());
        bytes[20..24].copy_from_slice(&sum.1.to_be_bytes());
    }
    log.truncate(at(last_commit + 1));
    Some(Mended {
        log,
        frames: last_commit + 1 - valid,
    })
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
    log[4..8].copy_from_slice(&3_007_000_u32.to_be_bytes());
    log[8..12].copy_from_slice(&page.to_be_bytes());
    log[12..16].copy_from_slice(&[0; 4]);
    log[16..24].copy_from_slice(&salts);
    let sum = checksum(&log[..24], (0, 0), false);
    log[24..28].copy_from_slice(&sum.0.to_be_bytes());
    log[28..32].copy_from_slice(&sum.1.to_be_bytes());
}

/// The checksum of a frame: over the first 8 bytes of its header and its page.
fn frame_sum(frame: &[u8], sum: (u32, u32), big_endian: bool) -> (u32, u32) {
    let sum = checksum(&frame[..8], sum, big_endian);
    checksum(&frame[FRAME_HEADER..], sum, big_endian)
}

fn stored_sum(frame: &[u8]) -> Option<(u32, u32)> {
    Some((u32_at(frame, 16)?, u32_at(frame, 20)?))
}

fn checksum(bytes: &[u8], sum: (u32, u32), big_endian: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    };
    bytes.chunks_exact(8).fold(sum, |(one, two), chunk| {
        let one = one.wrapping_add(word(&chunk[..4])).wrapping_add(two);
        (one, two.wrapping_add(word(&chunk[4..])).wrapping_add(one))
    })
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
        for place in [
            8,
            20,
            second_frame + 9,
            second_frame + 18,
            second_frame + FRAME_HEADER + 200,
        ] {
            let mut damaged = log.clone();
            damaged[place] ^= 0x10;
            let mended = mended(damaged).unwrap_or_else(|| panic!("damage at {place} is noticed"));
            assert!(mended.frames > 0);
            assert_eq!(rows(&dir, &mended.log), 3, "damage at {place}");
        }
    }
}
