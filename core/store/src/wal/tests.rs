//! Logs that were damaged in every way.

use super::*;
use std::fs;

/// A log of three commits, as `SQLite` wrote it, with its index, which may be empty.
struct Files {
    dir: tempfile::TempDir,
    log: Vec<u8>,
    index: Vec<u8>,
}

impl Files {
    fn new() -> Self {
        Self::with("")
    }

    /// With the effect of one more statement.
    fn with(more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = rusqlite::Connection::open(dir.path().join("a.db")).expect("a store");
        store
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x);
                 INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); INSERT INTO t VALUES (3);",
            )
            .expect("rows are written");
        store.execute_batch(more).expect("it is written");
        let read = |name: &str| fs::read(dir.path().join(name)).expect("it is there");
        let (log, index) = (read("a.db-wal"), read("a.db-shm"));
        Self { dir, log, index }
    }

    fn read(&self, log: &[u8], index: &[u8]) -> Log {
        let path = |name: &str| self.dir.path().join(name);
        fs::write(path("b.db-wal"), log).expect("the log is written");
        fs::write(path("b.db-shm"), index).expect("the index is written");
        read(&path("b.db-wal"), &path("b.db-shm")).expect("the log is read")
    }

    fn frames(&self) -> usize {
        (self.log.len() - HEADER) / FRAME
    }
}

#[test]
fn a_whole_log_and_one_cut_by_a_power_failure_are_left_alone() {
    let files = Files::new();
    let log = files.read(&files.log, &files.index);
    assert!(!log.is_damaged);
    assert_eq!(log.frames.len(), files.frames());
    for cut in 0..files.log.len() / 512 {
        let log = files.read(&files.log[..cut * 512], &[]);
        assert!(!log.is_damaged, "cut at {cut}");
    }
    let mut torn = files.log.clone();
    torn.extend([0xa5; 5000]);
    assert!(!files.read(&torn, &[]).is_damaged);
    assert!(!files.read(&torn, &files.index).is_damaged);
}

#[test]
fn a_log_that_lost_its_end_after_it_was_committed_is_damaged() {
    let files = Files::new();
    let log = files.read(&files.log[..files.log.len() - FRAME], &files.index);
    assert!(log.is_damaged);
    assert_eq!(log.bad_frames(), 1);
    assert_eq!(log.pages(), None);
}

#[test]
fn any_one_bit_is_flipped_back() {
    let files = Files::new();
    for byte in (0..files.log.len())
        .step_by(41)
        .chain(files.log.len() - 4120..files.log.len() - 4090)
    {
        let mut damaged = files.log.clone();
        damaged[byte] ^= 1 << (byte % 8);
        let log = files.read(&damaged, &[]);
        assert!(log.is_damaged, "damage at {byte} is noticed");
        assert_eq!(log.frames.len(), files.frames(), "damage at {byte}");
        assert_eq!(log.bad_frames(), 0, "damage at {byte}");
        for number in 0..files.frames() {
            let page = log.page(number).expect("the page is read");
            let start = HEADER + number * FRAME + FRAME_HEADER;
            let written = &files.log[start..start + PAGE];
            // In other cases the records' own checksums show the damage.
            let is_unique = byte % 4 < 2 && byte < files.log.len() - 4;
            assert!(page == written || !is_unique, "damage at {byte}");
        }
    }
}

#[test]
fn a_head_with_a_flipped_bit_is_proven_or_not_believed() {
    // Rows of another length make a different log.
    for more in [
        "",
        "DELETE FROM t",
        "INSERT INTO t VALUES (zeroblob(20000))",
    ] {
        let files = Files::with(more);
        let head = |log: &[u8], frame: usize, word: usize| {
            flip::u32_at(log, HEADER + frame * FRAME + 4 * word)
        };
        let pages = head(&files.log, files.frames() - 1, 1);
        let mut doubtful = 0;
        for flipped in 0..files.frames() {
            for bit in 0..FRAME_HEADER * 8 {
                let mut damaged = files.log.clone();
                damaged[HEADER + flipped * FRAME + bit / 8] ^= 1 << (bit % 8);
                let log = files.read(&damaged, &[]);
                let what = format!("bit {bit} of frame {flipped}");
                assert_eq!(log.frames.len(), files.frames(), "{what}");
                assert_eq!(log.bad_frames(), 0, "{what}");
                for (page, frame) in log.latest() {
                    assert_eq!(page, head(&files.log, frame, 0), "{what}");
                }
                let unplaced: Vec<_> = log.unplaced().collect();
                for (frame, may_be) in &unplaced {
                    assert_eq!(*frame, flipped, "{what}");
                    let written = head(&files.log, *frame, 0);
                    assert!(may_be.contains(&written), "{what}: {may_be:?}");
                    assert!(!log.is_current(written, None), "{what}");
                }
                doubtful += unplaced.len();
                assert!(log.pages().is_none_or(|found| found == pages), "{what}");
                assert!(log.most_pages() <= pages, "{what}");
            }
        }
        assert!(doubtful > 0, "some are not proven");
    }
}

#[test]
fn a_destroyed_block_takes_only_the_frames_that_it_covers() {
    let files = Files::new();
    for block in 0..files.log.len() / 4096 {
        for fill in [0, 0xa5] {
            let mut damaged = files.log.clone();
            let range = block * 4096..(block + 1) * 4096;
            damaged[range.clone()].fill(fill);
            let log = files.read(&damaged, &files.index);
            assert!(log.is_damaged, "block {block}");
            assert_eq!(log.frames.len(), files.frames(), "block {block}");
            assert!(log.bad_frames() <= 2, "block {block}: {:?}", log.frames);
            for number in 0..files.frames() {
                let start = HEADER + number * FRAME;
                let is_hit = start < range.end && start + FRAME > range.start;
                let taken = !log.frames[number].is_bad();
                assert!(is_hit || taken, "block {block}, frame {number}");
                // The damage may equal the content.
                let page = log.page(number).expect("the page is read");
                let written = &files.log[start + FRAME_HEADER..start + FRAME];
                assert!(is_hit || page == written, "block {block}, frame {number}");
            }
        }
    }
}

#[test]
fn without_an_index_a_block_in_the_last_commit_is_a_torn_write() {
    let files = Files::new();
    let mut torn = files.log.clone();
    let half = files.log.len() - 2048;
    torn[half..].fill(0);
    let log = files.read(&torn, &[]);
    assert!(!log.is_damaged);
    assert!(log.frames.len() < files.frames());
    assert!(files.read(&torn, &files.index).is_damaged);
}

#[test]
fn frames_from_before_the_last_reset_are_left_alone() {
    let files = Files::new();
    let mut reused = files.log.clone();
    let last = files.log.len() - FRAME;
    reused[last + 8..last + 16].copy_from_slice(&[0x5a; 8]);
    // Followed by what looks like a current frame.
    reused.extend_from_slice(&files.log[HEADER..HEADER + FRAME]);
    let log = files.read(&reused, &[]);
    assert!(!log.is_damaged);
    assert!(log.frames.len() < files.frames());
}
