//! A store by itself: events that were passed to it are there again, whatever happened to the file.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::deadletters::{self, Filter};
use super::*;
use evbus_event::Event;

pub(super) fn name(pattern: &str, nth: usize) -> StoreName {
    StoreName {
        provider: "kafka".to_owned(),
        pattern: pattern.to_owned(),
        nth,
    }
}

pub(super) fn event(number: u64) -> Arc<Event> {
    let body = format!("{{\"number\":{number},\"fill\":\"{}\"}}", "x".repeat(100));
    Arc::new(
        Event::builder("idem-run")
            .unwrapped_json(body)
            .expect("the body is JSON"),
    )
}

pub(super) fn state(dir: &Path) -> StateDir {
    opened(dir, StateLimits::default())
}

/// Opens a state directory that another owner has just closed. A process that another test starts holds a copy of
/// every descriptor, including the lock's, until it calls exec.
pub(super) fn opened(dir: &Path, limits: StateLimits) -> StateDir {
    let start = std::time::Instant::now();
    loop {
        match StateDir::open(dir, limits) {
            Err(StateError::InUse { .. }) if start.elapsed().as_secs() < 30 => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

/// A store with the events 1 to `last`, closed.
pub(super) async fn filled(dir: &Path, last: u64) -> std::path::PathBuf {
    let state = state(dir);
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    for number in 1..=last {
        journal.append(number, 0, &event(number), false);
        if !journal.has_room() {
            journal.room().await;
        }
    }
    journal.close().await.unwrap();
    state.store_file(&name("idem-*", 0))
}

/// The same, with a row for each event, as events are that come one by one.
pub(super) async fn filled_with_rows(dir: &Path, last: u64) -> std::path::PathBuf {
    let file = filled(dir, last).await;
    let store = rusqlite::Connection::open(&file).unwrap();
    let transaction = store.unchecked_transaction().unwrap();
    for number in 1..=last {
        queue::unpack_around(&transaction, number).unwrap();
    }
    transaction.commit().unwrap();
    file
}

/// The position of an event's body in a store's file. Copies that `SQLite` leaves in unused parts of pages come before it.
pub(super) fn body_of(content: &[u8], number: u64) -> usize {
    let text = format!("{{\"number\":{number},");
    let mut windows = content.windows(text.len());
    windows
        .rposition(|window| window == text.as_bytes())
        .unwrap()
}

/// Flips a bit in the bodies of these events, and in the copies that `SQLite` leaves in unused parts of pages.
pub(super) fn flip_in_bodies(file: &Path, numbers: &[u64]) {
    let mut content = fs::read(file).unwrap();
    for number in numbers {
        let text = format!("{{\"number\":{number},").into_bytes();
        let windows = content.windows(text.len()).enumerate();
        let copies: Vec<usize> = windows
            .filter_map(|(at, window)| (window == text).then_some(at))
            .collect();
        assert!(!copies.is_empty(), "{number} is in the file");
        for at in copies {
            content[at + 40] ^= 1;
        }
    }
    fs::write(file, content).unwrap();
}

/// Waits until an event is written that the disk refused before.
pub(super) async fn written_at_last(journal: &Journal, seq: u64) {
    let written = tokio::time::timeout(std::time::Duration::from_mins(1), async {
        while journal.receipt(seq).written().await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    written.await.expect("it is written at last");
}

pub(super) async fn read_all(journal: &Journal) -> (Vec<u64>, u64) {
    let (mut seqs, mut damaged) = (Vec::new(), 0);
    let mut from = 0;
    loop {
        let loaded = journal.read(from, 1000, usize::MAX).await.unwrap();
        damaged += loaded.damaged;
        for stored in &loaded.events {
            let body: serde_json::Value = serde_json::from_slice(stored.event.body()).unwrap();
            assert_eq!(body["number"], stored.seq, "every body is at its position");
            seqs.push(stored.seq);
            from = stored.seq + 1;
        }
        if loaded.complete_to.is_some() {
            // As a lane does.
            let missing = journal.found().events;
            let missing = missing.saturating_sub(seqs.len() as u64 + damaged);
            if missing > 0 {
                journal.lose(missing);
            }
            return (seqs, damaged + missing);
        }
    }
}

#[test]
fn a_store_file_is_named_after_its_entry_and_unlike_any_other() {
    let stem = name("salt/job/*", 0).file_stem();
    assert!(stem.starts_with("kafka-salt_job__-"), "{stem}");
    assert_ne!(stem, name("salt/job/?", 0).file_stem());
    assert_ne!(stem, name("salt/job/*", 1).file_stem());
}

#[tokio::test]
async fn events_are_there_again_in_order_until_they_are_settled() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 5000).await;
    let state = state(dir.path());
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    let found = journal.found();
    assert_eq!(
        (found.events, found.first_seq, found.last_seq),
        (5000, 1, 5000)
    );
    assert_eq!(state.bytes(), found.bytes);
    assert_eq!(read_all(&journal).await.0, (1..=5000).collect::<Vec<u64>>());
    let bytes = found.bytes / 5000 * 4990;
    journal.settle((1..=4990).collect(), bytes);
    assert_eq!(state.bytes(), found.bytes - bytes);
    journal.close().await.unwrap();
    drop(journal);
    assert_eq!(
        state.bytes(),
        0,
        "what lies in closed stores is not counted"
    );
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    assert_eq!(
        read_all(&journal).await.0,
        (4991..=5000).collect::<Vec<u64>>()
    );
}

#[tokio::test]
async fn an_event_counts_the_same_before_and_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(dir.path());
    let event = Event::builder("idem-é")
        .tag("ref", "states.test")
        .message("FINISHED");
    let event = Arc::new(event.expect("the body is JSON"));
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    journal.append(1, 0, &event, false);
    assert_eq!(journal.bytes(), crate::record_bytes(&event));
    journal.close().await.unwrap();
    drop(journal);
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    assert_eq!(journal.found().bytes, crate::record_bytes(&event));
}

#[tokio::test]
async fn a_receipt_resolves_when_the_event_is_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(dir.path());
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    journal.append(7, 0, &event(7), true);
    journal.receipt(7).written().await.unwrap();
    let file = state.store_file(&name("idem-*", 0));
    let beside = rusqlite::Connection::open(file).unwrap();
    let rows: i64 = beside
        .query_row("SELECT count(*) FROM queue", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_receipt_resolves_when_the_event_is_settled_before_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(dir.path());
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    for seq in 1..200 {
        journal.append(seq, 0, &event(seq), true);
        journal.settle(vec![seq], 0);
        let receipt = journal.receipt(seq).written();
        let in_time = tokio::time::timeout(std::time::Duration::from_secs(30), receipt).await;
        in_time.expect("it resolves").unwrap();
    }
}

#[tokio::test]
async fn a_dead_letter_leaves_the_queue_and_can_be_seen_replayed_and_purged() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let burial = |number: u64| Burial {
        seq: Some(number),
        event: event(number),
        error: format!("refused {number}"),
        attempts: 3,
        first_attempt_ns: 1,
        last_attempt_ns: number,
    };
    for number in 1..=4 {
        journal.append(number, 0, &event(number), false);
    }
    journal.bury((1..=3).map(burial).collect(), 0);
    journal.close().await.unwrap();
    let seen = |filter: &Filter| {
        let mut seen = Vec::new();
        deadletters::each(dir.path(), filter, true, |letter| {
            assert!(letter.body.starts_with(b"{\"number\":"));
            seen.push(letter.error);
            true
        })
        .unwrap();
        seen
    };
    let all = Filter::default();
    let first = Filter {
        until_unix_ns: Some(1),
        ..Filter::default()
    };
    assert_eq!(seen(&all), ["refused 1", "refused 2", "refused 3"]);
    let error = deadletters::replay(dir.path(), &all).unwrap_err();
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    drop((journal, state_dir));
    assert_eq!(deadletters::purge(dir.path(), &first).unwrap(), 1);
    assert_eq!(deadletters::replay(dir.path(), &all).unwrap(), 2);
    assert_eq!(seen(&all), [""; 0]);
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let found = journal.found();
    assert_eq!((found.events, found.dead_letters, found.lost), (3, 0, 0));
    let loaded = journal.read(0, 10, usize::MAX).await.unwrap();
    let numbers: Vec<serde_json::Value> = loaded
        .events
        .iter()
        .map(|stored| serde_json::from_slice(stored.event.body()).unwrap())
        .collect();
    assert_eq!(numbers[1]["number"], 2);
    assert_eq!(numbers[2]["number"], 3);
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_the_file_is_survived_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled(dir.path(), 3000).await;
    let whole = fs::read(&file).unwrap();
    // Covers the whole file, the first page more densely.
    let offsets = (0..40)
        .map(|n| n * 97)
        .chain((0..60).map(|n| n * whole.len() / 60 + n));
    for (round, offset) in offsets.enumerate() {
        let mut damaged = whole.clone();
        damaged[offset] ^= 1 << (round % 8);
        fs::write(&file, damaged).unwrap();
        let state = state(dir.path());
        let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
        let found = journal.found();
        let (seqs, bad) = read_all(&journal).await;
        assert!(seqs.is_sorted(), "byte {offset}");
        let missing = 3000 - seqs.len() as u64;
        assert!(
            found.lost + bad >= missing,
            "bit of byte {offset}: {missing} are missing, {} told",
            found.lost + bad
        );
        assert!(missing <= 60, "bit of byte {offset}: {missing} are missing");
        journal.close().await.unwrap();
        drop((journal, state));
        for name in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{name}", file.display()));
        }
    }
    let kept = fs::read_dir(dir.path().join("quarantine")).unwrap().count();
    assert!(kept > 0, "damaged files are kept");
}

