//! Dead letters have a separate bound; those beyond it are dropped and counted permanently.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::burying::{Burying, Letters};
use super::deadletters::{self, Filter};
use super::tests::{
    event, filled, filled_with_rows, flip_in_bodies, name, opened, read_all, state,
};
use super::*;
use evbus_destination::{DeadLetterLimits, DeadLettersFull};
use evbus_event::Event;

fn limits(events: u64, bytes: u64, when_full: DeadLettersFull) -> DeadLetterLimits {
    DeadLetterLimits {
        events,
        bytes,
        when_full,
    }
}

fn oldest(events: u64) -> DeadLetterLimits {
    limits(events, u64::MAX, DeadLettersFull::DropOldest)
}

/// The reason contains the number.
fn burial(number: u64, event: Arc<Event>) -> Burial {
    Burial {
        seq: None,
        event,
        error: format!("refused {number:06}"),
        attempts: 1,
        first_attempt_ns: 1,
        last_attempt_ns: number,
    }
}

/// Buries the events `from` to `last`, in batches of seven.
async fn bury(journal: &Journal, from: u64, last: u64) {
    let mut next = from;
    while next <= last {
        let end = (next + 6).min(last);
        let batch = (next..=end).map(|number| burial(number, event(number)));
        if !journal.has_room() {
            journal.room().await;
        }
        journal.bury(batch.collect(), 0);
        next = end + 1;
    }
    settled(journal).await;
}

/// Waits until everything handed in is written: the writer answers reads in order.
async fn settled(journal: &Journal) {
    journal.read(0, 1, usize::MAX).await.unwrap();
}

async fn wait_until(what: &str, is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Which dead letters are in the stores of a directory.
fn kept(dir: &Path) -> Vec<u64> {
    let mut kept = Vec::new();
    let see = |letter: deadletters::DeadLetter| {
        kept.push(letter.error[8..].parse().unwrap());
        true
    };
    deadletters::each(dir, &Filter::default(), false, see).unwrap();
    kept
}

#[tokio::test]
async fn beyond_the_bound_the_oldest_or_the_new_dead_letters_are_dropped_and_counted_for_ever() {
    for (when_full, expected) in [
        (DeadLettersFull::DropOldest, 16..=25),
        (DeadLettersFull::DropNewest, 1..=10),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        for round in 0..2 {
            let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
            journal.bound_letters(limits(10, u64::MAX, when_full));
            if round == 0 {
                bury(&journal, 1, 25).await;
            }
            assert_eq!(kept(dir.path()), expected.clone().collect::<Vec<u64>>());
            let letters = journal.letters();
            assert_eq!((letters.kept(), letters.dropped()), (10, 15), "{round}");
            assert_eq!(letters.bytes(), state.dead_letter_bytes());
            assert_eq!(letters.lost(), 0);
            journal.close().await.unwrap();
            assert_eq!(
                state.dead_letter_bytes(),
                0,
                "a closed store counts no more"
            );
        }
    }
}

#[tokio::test]
async fn a_bound_in_bytes_holds_reasons_and_attributes_as_well_as_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(dir.path());
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    journal.bound_letters(oldest(1000));
    bury(&journal, 100, 100).await;
    let each = journal.letters().bytes();
    assert!(each > event(100).size() as u64 + "refused 000100".len() as u64);
    let bound = limits(1000, 5 * each + each / 2, DeadLettersFull::DropOldest);
    journal.bound_letters(bound);
    bury(&journal, 101, 130).await;
    assert_eq!(kept(dir.path()), (126..=130).collect::<Vec<u64>>());
    assert_eq!(journal.letters().bytes(), 5 * each);
    // A dead letter larger than the limit does not displace others.
    let mut large = burial(131, event(131));
    large.error = format!(
        "refused 000131{}",
        "x".repeat(usize::try_from(6 * each).unwrap())
    );
    journal.bury(vec![large], 0);
    settled(&journal).await;
    assert_eq!(kept(dir.path()), (126..=130).collect::<Vec<u64>>());
    assert_eq!(journal.letters().dropped(), 26 + 1);
    journal.bound_letters(limits(1000, 5 * each, DeadLettersFull::DropNewest));
    bury(&journal, 132, 140).await;
    assert_eq!(kept(dir.path()), (126..=130).collect::<Vec<u64>>());
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_bound_that_is_lowered_drops_what_is_beyond_it() {
    for (when_full, expected) in [
        (DeadLettersFull::DropOldest, 2491..=2500),
        (DeadLettersFull::DropNewest, 1..=10),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
        journal.bound_letters(oldest(5000));
        bury(&journal, 1, 2500).await;
        assert_eq!(journal.letters().kept(), 2500);
        journal.bound_letters(limits(10, u64::MAX, when_full));
        wait_until("they are dropped", || journal.letters().kept() == 10).await;
        assert_eq!(journal.letters().dropped(), 2490);
        journal.close().await.unwrap();
        assert_eq!(kept(dir.path()), expected.collect::<Vec<u64>>());
    }
}

#[tokio::test]
async fn purged_and_replayed_dead_letters_are_room_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(dir.path());
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    journal.bound_letters(oldest(10));
    bury(&journal, 1, 10).await;
    assert_eq!(journal.purge((1..=4).collect()).await, Ok(Ok(4)));
    let done = Box::new(|moved| assert_eq!(moved, Ok(4)));
    assert!(journal.replay((5..=8).collect(), 100, done));
    settled(&journal).await;
    bury(&journal, 11, 18).await;
    assert_eq!(journal.letters().dropped(), 0);
    assert_eq!(journal.letters().bytes(), state.dead_letter_bytes());
    bury(&journal, 19, 19).await;
    assert_eq!(
        (journal.letters().kept(), journal.letters().dropped()),
        (10, 1)
    );
    assert_eq!(kept(dir.path()), (10..=19).collect::<Vec<u64>>());
    journal.close().await.unwrap();
}

