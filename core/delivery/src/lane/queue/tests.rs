//! The queue in memory: room, promises, waiting.

use std::sync::Arc;

use super::*;
use crate::lane::Verdict;
use evbus_destination::QueueLimits;
use evbus_event::Event;
use evbus_store::{StateDir, StateLimits, StoreName};

fn event(body: &str) -> Arc<Event> {
    Arc::new(
        Event::builder("p")
            .unwrapped_json(body.to_owned())
            .expect("the body is JSON"),
    )
}

fn queue(events: usize, bytes: usize) -> Queue {
    let policy = Policy {
        queue: QueueLimits { events, bytes },
        ..Policy::default()
    };
    Queue::new(&policy, None)
}

fn placed(queue: &Queue, event: &Arc<Event>) -> Result<Place, NotQueued> {
    let pushed = queue.push(Arc::clone(event), Verdict::default());
    pushed.map(|(place, _)| place).map_err(|(why, _)| why)
}

fn push(queue: &Queue, event: &Arc<Event>) -> Result<(), NotQueued> {
    let pushed = queue.push(Arc::clone(event), Verdict::default());
    pushed.map_err(|(why, _)| why).map(|(place, receipt)| {
        assert_eq!(place, Place::Memory);
        assert!(receipt.is_none());
    })
}

#[test]
fn room_is_taken_until_events_are_settled() {
    let queue = queue(2, 1000);
    let one = event("1");
    assert_eq!(push(&queue, &one), Ok(()));
    assert_eq!(push(&queue, &one), Ok(()));
    assert_eq!(push(&queue, &one), Err(NotQueued::Full));
    let mut batch = Vec::new();
    queue.take(&mut batch, 10, 1000);
    assert_eq!(batch.len(), 2);
    assert_eq!(
        push(&queue, &one),
        Err(NotQueued::Full),
        "in flight takes room"
    );
    queue.settle(Settled {
        accepted: 1,
        bytes: one.size(),
        ..Settled::default()
    });
    assert_eq!(push(&queue, &one), Ok(()));
    assert!(queue.begins_dropping());
    assert!(!queue.begins_dropping(), "one log line per burst");
    let counts = queue.counts();
    assert_eq!(
        (
            counts.received,
            counts.accepted,
            counts.dropped,
            counts.queued
        ),
        (3, 1, 0, 2)
    );
}

#[test]
fn bytes_bound_the_queue_and_an_oversized_event_is_let_in_alone() {
    let queue = queue(100, 10);
    let large = event("\"0123456789abcdef\"");
    assert_eq!(push(&queue, &large), Ok(()));
    assert_eq!(push(&queue, &event("1")), Err(NotQueued::Full));
    let mut batch = Vec::new();
    queue.take(&mut batch, 10, 5);
    assert_eq!(batch.len(), 1, "a batch takes at least one event");
}

#[test]
fn a_batch_takes_as_many_bytes_as_it_may_and_leaves_the_others_in_their_order() {
    let queue = queue(10_000, 1_000_000);
    for number in 1000..4000 {
        push(&queue, &event(&number.to_string())).expect("there is room");
    }
    let size = event("1000").size();
    let mut taken = Vec::new();
    // Within a piece, across pieces, and all that are left.
    for (bytes, expected) in [(10 * size + 1, 10), (2000 * size, 2000), (usize::MAX, 990)] {
        let mut batch = Vec::new();
        queue.take(&mut batch, 5000, bytes);
        assert_eq!(batch.len(), expected);
        taken.extend(batch.iter().map(Queued::seq));
    }
    assert!(taken.is_sorted(), "{taken:?}");
    assert_eq!(taken.len(), 3000);
}

#[test]
fn reserved_room_is_not_counted_as_received() {
    let queue = queue(1, 1000);
    let one = event("1");
    let place = queue.reserve(one.size()).expect("there is room");
    assert_eq!(push(&queue, &one), Err(NotQueued::Full));
    assert_eq!(queue.counts(), Counts::default());
    queue.release(place, one.size());
    let place = queue.reserve(one.size()).expect("the room is back");
    assert_eq!(
        queue.push_reserved(&one, place, one.size(), Verdict::default()),
        Ok(Place::Memory)
    );
    assert_eq!(queue.counts().received, 1);
    assert_eq!(queue.counts().queued, 1);
}

#[tokio::test]
async fn whoever_waits_for_room_is_woken_by_a_settlement() {
    let queue = queue(1, 1000);
    let one = event("1");
    push(&queue, &one).expect("there is room");
    let room = queue.room();
    assert_eq!(push(&queue, &one), Err(NotQueued::Full));
    queue.settle(Settled {
        dead_lettered: 1,
        bytes: one.size(),
        ..Settled::default()
    });
    room.await;
    assert_eq!(push(&queue, &one), Ok(()));
}

fn stored(policy: &Policy, state: &StateDir, pattern: &str) -> Queue {
    let name = StoreName {
        provider: "p".to_owned(),
        pattern: pattern.to_owned(),
        nth: 0,
    };
    Queue::new(policy, Some(Journal::open(state, &name).expect("a store")))
}