#[tokio::test]
async fn files_that_are_no_stores_are_replaced_and_a_newer_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled(dir.path(), 10).await;
    let whole = fs::read(&file).unwrap();
    for content in [&b"not a store at all"[..], &whole[..5000], &[0; 9000]] {
        fs::write(&file, content).unwrap();
        let state = state(dir.path());
        let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
        journal.append(1, 0, &event(1), true);
        journal.receipt(1).written().await.unwrap();
        journal.close().await.unwrap();
    }
    let newer = rusqlite::Connection::open(&file).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let state = state(dir.path());
    let error = Journal::open(&state, &name("idem-*", 0)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has format 99; expected 4 or less"),
        "{error}"
    );
}

#[test]
fn a_state_directory_is_held_by_one_and_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let held = state(&dir.path().join("state"));
    let again = StateDir::open(held.path(), StateLimits::default()).unwrap_err();
    assert!(
        again.to_string().contains("in use by another process"),
        "{again}"
    );
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let exposed = StateDir::open(&open, StateLimits::default()).unwrap_err();
    assert!(exposed.to_string().contains("mode 0777"), "{exposed}");
}

#[tokio::test]
async fn too_little_free_space_is_told_and_nothing_is_taken_for_written() {
    let dir = tempfile::tempdir().unwrap();
    let limits = StateLimits {
        min_free: Some(u64::MAX),
        ..StateLimits::default()
    };
    let state = opened(dir.path(), limits);
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    journal.append(1, 0, &event(1), true);
    let reason = journal.receipt(1).written().await.unwrap_err();
    assert!(reason.contains("bytes are free"), "{reason}");
    let loaded = journal.read(0, 10, usize::MAX).await.unwrap();
    assert_eq!(
        loaded.events.len(),
        1,
        "what waits for the disk can be read"
    );
    journal.settle(vec![1], 0);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn no_flipped_bit_in_the_head_of_the_file_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled(dir.path(), 50).await;
    let whole = fs::read(&file).unwrap();
    // The fields that define how the file is read: page size and versions; formats, encoding, marks.
    for bit in (16 * 8..24 * 8).chain(44 * 8..72 * 8) {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, damaged).unwrap();
        let state = state(dir.path());
        let journal = Journal::open(&state, &name("idem-*", 0))
            .unwrap_or_else(|error| panic!("byte {}, bit {}: {error}", bit / 8, bit % 8));
        let (seqs, bad) = read_all(&journal).await;
        assert!(
            seqs.len() as u64 + journal.found().lost + bad >= 50,
            "bit {bit}"
        );
        journal.close().await.unwrap();
        drop((journal, state));
        for name in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{name}", file.display()));
        }
    }
}