/// A state directory limited to this many bytes.
fn small(dir: &Path, max_bytes: u64) -> StateDir {
    let limits = StateLimits {
        max_bytes,
        ..StateLimits::default()
    };
    opened(dir, limits)
}

#[tokio::test]
async fn all_dead_letters_take_a_quarter_of_the_limit_and_are_in_no_queues_way() {
    let dir = tempfile::tempdir().unwrap();
    let state = small(dir.path(), 400_000);
    let journals: Vec<Journal> = (0..3)
        .map(|nth| Journal::open(&state, &name("idem-*", nth)).unwrap())
        .collect();
    for (journal, when_full) in journals.iter().zip([
        DeadLettersFull::DropOldest,
        DeadLettersFull::DropNewest,
        DeadLettersFull::DropOldest,
    ]) {
        journal.bound_letters(limits(u64::MAX, u64::MAX, when_full));
    }
    // Two at a time, so that they compete for the room.
    tokio::join!(bury(&journals[0], 1, 1000), bury(&journals[1], 1, 1000));
    let bytes: u64 = journals
        .iter()
        .map(|journal| journal.letters().bytes())
        .sum();
    assert_eq!(bytes, state.dead_letter_bytes());
    assert!((99_000..=100_000).contains(&bytes), "{bytes}");
    for journal in &journals[..2] {
        let letters = journal.letters();
        assert_eq!(letters.kept() + letters.dropped(), 1000);
        assert!(letters.dropped() > 0, "{letters:?}");
    }
    let newest = journals[0].letters().kept();
    // The third finds no room, and no other destination loses a dead letter for it.
    bury(&journals[2], 1, 10).await;
    assert!(journals[2].letters().dropped() >= 9);
    assert_eq!(journals[0].letters().kept(), newest);
    assert!(state.has_room(300_001), "an event that is alone is let in");
    journals[2].append(1, 0, &event(1), true);
    journals[2].receipt(1).written().await.unwrap();
    let left = 300_000 - state.bytes();
    assert!(state.has_room(left) && !state.has_room(left + 1));
    for journal in &journals {
        journal.close().await.unwrap();
    }
    assert_eq!(state.dead_letter_bytes(), 0);
}

