//! Packs of events: parts of them that are settled, tried again or buried, and damage anywhere in their pages.
#![allow(clippy::wildcard_imports)] // It is a part of the tests above it.

use super::*;

/// How many packs there are, and how many rows.
fn shape(file: &Path) -> (u64, u64) {
    let store = rusqlite::Connection::open(file).unwrap();
    let count = |table: &str| {
        let count = format!("SELECT count(*) FROM {table}");
        store.query_row(&count, [], |row| row.get(0)).unwrap()
    };
    (count("packs"), count("queue"))
}

#[tokio::test]
async fn events_that_are_written_together_share_rows() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let file = state_dir.store_file(&name("idem-*", 0));
    // Meanwhile the store's thread waits with what it has taken.
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for number in 1..=1000 {
        journal.append(number, 0, &event(number), false);
    }
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    journal.close().await.unwrap();
    let (packs, rows) = shape(&file);
    assert!((40..=80).contains(&packs), "{packs} packs");
    assert!(rows <= 20, "{rows} rows");
}

#[tokio::test]
async fn a_part_of_a_pack_is_settled_buried_and_tried_again_as_single_events_are() {
    for rows in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        if rows {
            filled_with_rows(dir.path(), 300).await;
        } else {
            filled(dir.path(), 300).await;
        }
        let state_dir = state(dir.path());
        let named = name("idem-*", 0);
        let journal = Journal::open(&state_dir, &named).unwrap();
        assert_eq!(journal.found().events, 300);
        let mut left: Vec<u64> = (1..=300).collect();
        let burial = |number: u64| Burial {
            seq: Some(number),
            event: event(number),
            error: "refused".to_owned(),
            attempts: 1,
            first_attempt_ns: 1,
            last_attempt_ns: 1,
        };
        // Within a pack, over its ends, all of several, single ones.
        for gone in [3..=4, 10..=11, 17..=90, 95..=95, 97..=97, 200..=255] {
            left.retain(|seq| !gone.contains(seq));
            journal.settle(gone.collect(), 0);
        }
        for number in [100, 120] {
            left.retain(|seq| *seq != number);
            journal.bury(vec![burial(number)], 0);
        }
        for number in [1, 110, 300] {
            journal.update(number, 7, &event(number));
        }
        journal.close().await.unwrap();
        drop(journal);
        let journal = Journal::open(&state_dir, &named).unwrap();
        let found = journal.found();
        assert_eq!((found.damaged, found.lost), (0, 0));
        assert_eq!((found.events, found.dead_letters), (left.len() as u64, 2));
        assert_eq!((found.first_seq, found.last_seq), (1, 300));
        for from in [0, 5, 92, 101, 256, 290] {
            let loaded = journal.read(from, 1000, usize::MAX).await.unwrap();
            let expected = left.iter().filter(|seq| **seq >= from);
            assert!(loaded.events.iter().map(|stored| &stored.seq).eq(expected));
            for stored in loaded.events {
                let attempts = if [1, 110, 300].contains(&stored.seq) {
                    7
                } else {
                    0
                };
                assert_eq!(stored.attempts, attempts, "{}", stored.seq);
                assert_eq!(stored.event.body(), event(stored.seq).body());
            }
        }
        journal.settle(left, 0);
        journal.close().await.unwrap();
        drop(journal);
        assert_eq!(shape(&state_dir.store_file(&named)), (0, 0));
        assert_eq!(Journal::open(&state_dir, &named).unwrap().found().events, 0);
    }
}

#[tokio::test]
async fn a_damaged_event_of_a_pack_that_is_settled_in_part_becomes_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled(dir.path(), 100).await;
    flip_in_bodies(&file, &[5, 8, 60]);
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    // One of the damaged ones goes before anybody sees it.
    journal.settle((1..=6).collect(), 0);
    journal.close().await.unwrap();
    drop(journal);
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let (seqs, damaged) = read_all(&journal).await;
    assert_eq!(damaged, 2);
    assert!(
        seqs.into_iter()
            .eq((7..=100).filter(|seq| ![8, 60].contains(seq)))
    );
    journal.close().await.unwrap();
    let mut bodies = Vec::new();
    let all = deadletters::Filter::default();
    drop((journal, state_dir));
    deadletters::each(dir.path(), &all, true, |letter| {
        bodies.push(String::from_utf8_lossy(&letter.body).into_owned());
        true
    })
    .unwrap();
    assert_eq!(bodies.len(), 2);
    for (body, number) in bodies.iter().zip([8, 60]) {
        assert!(
            body.starts_with(&format!("{{\"number\":{number},")),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_the_page_of_a_pack_costs_one_event_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled(dir.path(), 60).await;
    let saved = Saved::new(&file);
    let whole = fs::read(&file).unwrap();
    let page = body_of(&whole, 30) / BLOCK * BLOCK;
    // All of the page's head, of the row's head and of the first frame's, and a sample of the rest, which has the
    // page's unused part, too.
    let cell = page + (usize::from(whole[page + 8]) << 8 | usize::from(whole[page + 9]));
    let heads = (page..page + 12).chain(cell..cell + 70);
    let rest = (page + 12..page + BLOCK).step_by(61);
    for (round, byte) in heads.chain(rest).enumerate() {
        for bit in [round % 8, (round + 3) % 8] {
            saved.restore();
            let mut damaged = whole.clone();
            damaged[byte] ^= 1 << bit;
            fs::write(&file, damaged).unwrap();
            let (there, told) = account(dir.path()).await;
            let what = format!(
                "bit {bit} of byte {} (cell at {})",
                byte - page,
                cell - page
            );
            assert!(there >= 59, "{what}: {there} are there");
            assert_eq!(there + told, 60, "{what}");
        }
    }
}

#[tokio::test]
async fn an_event_that_is_new_and_tried_in_one_commit_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = state(dir.path());
    let named = name("idem-*", 0);
    let journal = Journal::open(&state_dir, &named).unwrap();
    // The store's thread takes what comes while it commits the first at once.
    journal.append(1, 0, &event(1), true);
    for number in 2..=200 {
        journal.append(number, 0, &event(number), true);
        journal.update(number, 1, &event(number));
    }
    journal.close().await.unwrap();
    drop(journal);
    let journal = Journal::open(&state_dir, &named).unwrap();
    let found = journal.found();
    assert_eq!((found.events, found.damaged, found.lost), (200, 0, 0));
    let loaded = journal.read(0, 1000, usize::MAX).await.unwrap();
    let attempts = loaded.events.iter().map(|stored| stored.attempts);
    assert!(attempts.eq((1..=200).map(|number| u32::from(number > 1))));
    journal.close().await.unwrap();
    assert_eq!(kept(dir.path()), 0, "nothing had to be salvaged");
}

