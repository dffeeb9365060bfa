//! Dead letters on their way back into the queue.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::status::Observed;
use super::super::{Destination, Shared};
use super::Queue;
use crate::lane::{Place, Verdict};
use evbus_destination::Policy;
use evbus_event::Event;
use evbus_store::{Burial, Journal, StateDir, StateLimits, StoreName};

fn event(number: u64) -> Arc<Event> {
    let body = format!("{number}");
    Arc::new(Event::builder("idem-run").unwrapped_json(body).unwrap())
}

struct Bench {
    lane: Arc<Shared>,
    /// As another process would open it.
    store: Connection,
    _dir: TempDir,
}

/// A lane with three dead letters, 1 to 3, and nothing else.
async fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path(), StateLimits::default()).unwrap();
    let name = StoreName {
        provider: "p".to_owned(),
        pattern: "*".to_owned(),
        nth: 0,
    };
    let journal = Journal::open(&state, &name).unwrap();
    let burial = |number| Burial {
        seq: None,
        event: event(number),
        error: "refused".to_owned(),
        attempts: 1,
        first_attempt_ns: 1,
        last_attempt_ns: 1,
    };
    journal.bury((1..=3).map(burial).collect(), 0);
    // It is answered when the burials are written.
    journal.read(0, 1, 1).await.unwrap();
    let files = std::fs::read_dir(dir.path().join("queues")).unwrap();
    let file = files
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "db"))
        .unwrap();
    let destination = Destination {
        provider: "p".to_owned(),
        pattern: "*".to_owned(),
        index: 0,
    };
    Bench {
        lane: Arc::new(Shared {
            destination: arc_swap::ArcSwap::from_pointee(destination),
            screens: crate::lane::screen::Screens::default(),
            queue: Queue::new(&Policy::default(), Some(journal)),
            observed: Observed::default(),
            waiters: super::super::room::Waiters::default(),
        }),
        store: Connection::open(file).unwrap(),
        _dir: dir,
    }
}

impl Bench {
    /// Received and queued; the sum must hold.
    fn counts(&self) -> (u64, u64) {
        let counts = self.lane.queue.counts();
        assert_eq!(counts.queued, counts.received, "nothing else became of any");
        (counts.received, counts.queued)
    }

    /// What the queue has on disk, in order.
    async fn load(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(loading) = self.lane.queue.load() {
            let loaded = loading.await.unwrap();
            for stored in &loaded.events {
                numbers.push(serde_json::from_slice(stored.event.body()).unwrap());
            }
            assert_eq!(self.lane.queue.loaded(loaded), 0, "nothing is missing");
        }
        numbers
    }
}

#[tokio::test]
async fn a_replay_that_fails_changes_no_number() {
    let bench = bench().await;
    let trigger =
        "CREATE TRIGGER full BEFORE INSERT ON queue BEGIN SELECT RAISE(ABORT, 'not now'); END";
    bench.store.execute_batch(trigger).unwrap();
    let done = bench.lane.replay(vec![1, 2, 3]).unwrap();
    let error = done.await.unwrap().unwrap_err();
    assert!(error.contains("not now"), "{error}");
    assert_eq!(bench.counts(), (0, 0));
    bench.store.execute_batch("DROP TRIGGER full").unwrap();

    let (place, _) = bench.lane.queue.push(event(4), Verdict::default()).unwrap();
    assert_eq!(place, Place::Memory);
    // One that is not there any more is not counted either.
    let done = bench.lane.replay(vec![1, 2, 3, 77]).unwrap();
    assert_eq!(done.await.unwrap(), Ok(3));
    assert_eq!(bench.counts(), (4, 4));
    bench.lane.queue.push(event(5), Verdict::default()).unwrap();
    assert_eq!(bench.load().await, [1, 2, 3, 5]);
    assert_eq!(bench.counts(), (5, 5));
}