#[tokio::test]
async fn whoever_waits_for_room_is_woken_when_what_is_written_out_makes_it() {
    const MIB: u64 = 1024 * 1024;
    let dir = tempfile::tempdir().unwrap();
    // Queues may use 150 MiB.
    let state = small(dir.path(), 200 * MIB);
    let next = 100 * MIB;
    state.add(51 * MIB);
    assert!(!state.has_room(next));
    let mut room = std::pin::pin!(state.room().notified());
    room.as_mut().enable();
    state.subtract(2 * MIB);
    assert!(state.has_room(next));
    let woken = tokio::time::timeout(std::time::Duration::from_secs(10), room).await;
    woken.expect("the one that waits is told");
}

#[tokio::test]
async fn a_limit_that_is_lower_than_at_the_last_start_drops_what_is_beyond_each_stores_share() {
    let dir = tempfile::tempdir().unwrap();
    for max_bytes in [4_000_000, 400_000] {
        let state = small(dir.path(), max_bytes);
        let journals: Vec<Journal> = (0..2)
            .map(|nth| Journal::open(&state, &name("idem-*", nth)).unwrap())
            .collect();
        for journal in &journals {
            journal.bound_letters(oldest(10_000));
        }
        if max_bytes > 400_000 {
            bury(&journals[0], 1, 1500).await;
            bury(&journals[1], 1, 20).await;
            assert_eq!(journals[0].letters().kept(), 1500);
        } else {
            wait_until("less", || state.dead_letter_bytes() <= 100_000).await;
            assert_eq!(
                journals[1].letters().kept(),
                20,
                "it has less than its share"
            );
            assert!(journals[0].letters().bytes() >= 49_000);
        }
        for journal in &journals {
            journal.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_left_of_damaged_records_is_within_the_bound_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled(dir.path(), 5).await;
    flip_in_bodies(&file, &[1, 2, 3, 4]);
    let state = state(dir.path());
    for round in 0..2 {
        let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
        journal.bound_letters(oldest(3));
        let expected = if round == 0 {
            (vec![5], 4)
        } else {
            (vec![5], 0)
        };
        assert_eq!(read_all(&journal).await, expected);
        let letters = journal.letters();
        assert_eq!((letters.kept(), letters.dropped()), (3, 1));
        journal.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_store_from_before_dead_letters_were_dropped_keeps_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled_with_rows(dir.path(), 100).await;
    let store = rusqlite::Connection::open(&file).unwrap();
    store
        .execute_batch(
            "DROP TABLE harm; DROP TABLE counts; DROP TABLE packs; PRAGMA user_version = 2;
             CREATE TABLE counts (queued INTEGER NOT NULL, dead INTEGER NOT NULL, first_seq INTEGER NOT NULL,
                 last_seq INTEGER NOT NULL, damaged INTEGER NOT NULL, lost INTEGER NOT NULL,
                 dead_letters_lost INTEGER NOT NULL) STRICT;
             INSERT INTO counts VALUES (100, 0, 1, 100, 3, 2, 4);
             CREATE TABLE harm (damaged INTEGER NOT NULL, lost INTEGER NOT NULL,
                 dead_letters_lost INTEGER NOT NULL) STRICT;
             INSERT INTO harm VALUES (3, 2, 4);",
        )
        .unwrap();
    drop(store);
    assert!(kept(dir.path()).is_empty(), "it can be looked at as it is");
    let state = state(dir.path());
    for round in 0..2 {
        let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
        let found = journal.found();
        assert_eq!((found.events, found.damaged, found.lost), (100, 3, 2));
        assert_eq!(journal.letters().lost(), 4);
        journal.bound_letters(oldest(10));
        if round == 0 {
            bury(&journal, 1, 13).await;
        }
        assert_eq!(journal.letters().dropped(), 3);
        journal.close().await.unwrap();
    }
}

/// The text of a store's tables.
fn tables(file: &Path) -> Vec<String> {
    let store = rusqlite::Connection::open(file).unwrap();
    let mut select = store
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        .unwrap();
    let tables = select.query_map([], |row| row.get(0)).unwrap();
    tables.map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_converted_store_has_the_tables_of_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled_with_rows(dir.path(), 5).await;
    let new = tables(&file);
    for (version, counts, harm) in [
        (1, "(queued INTEGER, dead INTEGER)", ""),
        (
            2,
            "(queued INTEGER, dead INTEGER, first_seq INTEGER, last_seq INTEGER, damaged INTEGER, \
              lost INTEGER, dead_letters_lost INTEGER)",
            "CREATE TABLE harm (damaged INTEGER, lost INTEGER, dead_letters_lost INTEGER);
             INSERT INTO harm VALUES (0, 0, 0);",
        ),
    ] {
        let store = rusqlite::Connection::open(&file).unwrap();
        let values = ["5, 0", "5, 0, 1, 5, 0, 0, 0"][version - 1];
        store
            .execute_batch(&format!(
                "DROP TABLE harm; DROP TABLE counts; DROP TABLE packs; CREATE TABLE counts {counts};
                 INSERT INTO counts VALUES ({values}); {harm} PRAGMA user_version = {version};"
            ))
            .unwrap();
        drop(store);
        let state = state(dir.path());
        let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
        assert_eq!(journal.found().events, 5, "format {version}");
        journal.close().await.unwrap();
        assert_eq!(tables(&file), new, "format {version}");
    }
}

#[test]
fn a_burial_that_is_not_committed_gives_its_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(dir.path());
    let store = rusqlite::Connection::open_in_memory().unwrap();
    super::schema::create(&store, &name("idem-*", 0)).unwrap();
    let begin = |before| Burying::new(before, &oldest(3), state.clone());
    let bury = |burying: &mut Burying| {
        burying
            .bury(&store, |insert| {
                insert.raw_bind_parameter(1, "refused")?;
                for parameter in 2..=4 {
                    insert.raw_bind_parameter(parameter, 1)?;
                }
                super::record::bind(insert, 5, super::record::NO_POSITION, &event(1))
            })
            .unwrap();
    };
    let mut first = begin(Letters::default());
    bury(&mut first);
    first.committed();
    let before = state.dead_letter_bytes();
    assert!(before > 0);
    store.execute_batch("BEGIN").unwrap();
    let mut second = begin(first.kept);
    for _ in 0..5 {
        bury(&mut second);
    }
    assert_eq!((second.kept.rows, second.dropped), (3, 3));
    assert_eq!(state.dead_letter_bytes(), 3 * before);
    drop(second);
    assert_eq!(state.dead_letter_bytes(), before);
}

#[tokio::test]
async fn damage_to_either_table_of_numbers_does_not_forget_what_was_dropped() {
    for table in ["counts", "harm"] {
        let dir = tempfile::tempdir().unwrap();
        let file = filled(dir.path(), 5).await;
        let state_dir = state(dir.path());
        let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
        journal.bound_letters(oldest(10));
        bury(&journal, 1, 25).await;
        journal.close().await.unwrap();
        drop(journal);
        let store = rusqlite::Connection::open(&file).unwrap();
        let page: usize = store
            .query_row(
                "SELECT rootpage FROM sqlite_schema WHERE name = ?",
                [table],
                |row| row.get(0),
            )
            .unwrap();
        (store.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")).unwrap();
        drop(store);
        let mut content = std::fs::read(&file).unwrap();
        content[(page - 1) * 4096..page * 4096].fill(0);
        std::fs::write(&file, content).unwrap();
        let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
        journal.bound_letters(oldest(10));
        // Whether the damage shows at the start or at the first write.
        bury(&journal, 26, 26).await;
        let letters = journal.letters();
        assert_eq!((letters.kept(), letters.dropped()), (10, 16), "{table}");
        journal.close().await.unwrap();
    }
}
