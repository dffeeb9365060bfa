//! Flipped bits in the headers of a log's frames: the page number, and the size of the store.
#![allow(clippy::wildcard_imports)] // It is a part of the tests above it.

use std::sync::Arc;

use super::*;
use evbus_event::Event;

/// The sizes of the log's header, and of a frame's.
const LOG_HEAD: usize = 32;
const FRAME: usize = 24 + 4096;

/// The positions of the frames of a log.
fn frames(log: &[u8]) -> impl Iterator<Item = usize> {
    (LOG_HEAD..log.len()).step_by(FRAME)
}

fn flipped(whole: &[u8], bit: usize) -> Vec<u8> {
    let mut damaged = whole.to_vec();
    damaged[bit / 8] ^= 1 << (bit % 8);
    damaged
}

#[tokio::test]
async fn a_flipped_bit_in_the_head_of_a_frame_loses_nothing() {
    // Ids and times make every log different.
    for last in [3, 6] {
        let dir = tempfile::tempdir().unwrap();
        let saved = left(dir.path(), last, 1).await;
        let (log, whole) = saved.0[1].clone();
        let whole = whole.unwrap();
        for frame in frames(&whole) {
            // All bits of page number and commit that may also be flipped elsewhere, and a sample of the others.
            let bits = (24..32).chain(56..64).chain((0..192).step_by(37));
            for bit in bits {
                saved.restore();
                fs::write(&log, flipped(&whole, frame * 8 + bit)).unwrap();
                assert_eq!(
                    account(dir.path()).await,
                    (last, 0),
                    "bit {bit} of the frame at {frame}"
                );
            }
        }
    }
}

/// An event that needs overflow pages.
fn large(number: u64) -> Arc<Event> {
    let fill = "x".repeat(9000);
    let body = format!("{{\"number\":{number},\"fill\":\"{fill}\"}}");
    Arc::new(Event::builder("idem-run").unwrapped_json(body).unwrap())
}

#[tokio::test]
async fn a_flipped_bit_in_a_head_costs_no_large_event_no_dead_letter_and_no_order() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = state(dir.path());
    let named = name("idem-*", 0);
    let journal = Journal::open(&state_dir, &named).unwrap();
    let burial = |number: u64, event| Burial {
        seq: Some(number),
        event,
        error: "refused".to_owned(),
        attempts: 1,
        first_attempt_ns: 1,
        last_attempt_ns: 1,
    };
    let event_of = |number: u64| match number % 3 {
        0 => large(number),
        _ => event(number),
    };
    for number in 1..=12 {
        journal.append(number, 0, &event_of(number), true);
        if number % 4 == 0 {
            journal.receipt(number).written().await.unwrap();
        }
    }
    journal.settle(vec![1, 4, 7], 0);
    journal.bury(
        [2, 9].map(|number| burial(number, event_of(number))).into(),
        0,
    );
    journal.append(13, 0, &event(13), true);
    journal.receipt(13).written().await.unwrap();
    let live = [3, 5, 6, 8, 10, 11, 12, 13];
    let saved = Saved::new(&state_dir.store_file(&named));
    journal.close().await.unwrap();
    drop((journal, state_dir));
    let (log, whole) = saved.0[1].clone();
    let whole = whole.unwrap();
    for frame in frames(&whole) {
        // For other bits, it can be proven which frame they are in.
        for bit in (24..32).chain([56, 59]) {
            let what = format!("bit {bit} of the frame at {frame}");
            saved.restore();
            fs::write(&log, flipped(&whole, frame * 8 + bit)).unwrap();
            let state_dir = state(dir.path());
            let journal = Journal::open(&state_dir, &named).unwrap();
            let found = journal.found();
            assert_eq!((found.damaged, found.lost), (0, 0), "{what}");
            assert_eq!(found.dead_letters, 2, "{what}");
            assert_eq!(journal.letters().lost(), 0, "{what}");
            assert_eq!(found.last_seq, 13, "{what}");
            let (seqs, bad) = read_all(&journal).await;
            assert_eq!(bad, 0, "{what}");
            // Settled events may return.
            assert!(
                live.iter().all(|seq| seqs.contains(seq)),
                "{what}: {seqs:?}"
            );
            journal.close().await.unwrap();
            drop((journal, state_dir));
            let mut bodies = Vec::new();
            deadletters::each(
                dir.path(),
                &deadletters::Filter::default(),
                true,
                |letter| {
                    bodies.push(letter.body.len());
                    true
                },
            )
            .unwrap();
            bodies.sort_unstable();
            let expected = [2, 9].map(|number| event_of(number).body().len());
            assert_eq!(bodies, expected, "{what}");
        }
    }
}
