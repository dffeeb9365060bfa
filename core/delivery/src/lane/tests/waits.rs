//! Waits: how long, whose, who ends them; and what status says meanwhile and afterwards.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

#[tokio::test]
async fn a_plugin_cannot_pause_a_destination_beyond_the_policys_longest_delay() {
    let asked = AtomicUsize::new(0);
    let script = Script::answering(move |events| {
        let never = outcome(OutcomeCodeV1::RETRY, u32::MAX);
        Some(match asked.fetch_add(1, Ordering::Relaxed) {
            // All events, then one of several.
            0 => all(never),
            1 => Says::Outcome(BatchOutcomeV1 {
                all: OutcomeV1::accepted(),
                exceptions: vec![exception(0, never)].into(),
                instance: FateV1::WORKS,
            }),
            _ => {
                assert!(events > 0);
                all(OutcomeV1::accepted())
            }
        })
    });
    let lane = start(setup(script, eager()), None);
    for number in 0..3 {
        push(&lane, event(number)).await;
    }
    let status = wait_for(&lane, |status| status.counts.accepted == 3).await;
    assert_eq!(status.counts.queued, 0);
}

#[tokio::test]
async fn a_changed_entry_ends_the_pause_of_the_old_one() {
    for whole in [true, false] {
        let day = Duration::from_hours(24);
        let mut policy = eager();
        policy.retry.max_delay = day;
        let later = move |_| {
            let never = outcome(OutcomeCodeV1::RETRY, u32::MAX);
            Some(Says::Outcome(BatchOutcomeV1 {
                all: if whole {
                    never.clone()
                } else {
                    OutcomeV1::accepted()
                },
                exceptions: vec![exception(0, never)].into(),
                instance: FateV1::WORKS,
            }))
        };
        let lane = start(setup(Script::answering(later), policy.clone()), None);
        push(&lane, event(0)).await;
        push(&lane, event(1)).await;
        let status = wait_for(&lane, |status| status.retrying > 0 && status.in_flight == 0).await;
        assert_eq!(status.last_error.as_deref(), Some("the script says so"));
        if whole {
            assert_eq!(status.paused_by, Some(PausedBy::Plugin), "{status:?}");
            let wait = status.next_attempt_s.expect("it pauses");
            assert!(
                wait <= day.as_secs_f64() && wait > day.as_secs_f64() - 60.0,
                "{wait}"
            );
        }
        // The plugin is another one, and nothing else.
        lane.switch(
            Destination::clone(&lane.destination()),
            setup(Script::accepting(), policy),
        );
        let status = wait_for(&lane, |status| status.counts.accepted == 2).await;
        assert_eq!((status.next_attempt_s, status.paused_by), (None, None));
        assert_eq!(status.last_error, None, "it has recovered");
    }
}

#[tokio::test]
async fn status_says_when_a_destination_that_does_not_connect_is_tried_again() {
    let mut policy = eager();
    policy.retry.max_delay = Duration::from_hours(1);
    policy.retry.first_delay = policy.retry.max_delay;
    let lane = start(setup(Script::refusing("no route to host"), policy), None);
    let status = wait_for(&lane, |status| status.next_attempt_s.is_some()).await;
    assert_eq!(status.paused_by, Some(PausedBy::Host));
    assert_eq!(status.state, InstanceState::Failed);
    assert!(
        status.last_error_age_s.is_some_and(|age| age < 60.0),
        "{status:?}"
    );
}

#[tokio::test]
async fn an_error_is_over_when_the_destination_has_recovered() {
    let works = Arc::new(AtomicBool::new(false));
    let (connects, delivers) = (Arc::clone(&works), Arc::clone(&works));
    let answers: Arc<Answers> = Arc::new(move |_| {
        Some(all(if delivers.load(Ordering::Relaxed) {
            OutcomeV1::accepted()
        } else {
            outcome(OutcomeCodeV1::RETRY, 0)
        }))
    });
    let script = Script(Arc::new(move |host| {
        if connects.load(Ordering::Relaxed) {
            Ok(instance(&answers, host))
        } else {
            Err(refusal("no route to host"))
        }
    }));
    let lane = start(setup(script, eager()), None);
    wait_for(&lane, |status| {
        status.last_error.as_deref() == Some("no route to host")
    })
    .await;
    works.store(true, Ordering::Relaxed);
    let connected = wait_for(&lane, |status| status.state == InstanceState::Connected).await;
    assert_eq!(
        (connected.last_error, connected.last_error_age_s),
        (None, None)
    );
    works.store(false, Ordering::Relaxed);
    push(&lane, event(0)).await;
    wait_for(&lane, |status| {
        status.last_error.as_deref() == Some("the script says so")
    })
    .await;
    works.store(true, Ordering::Relaxed);
    let delivered = wait_for(&lane, |status| status.counts.accepted == 1).await;
    assert_eq!(delivered.last_error, None, "{delivered:?}");
}