#[tokio::test]
async fn a_replay_waits_for_others_who_write_and_counts_when_it_has_moved() {
    let bench = bench().await;
    bench.store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut done = bench.lane.replay(vec![1, 2, 3]).unwrap();
    let (place, _) = bench.lane.queue.push(event(4), Verdict::default()).unwrap();
    assert_eq!(place, Place::Disk, "what is fired meanwhile goes behind it");
    assert_eq!(bench.counts(), (1, 1));
    assert!(done.try_recv().is_err(), "it has not moved");
    bench.store.execute_batch("COMMIT").unwrap();
    assert_eq!(done.await.unwrap(), Ok(3));
    assert_eq!(bench.counts(), (4, 4));
    assert_eq!(bench.load().await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_lane_that_is_ending_puts_nothing_back() {
    let bench = bench().await;
    bench.lane.queue.close();
    assert!(bench.lane.replay(vec![1, 2, 3]).is_none());
    assert_eq!(bench.counts(), (0, 0));
    let dead = "SELECT count(*) FROM dead_letters";
    let dead: u64 = bench.store.query_row(dead, [], |row| row.get(0)).unwrap();
    assert_eq!(dead, 3);
}

/// An event with a body that is found in a file.
fn marked(number: u64) -> Arc<Event> {
    let fill = "x".repeat(200);
    let body = format!("{{\"number\":{number},\"fill\":\"{fill}\"}}");
    Arc::new(Event::builder("idem-run").unwrapped_json(body).unwrap())
}

#[tokio::test]
async fn events_in_memory_whose_rows_damage_took_are_on_disk_when_the_lane_has_ended() {
    const ALL: u64 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path(), StateLimits::default()).unwrap();
    let name = StoreName {
        provider: "p".to_owned(),
        pattern: "*".to_owned(),
        nth: 0,
    };
    // More than what the store keeps of its file in memory.
    let journal = Journal::open(&state, &name).unwrap();
    for number in 1..=ALL {
        journal.append(number, 0, &marked(number), false);
        if !journal.has_room() {
            journal.room().await;
        }
    }
    journal.close().await.unwrap();
    drop(journal);
    let mut policy = Policy::default();
    policy.queue.events = 40;
    let queue = Queue::new(&policy, Some(Journal::open(&state, &name).unwrap()));
    let loaded = queue.load().unwrap().await.unwrap();
    assert_eq!(queue.loaded(loaded), 0);
    let files = std::fs::read_dir(dir.path().join("queues")).unwrap();
    let file = files
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "db"))
        .unwrap();
    let mut content = std::fs::read(&file).unwrap();
    // One is in memory, the other is not.
    for number in [5, 5000] {
        let text = format!("{{\"number\":{number},");
        let mut windows = content.windows(text.len());
        let place = windows.position(|window| window == text.as_bytes());
        let page = place.unwrap() / 4096 * 4096;
        content[page..page + 4096].fill(0);
    }
    std::fs::write(&file, content).unwrap();
    policy.queue.events = 1_000_000;
    policy.queue.bytes = 1024 * 1024 * 1024;
    queue.set_policy(&policy);
    while let Some(loading) = queue.load() {
        queue.loaded(loading.await.unwrap());
    }
    let lost = queue.counts().lost;
    assert!((1..=30).contains(&lost), "{lost} are lost");
    let left = queue.close();
    assert_eq!(left.len() as u64, ALL - lost);
    queue.keep(&left);
    queue.close_journal().await.unwrap();
    assert_eq!(queue.counts().queued_on_disk, ALL - lost);
    drop(queue);
    let journal = Journal::open(&state, &name).unwrap();
    let found = journal.found();
    assert_eq!(
        (found.events, found.lost, found.damaged),
        (ALL - lost, lost, 0)
    );
    let loaded = journal.read(0, 40, usize::MAX).await.unwrap();
    let seqs = loaded.events.iter().map(|stored| stored.seq);
    assert!(seqs.eq(1..=40), "those in memory are there");
    journal.close().await.unwrap();
}
