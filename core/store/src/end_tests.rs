//! Stores that lose their writer or their files, and what is reported to those who wait for them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::future::Future;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::deadletters::{self, Filter};
use super::tests::{event, filled, name, opened, read_all, state};
use super::*;

async fn soon<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let answered = tokio::time::timeout(Duration::from_mins(1), answer).await;
    answered.unwrap_or_else(|_| panic!("{what} waits for ever"))
}

#[tokio::test]
async fn whoever_waits_for_a_writer_that_panics_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    journal.append(1, 0, &event(1), true);
    journal.receipt(1).written().await.unwrap();
    // It stops until all the others wait, and then panics.
    let (stand, stands) = mpsc::channel();
    let (go, wait) = mpsc::channel();
    let panics = move |_| {
        stand.send(()).unwrap();
        let _: Result<(), _> = wait.recv();
        panic!("a test");
    };
    assert!(journal.replay(vec![1], 2, Box::new(panics)));
    stands.recv().unwrap();
    journal.append(3, 0, &event(3), true);
    let receipt = journal.receipt(3);
    let read = journal.read(0, 10, usize::MAX);
    let purge = journal.purge(vec![1]);
    let (tell, replayed) = tokio::sync::oneshot::channel();
    let done = move |moved| {
        let _ = tell.send(moved);
    };
    assert!(journal.replay(vec![1], 4, Box::new(done)));
    go.send(()).unwrap();
    let reason = soon("a receipt", receipt.written()).await.unwrap_err();
    assert!(reason.contains("panicked"), "{reason}");
    assert!(soon("a read", read).await.is_err());
    assert!(soon("a purge", purge).await.is_err());
    assert!(soon("a replay", replayed).await.unwrap().is_err());
    // Later callers get the error too.
    journal.append(5, 0, &event(5), true);
    let late = soon("a late receipt", journal.receipt(5).written()).await;
    assert!(late.unwrap_err().contains("panicked"));
    let read = journal.read(0, 10, usize::MAX);
    assert!(soon("a late read", read).await.is_err());
    assert!(soon("a late purge", journal.purge(vec![1])).await.is_err());
    assert!(!journal.replay(vec![1], 6, Box::new(|_| {})));
    soon("room for dead letters", journal.room_for_letters()).await;
    let closed = soon("the end", journal.close()).await.unwrap_err();
    assert!(closed.contains("panicked"), "{closed}");
    assert_eq!(journal.unwritten(), 2);
    drop((journal, state_dir));
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    assert_eq!(read_all(&journal).await, (vec![1], 0));
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_after_it_was_written_again_has_everything_later() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    for seq in 1..=100 {
        journal.append(seq, 0, &event(seq), true);
    }
    journal.receipt(100).written().await.unwrap();
    let file = state_dir.store_file(&name("idem-*", 0));
    for ending in ["", "-wal", "-shm"] {
        fs::remove_file(beside(&file, ending)).unwrap();
    }
    // The file gets its name back, but cannot be opened.
    let obstacle = beside(&file, "-journal");
    fs::create_dir_all(obstacle.join("in the way")).unwrap();
    journal.append(101, 0, &event(101), true);
    for next in [102, 103] {
        let reason = journal.receipt(101).written().await.unwrap_err();
        assert!(reason.contains("removed or replaced"), "{reason}");
        let loaded = journal.read(0, 10, usize::MAX).await.unwrap();
        assert!(loaded.events.is_empty());
        assert_eq!(loaded.complete_to, None, "nothing is taken for missing");
        journal.append(next, 0, &event(next), true);
    }
    fs::remove_dir_all(&obstacle).unwrap();
    let start = Instant::now();
    while journal.receipt(103).written().await.is_err() {
        assert!(start.elapsed().as_secs() < 60, "it is written at last");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(read_all(&journal).await, ((1..=103).collect(), 0));
    journal.close().await.unwrap();
    drop((journal, state_dir));
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    assert_eq!(read_all(&journal).await, ((1..=103).collect(), 0));
    assert_eq!(journal.found().lost, 0);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_salvage_ends_soon_when_the_host_ends_and_the_next_start_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled(dir.path(), 3000).await;
    let mut content = fs::read(&file).unwrap();
    let middle = content.len() / 8192 * 4096;
    content[middle..middle + 4096].fill(0);
    fs::write(&file, &content).unwrap();
    let state_dir = state(dir.path());
    assert!(state_dir.closing().get().is_none());
    let long_ago = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
    state_dir.closing().set(long_ago).unwrap();
    // The time counts from the first call.
    state_dir.begin_closing();
    let refused = Journal::open(&state_dir, &name("idem-*", 0)).unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains("interrupted by the host's shutdown"),
        "{refused}"
    );
    assert!(fs::read(&file).unwrap() == content, "it is as it was");
    drop(state_dir);
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let (seqs, bad) = read_all(&journal).await;
    assert_eq!(seqs.len() as u64 + bad + journal.found().lost, 3000);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn replayed_events_have_places_of_their_own_whatever_ends_the_host() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let state_dir = state(&dir);
    let named = name("idem-*", 0);
    let journal = Journal::open(&state_dir, &named).unwrap();
    let burial = |number: u64| Burial {
        seq: Some(number),
        event: event(number),
        error: "refused".to_owned(),
        attempts: 1,
        first_attempt_ns: 1,
        last_attempt_ns: 1,
    };
    for number in 1..=5 {
        journal.append(number, 0, &event(number), true);
    }
    journal.bury((1..=4).map(burial).collect(), 0);
    journal.settle(vec![5], 0);
    let (tell, replayed) = tokio::sync::oneshot::channel();
    let done = move |moved| {
        let _ = tell.send(moved);
    };
    assert!(journal.replay(vec![1, 2], 6, Box::new(done)));
    assert_eq!(replayed.await.unwrap(), Ok(2));
    // What a crash at this moment would leave behind.
    let crashed = root.path().join("crashed");
    let mut copy = std::process::Command::new("cp");
    let copied = copy.arg("-r").args([&dir, &crashed]).status().unwrap();
    assert!(copied.success());
    journal.close().await.unwrap();
    drop((journal, state_dir));
    for dir in [&dir, &crashed] {
        // What a salvage would rely on.
        let file = state(dir).store_file(&named);
        let store = rusqlite::Connection::open(file).unwrap();
        let counts = "SELECT queued, first_seq, last_seq FROM counts";
        let counts: (i64, i64, i64) = store
            .query_row(counts, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        assert_eq!(counts, (2, 6, 7));
        drop(store);
        // Positions of settled events are not reused.
        let state_dir = state(dir);
        let journal = Journal::open(&state_dir, &named).unwrap();
        let found = journal.found();
        assert_eq!((found.first_seq, found.last_seq), (6, 7));
        assert_eq!((found.damaged, found.lost), (0, 0));
        let loaded = journal.read(0, 10, usize::MAX).await.unwrap();
        let bodies = loaded.events.iter().map(|stored| {
            let body: serde_json::Value = serde_json::from_slice(stored.event.body()).unwrap();
            (stored.seq, body["number"].as_u64().unwrap())
        });
        assert_eq!(bodies.collect::<Vec<_>>(), [(6, 1), (7, 2)]);
        journal.settle(vec![6, 7], 0);
        journal.close().await.unwrap();
        drop((journal, state_dir));
        assert_eq!(deadletters::replay(dir, &Filter::default()).unwrap(), 2);
        let state_dir = state(dir);
        let journal = Journal::open(&state_dir, &named).unwrap();
        let found = journal.found();
        assert_eq!((found.first_seq, found.last_seq), (8, 9));
        let quarantine = fs::read_dir(state_dir.quarantine()).unwrap();
        assert_eq!(quarantine.count(), 0, "nothing looked like damage");
        journal.close().await.unwrap();
    }
}

#[tokio::test]
async fn dead_letters_find_room_where_the_disk_takes_no_events() {
    let dir = tempfile::tempdir().unwrap();
    let limits = StateLimits {
        min_free: Some(u64::MAX),
        ..StateLimits::default()
    };
    let state_dir = opened(dir.path(), limits);
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let mut last = 0;
    while journal.has_room() {
        last += 1;
        journal.append(last, 0, &event(last), true);
    }
    let refused = journal.receipt(last).written().await;
    assert!(refused.is_err(), "the disk is full");
    assert!(!journal.has_room());
    soon("a dead letter", journal.room_for_letters()).await;
    journal.settle((1..=last).collect(), 0);
    journal.close().await.unwrap();
}