#[tokio::test]
async fn why_a_dead_letter_is_one_is_shown_though_others_are_delivered() {
    let first = AtomicBool::new(true);
    let script = Script::answering(move |_| {
        Some(all(if first.swap(false, Ordering::Relaxed) {
            outcome(OutcomeCodeV1::REJECTED, 0)
        } else {
            OutcomeV1::accepted()
        }))
    });
    let lane = start(setup(script, eager()), None);
    push(&lane, event(0)).await;
    wait_for(&lane, |status| status.counts.dead_lettered == 1).await;
    push(&lane, event(1)).await;
    let status = wait_for(&lane, |status| status.counts.accepted == 1).await;
    assert_eq!(
        status.last_error.as_deref(),
        Some("rejected: the script says so")
    );
}

#[tokio::test]
async fn nothing_is_in_flight_once_the_instance_is_gone() {
    let instances = AtomicUsize::new(0);
    let silent: Arc<Answers> = Arc::new(|_| None);
    let script = Script(Arc::new(move |host| {
        if instances.fetch_add(1, Ordering::Relaxed) == 0 {
            Ok(instance(&silent, host))
        } else {
            Err(refusal("gone"))
        }
    }));
    let policy = Policy {
        deadline: Duration::from_millis(100),
        ..eager()
    };
    let lane = start(setup(script, policy), None);
    for number in 0..5 {
        push(&lane, event(number)).await;
    }
    wait_for(&lane, |status| status.state == InstanceState::Failed).await;
    let status = wait_for(&lane, |status| status.last_error.as_deref() == Some("gone")).await;
    assert_eq!(
        (status.in_flight, status.counts.queued),
        (0, 5),
        "{status:?}"
    );
    assert!(status.retrying > 0, "{status:?}");
}

#[tokio::test]
async fn outcomes_for_events_that_a_batch_does_not_have_are_nobodys() {
    let lane = {
        let script = Script::answering(|events| {
            let events = u32::try_from(events).expect("batches are small");
            let rejected = || outcome(OutcomeCodeV1::REJECTED, 0);
            Some(Says::Outcome(BatchOutcomeV1 {
                all: OutcomeV1::accepted(),
                // Of two for one event, the last holds.
                exceptions: vec![
                    exception(events, rejected()),
                    exception(u32::MAX, rejected()),
                    exception(0, rejected()),
                    exception(0, OutcomeV1::accepted()),
                ]
                .into(),
                instance: FateV1::WORKS,
            }))
        });
        start(setup(script, eager()), None)
    };
    for number in 0..10 {
        push(&lane, event(number)).await;
    }
    let status = wait_for(&lane, |status| status.counts.queued == 0).await;
    assert_eq!(
        (status.counts.accepted, status.counts.dead_lettered),
        (10, 0)
    );
}

#[tokio::test]
async fn status_says_how_many_programs_wait_for_room() {
    let mut policy = eager();
    policy.queue.events = 1;
    let script = Script::answering(|_| None);
    let lane = start(setup(script, policy), None);
    push(&lane, event(0)).await;
    assert_eq!(lane.status().waiting_for_room, 0);
    let waiting: Vec<_> = (1..3)
        .map(|number| {
            let shared = Arc::clone(lane.shared());
            tokio::spawn(async move {
                let _ = shared
                    .push_waiting(&Arc::new(event(number)), Verdict::default())
                    .await;
            })
        })
        .collect();
    let status = wait_for(&lane, |status| status.waiting_for_room == 2).await;
    assert_eq!(status.counts.received, 1);
    assert_eq!(lane.shared().queue.why_full(), "its queue is full");
    // A program that gives up waits no more.
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    wait_for(&lane, |status| status.waiting_for_room == 0).await;
}