#[tokio::test]
async fn room_that_was_promised_and_given_back_lets_the_disk_be_read() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let state = StateDir::open(dir.path(), StateLimits::default()).expect("it is new");
    let policy = Policy {
        queue: QueueLimits {
            events: 1,
            bytes: 1000,
        },
        ..Policy::default()
    };
    let one = event("1");
    for (pattern, is_pushed) in [("pushed", true), ("released", false)] {
        let queue = stored(&policy, &state, pattern);
        let place = queue.reserve(one.size()).expect("there is room");
        // The only room is promised, so this one goes to disk.
        assert_eq!(placed(&queue, &one).ok(), Some(Place::Disk));
        // The lane's task is woken by it, and finds no room to read it back.
        queue.readable().await;
        assert!(queue.load().is_none());
        let readable = queue.readable();
        if is_pushed {
            assert_eq!(
                queue.push_reserved(&one, place, one.size(), Verdict::default()),
                Ok(Place::Disk)
            );
        } else {
            queue.release(place, one.size());
        }
        let soon = std::time::Duration::from_secs(30);
        let woken = tokio::time::timeout(soon, readable).await;
        assert!(woken.is_ok(), "{pattern}: the lane's task is woken");
        assert!(queue.load().is_some(), "{pattern}: and reads the disk");
    }
}

#[tokio::test]
async fn room_in_the_limit_of_all_stores_wakes_whoever_waits_at_another_destination() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let one = event("\"0123456789\"");
    let limits = StateLimits {
        max_bytes: evbus_store::record_bytes(&one),
        ..StateLimits::default()
    };
    let state = StateDir::open(dir.path(), limits).expect("it is new");
    let policy = Policy {
        durable: true,
        when_full: Some(WhenFull::Block),
        ..Policy::default()
    };
    let (first, second) = (
        stored(&policy, &state, "first"),
        stored(&policy, &state, "second"),
    );
    assert!(first.push(Arc::clone(&one), Verdict::default()).is_ok());
    let room = second.room();
    assert_eq!(placed(&second, &one).err(), Some(NotQueued::Full));
    let mut batch = Vec::new();
    first.take(&mut batch, 1, usize::MAX);
    let mut settled = Settled::default();
    settled.accept(&batch[0]);
    first.settle(settled);
    let soon = std::time::Duration::from_secs(30);
    let woken = tokio::time::timeout(soon, room).await;
    assert!(woken.is_ok(), "the other destination gave room back");
    assert!(second.push(Arc::clone(&one), Verdict::default()).is_ok());
}

#[tokio::test]
async fn what_is_on_disk_from_an_earlier_life_fills_a_queue_that_does_not_spill() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let state = StateDir::open(dir.path(), StateLimits::default()).expect("it is new");
    let one = event("1");
    let limits = |events, bytes| QueueLimits { events, bytes };
    let earlier = Policy {
        queue: limits(1, 1000),
        when_full: Some(WhenFull::Spill),
        ..Policy::default()
    };
    let record = usize::try_from(evbus_store::record_bytes(&one)).expect("it is small");
    let (full, fits) = (Err(NotQueued::Full), Ok(Place::Disk));
    for (number, (when_full, queue, expected)) in [
        (WhenFull::Block, limits(2, 1000), full),
        (WhenFull::Block, limits(3, 1000), fits),
        (WhenFull::Block, limits(100, 2 * record), full),
        (WhenFull::DropNewest, limits(2, 1000), Ok(Place::Dropped)),
        (WhenFull::DropNewest, limits(3, 1000), fits),
        (
            WhenFull::DropNewest,
            limits(100, 2 * record),
            Ok(Place::Dropped),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let pattern = number.to_string();
        {
            let queue = stored(&earlier, &state, &pattern);
            for place in [Place::Memory, Place::Disk, Place::Disk] {
                assert_eq!(placed(&queue, &one), Ok(place));
            }
            assert_eq!(queue.close_journal().await, Ok(()));
        }
        let policy = Policy {
            queue,
            when_full: Some(when_full),
            ..Policy::default()
        };
        let queue = stored(&policy, &state, &pattern);
        assert_eq!(queue.counts().queued_on_disk, 2);
        let pushed = placed(&queue, &one);
        assert_eq!(pushed, expected, "{policy:?}");
    }
}

#[tokio::test]
async fn a_queue_on_a_disk_that_takes_nothing_takes_only_what_has_room_in_memory() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let limits = StateLimits {
        // More than there is.
        min_free: Some(u64::MAX / 2),
        ..StateLimits::default()
    };
    let state = StateDir::open(dir.path(), limits).expect("it is new");
    let policy = Policy {
        queue: QueueLimits {
            events: 1,
            bytes: 1000,
        },
        when_full: Some(WhenFull::Spill),
        ..Policy::default()
    };
    let queue = stored(&policy, &state, "p");
    let one = event("1");
    for place in [Place::Memory, Place::Disk] {
        assert_eq!(placed(&queue, &one), Ok(place));
    }
    let journal = queue.journal().expect("there is one");
    let refused = journal.receipt(2).written().await;
    assert!(refused.is_err(), "the disk takes nothing");
    assert_eq!(placed(&queue, &one).err(), Some(NotQueued::Full));
    assert_eq!(queue.counts().received, 2, "the third one waits");
}

#[test]
fn events_are_taken_in_their_order_and_an_empty_queue_keeps_no_memory() {
    let queue = queue(1000, usize::MAX);
    let one = event("1");
    let seqs = |batch: &[Queued]| batch.iter().map(Queued::seq).collect::<Vec<_>>();
    (0..100).for_each(|_| assert!(push(&queue, &one).is_ok()));
    let mut batch = Vec::new();
    queue.take(&mut batch, 40, usize::MAX);
    assert_eq!(seqs(&batch), (1..=40).collect::<Vec<_>>());
    (0..100).for_each(|_| assert!(push(&queue, &one).is_ok()));
    queue.take(&mut batch, 50, usize::MAX);
    assert_eq!(seqs(&batch), (1..=50).collect::<Vec<_>>());
    let mut rest = Vec::new();
    queue.take(&mut rest, 1000, usize::MAX);
    assert_eq!(seqs(&rest), (51..=200).collect::<Vec<_>>());
    assert_eq!(queue.inner.lock().waiting.capacity(), 0);
}