#[tokio::test]
async fn a_damaged_event_counts_although_its_page_still_has_settled_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled(dir.path(), 60).await;
    let state_dir = state(dir.path());
    let named = name("idem-*", 0);
    let journal = Journal::open(&state_dir, &named).unwrap();
    // Their packs become rows; the pages keep the frames for a while.
    let live: Vec<u64> = (1..=60).filter(|number| number % 7 == 1).collect();
    journal.settle((1..=60).filter(|number| number % 7 != 1).collect(), 0);
    journal.close().await.unwrap();
    drop((journal, state_dir));
    let saved = Saved::new(&file);
    for salvage in [false, true] {
        saved.restore();
        flip_in_bodies(&file, &[29]);
        let state_dir = state(dir.path());
        if salvage {
            let closing = salvage::Closing::default();
            let store = salvage::replace(&state_dir, &file, &named, "a test", None, &closing);
            drop(store.unwrap());
        }
        let journal = Journal::open(&state_dir, &named).unwrap();
        let (seqs, bad) = read_all(&journal).await;
        let left = live.iter().filter(|number| **number != 29);
        assert!(seqs.iter().eq(left), "salvage {salvage}: {seqs:?}");
        assert_eq!((bad, journal.found().lost), (1, 0), "salvage {salvage}");
        journal.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_head_of_a_pack_in_use_costs_no_event_and_no_count() {
    for column in ["events = events + 128", "size = size + 1", "checksum = 0"] {
        let dir = tempfile::tempdir().unwrap();
        let file = filled(dir.path(), 200).await;
        let state_dir = state(dir.path());
        let named = name("idem-*", 0);
        let journal = Journal::open(&state_dir, &named).unwrap();
        let store = rusqlite::Connection::open(&file).unwrap();
        let middle = "(SELECT max(seq) FROM packs WHERE seq < 100)";
        let damage = format!("UPDATE packs SET {column} WHERE seq = {middle}");
        assert_eq!(store.execute(&damage, []).unwrap(), 1);
        drop(store);
        // All of the pack, and more on both sides.
        journal.settle((50..=150).collect(), 0);
        journal.append(201, 0, &event(201), true);
        journal.receipt(201).written().await.unwrap();
        journal.close().await.unwrap();
        drop(journal);
        let journal = Journal::open(&state_dir, &named).unwrap();
        let found = journal.found();
        assert_eq!(
            (found.events, found.damaged, found.lost),
            (100, 0, 0),
            "{column}"
        );
        let (seqs, bad) = read_all(&journal).await;
        assert!(seqs.into_iter().eq((1..50).chain(151..=201)), "{column}");
        assert_eq!(bad, 0, "{column}");
        journal.close().await.unwrap();
    }
}

#[tokio::test]
async fn settled_events_do_not_stand_in_for_lost_ones() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = state(dir.path());
    let named = name("idem-*", 0);
    let journal = Journal::open(&state_dir, &named).unwrap();
    // Small packs, several to a page.
    for number in 1..=900 {
        journal.append(number, 0, &event(number), true);
        if number % 3 == 0 {
            journal.receipt(number).written().await.unwrap();
        }
    }
    // The first event is still tried again.
    for run in 0..100 {
        let first = 2 + 4 * run;
        journal.settle((first..first + 4).collect(), 0);
        if run % 10 == 0 {
            journal.append(901 + run, 0, &event(901 + run), true);
            journal.receipt(901 + run).written().await.unwrap();
        }
    }
    journal.close().await.unwrap();
    drop(journal);
    let file = state_dir.store_file(&named);
    drop(state_dir);
    let mut content = fs::read(&file).unwrap();
    let block = body_of(&content, 700) / BLOCK * BLOCK;
    content[block..block + BLOCK].fill(0);
    fs::write(&file, content).unwrap();
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &named).unwrap();
    let (seqs, bad) = read_all(&journal).await;
    assert_eq!(bad, 0);
    let (settled, queued): (Vec<u64>, Vec<u64>) =
        seqs.iter().partition(|seq| (2..=401).contains(*seq));
    assert_eq!(settled, [0; 0], "they do not return");
    let lost = 500 + 10 - queued.len() as u64;
    assert!((1..=40).contains(&lost), "{lost}");
    assert_eq!(journal.found().lost, lost);
    journal.close().await.unwrap();
}
