//! Stores that are damaged while in use, and the effect on events in memory and on their room.
#![allow(clippy::wildcard_imports)] // It is a part of the tests above it.

use super::*;

/// Destroys the pages that these events are in.
fn destroy(file: &Path, numbers: &[u64]) {
    let mut content = fs::read(file).unwrap();
    for number in numbers {
        let block = body_of(&content, *number) / BLOCK;
        content[block * BLOCK..(block + 1) * BLOCK].fill(0);
    }
    fs::write(file, content).unwrap();
}

/// Reads on from a position to the end; returns the events, and how many records were damaged.
async fn read_from(journal: &Journal, from: u64) -> (Vec<Stored>, u64) {
    let (mut events, mut damaged, mut from) = (Vec::new(), 0, from);
    loop {
        let loaded = journal.read(from, 1000, usize::MAX).await.unwrap();
        damaged += loaded.damaged;
        from = loaded.events.last().map_or(from, |last| last.seq + 1);
        events.extend(loaded.events);
        if loaded.complete_to.is_some() {
            return (events, damaged);
        }
    }
}

/// The size of events on disk.
fn bytes_of(events: &[Stored]) -> u64 {
    events
        .iter()
        .map(|stored| record_bytes(&stored.event))
        .sum()
}

#[tokio::test]
async fn the_room_of_damaged_records_is_free_as_soon_as_they_are_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled(dir.path(), 500).await;
    flip_in_bodies(&file, &[1, 77, 499]);
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let (events, damaged) = read_from(&journal, 0).await;
    assert_eq!((events.len(), damaged), (497, 3));
    assert_eq!(state_dir.bytes(), bytes_of(&events));
    assert_eq!(journal.bytes(), bytes_of(&events));
    journal.close().await.unwrap();
}

#[tokio::test]
async fn the_room_of_lost_events_is_free_when_none_is_left() {
    let dir = tempfile::tempdir().unwrap();
    // More than SQLite caches.
    let file = filled(dir.path(), 20_000).await;
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    // Their numbers have one digit more, so they are slightly larger.
    destroy(&file, &[15_000, 19_000]);
    let (events, damaged) = read_from(&journal, 0).await;
    let missing = 20_000 - events.len() as u64 - damaged;
    assert!((1..=60).contains(&missing), "{missing} are missing");
    let before = journal.bytes();
    journal.lose(missing);
    assert!(journal.bytes() < before, "some of it at once");
    let bytes = bytes_of(&events);
    journal.settle(events.iter().map(|stored| stored.seq).collect(), bytes);
    assert_eq!((journal.bytes(), state_dir.bytes()), (0, 0));
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_key_takes_no_other_event_with_it() {
    let dir = tempfile::tempdir().unwrap();
    // More than SQLite caches.
    let file = filled_with_rows(dir.path(), 20_000).await;
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    // The key of record 1000 as stored before it; one bit less makes it 992.
    let key = [0x87, 0x68];
    let mut content = fs::read(&file).unwrap();
    let body = body_of(&content, 1000);
    let before = &content[body - 90..body];
    let at = before.windows(2).position(|window| window == key).unwrap();
    content[body - 90 + at + 1] ^= 8;
    fs::write(&file, content).unwrap();
    let (events, damaged) = read_from(&journal, 0).await;
    // Whether the damaged one is found by the other's key depends on where its page begins.
    assert!(damaged <= 1);
    assert_eq!(events.len() as u64, 20_000 - damaged);
    let others = (1..=20_000).filter(|seq| damaged == 0 || *seq != 1000);
    assert!(events.iter().map(|stored| stored.seq).eq(others));
    assert_eq!(
        journal.letters().kept(),
        damaged,
        "none that is whole was buried"
    );
    journal.close().await.unwrap();
}

#[tokio::test]
async fn an_event_in_memory_whose_row_damage_took_is_written_again_and_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled(dir.path(), 20_000).await;
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    // Some events are in the lane's memory when their page is destroyed.
    let first = journal.read(0, 20, usize::MAX).await.unwrap();
    assert_eq!(first.events.len(), 20);
    destroy(&file, &[5, 9000]);
    let (mut events, damaged) = read_from(&journal, 21).await;
    events.extend(first.events);
    let missing = 20_000 - events.len() as u64 - damaged;
    journal.lose(missing);
    // As a lane that ends does; some events had attempts.
    for stored in &events {
        let attempts = u32::try_from(stored.seq % 2).unwrap();
        journal.update(stored.seq, attempts, &stored.event);
    }
    journal.close().await.unwrap();
    drop((journal, state_dir));
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let found = journal.found();
    assert_eq!(found.events, events.len() as u64);
    assert_eq!((found.lost, found.damaged), (missing, damaged));
    let (seqs, bad) = read_all(&journal).await;
    assert_eq!(seqs[..20], (1..=20).collect::<Vec<u64>>());
    assert_eq!(bad, 0);
    journal.close().await.unwrap();
    assert_eq!(kept(dir.path()), 1, "the next start found nothing wrong");
}

#[tokio::test]
async fn a_store_that_is_damaged_while_it_is_used_loses_what_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    // More than SQLite caches.
    let file = filled(dir.path(), 20_000).await;
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let found = journal.found();
    // Some events are in the lane's memory when their page is destroyed.
    let first = journal.read(0, 20, usize::MAX).await.unwrap();
    assert_eq!(first.events.len(), 20);
    destroy(&file, &[5, 1500]);
    let (mut there, mut damaged, mut from) = (0, 0, 21);
    loop {
        let loaded = journal.read(from, 1000, usize::MAX).await.unwrap();
        damaged += loaded.damaged;
        there += loaded.events.len() as u64;
        from = loaded.events.last().map_or(from, |last| last.seq + 1);
        if loaded.complete_to.is_some() {
            break;
        }
    }
    let missing = found.events - 20 - there - damaged;
    assert!((1..=60).contains(&missing), "{missing} are missing");
    journal.lose(missing);
    journal.settle((1..=100).collect(), 0);
    journal.append(20_001, 0, &event(20_001), true);
    journal.receipt(20_001).written().await.unwrap();
    journal.close().await.unwrap();
    drop(journal);
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let then = journal.found();
    assert_eq!(then.events, there - 80 + 1);
    assert_eq!((then.lost, then.damaged), (missing, damaged));
    journal.close().await.unwrap();
}
