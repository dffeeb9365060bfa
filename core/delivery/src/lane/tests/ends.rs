//! However a lane ends, what it has is on disk where there is one.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Opens the store until it holds so many events: whoever let go of it writes in the background.
async fn found(disk: &Disk, events: u64) {
    let waiting = async {
        while disk.journal().found().events != events {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the events are on disk");
}

#[tokio::test]
async fn a_lane_that_is_dropped_keeps_its_events_on_disk() {
    let retry = |_| Some(all(outcome(OutcomeCodeV1::RETRY, 0)));
    for (script, state) in [
        (Script::refusing("no"), InstanceState::Failed),
        (Script::answering(|_| None), InstanceState::Connected),
        (Script::answering(retry), InstanceState::Connected),
    ] {
        let disk = Disk::new();
        let lane = start(setup(script, eager()), Some(disk.journal()));
        for number in 0..10 {
            push(&lane, event(number)).await;
        }
        wait_for(&lane, |status| status.state == state).await;
        let shared = Arc::downgrade(lane.shared());
        drop(lane);
        let gone = async {
            while shared.upgrade().is_some() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("it ends");
        found(&disk, 10).await;
    }
}

#[test]
fn a_plugin_that_blocks_its_call_does_not_take_the_queue_with_it() {
    let disk = Disk::new();
    let (blocked, entered) = std::sync::mpsc::channel::<()>();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let script = Script::answering(move |_| {
        let _ = blocked.send(());
        // Until the test lets go.
        let _ = held.lock().recv();
        None
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let lane = start(setup(script, eager()), Some(disk.journal()));
        push(&lane, event(0)).await;
        entered.recv().expect("it is asked");
        for number in 1..10 {
            push(&lane, event(number)).await;
        }
        lane.stop(Duration::ZERO).await.expect("the rest is kept");
        assert_adds_up(lane.status().counts);
        // Its first event is in the plugin's hands.
        found(&disk, 9).await;
        drop(release);
    });
}

#[tokio::test]
async fn a_lane_that_is_let_go_of_asks_for_no_further_instance() {
    for reason in [UNANSWERED, "not today"] {
        let asked = Arc::new(AtomicUsize::new(0));
        let script = Script(Arc::new({
            let asked = Arc::clone(&asked);
            move |_| {
                asked.fetch_add(1, Ordering::Relaxed);
                Err(ConnectFailure {
                    permanent: true,
                    ..refusal(reason)
                })
            }
        }));
        let mut policy = eager();
        policy.retry.max_delay = Duration::from_hours(24);
        let setup = setup(script, policy);
        let mut lane = start(setup.clone(), None);
        while asked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        // What dropping the lane does after it has told the task to end, which may take a while to see it.
        lane.setup = watch::Sender::new(setup);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{reason}");
        lane.stop(Duration::ZERO).await.expect("it ends");
    }
}