/// Counts the events that the next start would find.
async fn reopened(dir: &Path) -> u64 {
    let state = state(dir);
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    assert_eq!(journal.found().lost, 0);
    let (seqs, bad) = read_all(&journal).await;
    assert_eq!(bad, 0);
    journal.close().await.unwrap();
    seqs.len() as u64
}

#[tokio::test]
async fn files_that_are_removed_or_replaced_under_the_writer_are_there_again_before_it_tells() {
    type Harm = fn(&Path, &Path);
    let harms: [(&str, Harm); 6] = [
        ("all files removed", |_, file| {
            for ending in ["", "-wal", "-shm"] {
                fs::remove_file(beside(file, ending)).unwrap();
            }
        }),
        ("the log removed", |_, file| {
            fs::remove_file(beside(file, "-wal")).unwrap();
        }),
        ("the index of the log removed", |_, file| {
            fs::remove_file(beside(file, "-shm")).unwrap();
        }),
        ("another file in its place", |_, file| {
            let other = beside(file, ".other");
            fs::write(&other, "not a store").unwrap();
            fs::rename(other, file).unwrap();
        }),
        ("the whole directory removed", |dir, _| {
            fs::remove_dir_all(dir).unwrap();
        }),
        ("the whole directory moved away", |dir, _| {
            let to = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
            fs::rename(dir, to.keep().join("moved")).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("state");
        let held = state(&dir);
        let journal = Journal::open(&held, &name("idem-*", 0)).unwrap();
        for seq in 1..=100 {
            journal.append(seq, 0, &event(seq), true);
        }
        journal.receipt(100).written().await.unwrap();
        harm(&dir, &held.store_file(&name("idem-*", 0)));
        journal.append(101, 0, &event(101), true);
        let told = journal.receipt(101).written().await;
        assert_eq!(told, Ok(()), "{what}");
        assert!(
            StateDir::open(&dir, StateLimits::default()).is_err(),
            "{what}: the directory is held"
        );
        // What a crash at this moment would leave behind.
        let crashed = root.path().join("crashed");
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .args([&dir, &crashed])
            .status()
            .unwrap();
        assert!(copied.success());
        assert_eq!(reopened(&crashed).await, 101, "{what}");
        // Damage that is noticed only at the end, with nothing to write.
        harm(&dir, &held.store_file(&name("idem-*", 0)));
        journal.close().await.unwrap();
        drop((journal, held));
        assert_eq!(reopened(&dir).await, 101, "{what}, and closed");
    }
}

#[tokio::test]
async fn nothing_is_told_where_a_removed_store_cannot_be_written_again() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let held = state(&dir);
    let journal = Journal::open(&held, &name("idem-*", 0)).unwrap();
    journal.append(1, 0, &event(1), true);
    journal.receipt(1).written().await.unwrap();
    fs::remove_dir_all(&dir).unwrap();
    let other = state(&dir);
    journal.append(2, 0, &event(2), true);
    let reason = journal.receipt(2).written().await.unwrap_err();
    assert!(reason.contains("removed or replaced"), "{reason}");
    assert!(reason.contains("in use by another process"), "{reason}");
    drop(other);
    fs::remove_dir_all(&dir).unwrap();
    written_at_last(&journal, 2).await;
    journal.close().await.unwrap();
    drop((journal, held));
    assert_eq!(reopened(&dir).await, 2);
}
