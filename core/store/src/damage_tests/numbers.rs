//! Flipped bits in what a store records about itself: its counts, its keys, its free pages.
#![allow(clippy::wildcard_imports)] // It is a part of the tests above it.

use super::*;

/// A store that has had the events 1 to `ever`; left are the last, and every fifth before `from`.
async fn sparse(dir: &Path, from: u64, ever: u64) -> (PathBuf, Vec<u64>) {
    let file = filled(dir, ever).await;
    let live = |seq: &u64| *seq >= from || seq.is_multiple_of(5);
    let (live, settled): (Vec<u64>, Vec<u64>) = (1..=ever).partition(live);
    let state_dir = state(dir);
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    journal.settle(settled, 0);
    journal.close().await.unwrap();
    (file, live)
}

/// Opens the store, as a damaged one if `salvage` says so, and reads everything. All that is `live` must be there or
/// be counted as lost, and there must not be more than there `ever` was.
async fn check(dir: &Path, file: &Path, salvage: bool, live: &[u64], ever: u64, what: &str) -> u64 {
    let state_dir = state(dir);
    let named = name("idem-*", 0);
    if salvage {
        let closing = salvage::Closing::default();
        let store = salvage::replace(&state_dir, file, &named, "a test", None, &closing);
        drop(store.unwrap_or_else(|error| panic!("{what}: {error}")));
    }
    let journal = Journal::open(&state_dir, &named).unwrap();
    let found = journal.found();
    let (seqs, bad) = read_all(&journal).await;
    let told = found.damaged + found.lost + bad;
    let missing = live.iter().filter(|seq| !seqs.contains(seq)).count() as u64;
    assert!(
        missing <= told,
        "{what}: {missing} are missing, {told} told"
    );
    assert!(
        seqs.len() as u64 + told <= ever,
        "{what}: {} are there, {told} told of {ever}",
        seqs.len()
    );
    journal.close().await.unwrap();
    drop((journal, state_dir));
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(beside(file, ending));
    }
    missing
}

fn number(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1])
}

/// Decodes a number of seven bits a byte; returns it and how many bytes it takes.
fn varint(bytes: &[u8]) -> (usize, usize) {
    let len = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let number = bytes[..len]
        .iter()
        .fold(0, |number, byte| number << 7 | usize::from(byte & 0x7f));
    (number, len)
}

/// The positions of the rows of a leaf page.
fn cells(content: &[u8], page: usize) -> Vec<usize> {
    let start = page * BLOCK;
    (0..number(content, start + 3))
        .map(|cell| start + number(content, start + 8 + 2 * cell))
        .collect()
}

fn flipped(whole: &[u8], bit: usize) -> Vec<u8> {
    let mut damaged = whole.to_vec();
    damaged[bit / 8] ^= 1 << (bit % 8);
    damaged
}

#[tokio::test]
async fn no_flipped_bit_of_a_stores_numbers_makes_more_of_its_events_than_there_were() {
    for (from, ever) in [(1, 30), (50, 60)] {
        let dir = tempfile::tempdir().unwrap();
        let (file, live) = sparse(dir.path(), from, ever).await;
        let whole = fs::read(&file).unwrap();
        let store = rusqlite::Connection::open(&file).unwrap();
        for table in ["counts", "harm"] {
            let page: usize = store
                .query_row(
                    "SELECT rootpage FROM sqlite_schema WHERE name = ?",
                    [table],
                    |row| row.get(0),
                )
                .unwrap();
            let row = cells(&whole, page - 1)[0];
            let len = varint(&whole[row..]).0 + 2;
            for bit in row * 8..(row + len) * 8 {
                for salvage in [false, true] {
                    fs::write(&file, flipped(&whole, bit)).unwrap();
                    let bit = bit - row * 8;
                    let what = format!("bit {bit} of {table}, salvage {salvage}, from {from}");
                    let missing = check(dir.path(), &file, salvage, &live, ever, &what).await;
                    assert_eq!(missing, 0, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_of_a_key_costs_its_event_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled_with_rows(dir.path(), 60).await;
    let whole = fs::read(&file).unwrap();
    let live: Vec<u64> = (1..=60).collect();
    let leaves = (1..whole.len() / BLOCK).filter(|page| whole[page * BLOCK] == 13);
    let keys: Vec<(usize, usize)> = leaves
        .flat_map(|page| cells(&whole, page))
        .filter_map(|cell| {
            let (size, len) = varint(&whole[cell..]);
            let record = &whole[cell..cell + len + size];
            let is_event = record.windows(9).any(|window| window == b"\"number\":");
            is_event.then(|| (cell + len, varint(&whole[cell + len..]).1))
        })
        .collect();
    assert_eq!(keys.len(), 60);
    for (row, (key, len)) in keys.into_iter().enumerate() {
        if row % 13 != 0 && row != 59 {
            continue;
        }
        for bit in key * 8..(key + len) * 8 {
            for salvage in [false, true] {
                fs::write(&file, flipped(&whole, bit)).unwrap();
                let what = format!("row {row}, bit {}, salvage {salvage}", bit - key * 8);
                let missing = check(dir.path(), &file, salvage, &live, 60, &what).await;
                // Where its place is known, it is as it was.
                assert!(missing <= 1, "{what}");
                let state_dir = state(dir.path());
                let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
                let found = journal.found();
                assert_eq!(found.last_seq, 60, "{what}: no position was added");
                assert_eq!(found.damaged + found.lost, missing, "{what}");
                journal.close().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_page_of_free_pages_hides_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let (file, live) = sparse(dir.path(), 600, 650).await;
    let whole = fs::read(&file).unwrap();
    let word = |at: usize| u32::from_be_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
    let trunk = (word(32) - 1) * BLOCK;
    let leaves = word(trunk + 4);
    assert!(leaves > 3, "pages are free");
    let bits = (trunk * 8..(trunk + 8) * 8)
        .chain(((trunk + 8) * 8..(trunk + 8 + 4 * leaves) * 8).filter(|bit| bit % 32 > 15));
    for bit in bits.chain(32 * 8..36 * 8) {
        fs::write(&file, flipped(&whole, bit)).unwrap();
        let what = format!("bit {bit}");
        let missing = check(dir.path(), &file, true, &live, 650, &what).await;
        assert_eq!(missing, 0, "{what}");
    }
    // A list of free pages that names every page.
    let mut damaged = whole.clone();
    let pages = whole.len() / BLOCK;
    damaged[trunk + 4..trunk + 8].copy_from_slice(&u32::try_from(pages).unwrap().to_be_bytes());
    for page in 0..pages {
        let at = trunk + 8 + 4 * page;
        damaged[at..at + 4].copy_from_slice(&u32::try_from(page + 1).unwrap().to_be_bytes());
    }
    fs::write(&file, damaged).unwrap();
    let missing = check(dir.path(), &file, true, &live, 650, "all").await;
    assert_eq!(missing, 0, "where it names every page");
}
