//! A store that another process reads: its log is bounded, and this program's own commands do not count as such a
//! process.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::deadletters::{self, Filter};
use super::tests::{event, name, opened, written_at_last};
use super::*;
use evbus_event::Event;

const MIB: u64 = 1024 * 1024;

/// With this limit, a log may take a quarter: 32 MiB.
fn limits() -> StateLimits {
    StateLimits {
        max_bytes: 128 * MIB,
        ..StateLimits::default()
    }
}

fn long_event() -> Arc<Event> {
    let body = format!("\"{}\"", "x".repeat(64 * 1024));
    Arc::new(Event::builder("idem-run").unwrapped_json(body).unwrap())
}

fn log_len(store: &Path) -> u64 {
    fs::metadata(beside(store, "-wal")).map_or(0, |log| log.len())
}

/// A connection with a read transaction that stays open.
fn reader(store: &Path) -> Connection {
    let reader = Connection::open(store).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let rows = reader.query_row("SELECT count(*) FROM queue", [], |row| row.get::<_, i64>(0));
    assert!(rows.unwrap() > 0);
    reader
}

#[tokio::test]
async fn a_reader_that_does_not_end_fills_the_disk_no_further_than_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let state = opened(dir.path(), limits());
    let name = name("idem-*", 0);
    let journal = Journal::open(&state, &name).unwrap();
    let path = state.store_file(&name);
    journal.append(1, 0, &event(1), true);
    journal.receipt(1).written().await.unwrap();
    let reader = reader(&path);
    let long = long_event();
    let mut last = 1;
    let reason = loop {
        last += 1;
        assert!(last < 1500, "the log has {} bytes", log_len(&path));
        journal.append(last, 0, &long, true);
        if let Err(reason) = journal.receipt(last).written().await {
            break reason;
        }
    };
    assert!(
        reason.contains("another process is reading the store"),
        "{reason}"
    );
    assert!(log_len(&path) < 40 * MIB, "{}", log_len(&path));
    let usual = 128 * MIB * 3 / 4 - state.bytes();
    assert!(!state.has_room(usual), "a long log takes of the limit");
    // Settled events need no room.
    journal.settle(vec![1, 2], record_bytes(&event(1)) + record_bytes(&long));
    drop(reader);
    written_at_last(&journal, last).await;
    assert!(log_len(&path) < 32 * MIB, "{}", log_len(&path));
    let usual = 128 * MIB * 3 / 4 - state.bytes();
    assert!(state.has_room(usual), "the log takes no more than others");
    journal.close().await.unwrap();
}

#[tokio::test]
async fn whoever_looks_at_dead_letters_for_long_does_not_hold_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let state = opened(dir.path(), limits());
    let name = name("idem-*", 0);
    let journal = Journal::open(&state, &name).unwrap();
    let path = state.store_file(&name);
    for number in 1..=3 {
        let burial = Burial {
            seq: None,
            event: event(number),
            error: "refused".to_owned(),
            attempts: 1,
            first_attempt_ns: 1,
            last_attempt_ns: number,
        };
        journal.bury(vec![burial], 0);
    }
    journal.append(1, 0, &event(1), true);
    journal.receipt(1).written().await.unwrap();
    let mut seen = 0;
    deadletters::each(dir.path(), &Filter::default(), false, |_| {
        seen += 1;
        let writer = Connection::open(&path).unwrap();
        let mut emptied = writer.prepare("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        let busy: i64 = emptied.query_row([], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0, "the log can be cut back meanwhile");
        true
    })
    .unwrap();
    assert_eq!(seen, 3);
    journal.close().await.unwrap();
}
