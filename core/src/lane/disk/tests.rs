//! Dead letters on their way back into the queue.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::status::Observed;
use super::super::{Destination, Shared};
use super::Queue;
use crate::Event;
use crate::acct::Policy;
use crate::lane::Place;
use crate::store::{Burial, Journal, StateDir, StateLimits, StoreName};

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
            queue: Queue::new(&Policy::default(), Some(journal)),
            observed: Observed::default(),
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

    let (place, _) = bench.lane.queue.push(&event(4)).unwrap();
    assert_eq!(place, Place::Memory);
    // One that is not there any more is not counted either.
    let done = bench.lane.replay(vec![1, 2, 3, 77]).unwrap();
    assert_eq!(done.await.unwrap(), Ok(3));
    assert_eq!(bench.counts(), (4, 4));
    bench.lane.queue.push(&event(5)).unwrap();
    assert_eq!(bench.load().await, [1, 2, 3, 5]);
    assert_eq!(bench.counts(), (5, 5));
}

#[tokio::test]
async fn a_replay_waits_for_others_who_write_and_counts_when_it_has_moved() {
    let bench = bench().await;
    bench.store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut done = bench.lane.replay(vec![1, 2, 3]).unwrap();
    let (place, _) = bench.lane.queue.push(&event(4)).unwrap();
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
