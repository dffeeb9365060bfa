//! `max_age`: what is too old is given up while the destination is away, and only then.

use super::*;

const AGO: Duration = Duration::from_hours(2);

fn one_hour() -> Policy {
    let mut policy = eager();
    policy.retry.max_age = Some(Duration::from_hours(1));
    policy
}

#[tokio::test]
async fn events_without_an_attempt_are_given_up_while_the_destination_cannot_connect() {
    let lane = start(
        setup(Script::refusing("no route to host"), one_hour()),
        None,
    );
    for number in 0..20 {
        push(&lane, fired_ago(number, AGO)).await;
    }
    push(&lane, event(20)).await;
    let status = wait_for(&lane, |status| status.counts.dead_lettered == 20).await;
    assert_eq!(status.counts.queued, 1, "one is young");
    assert_adds_up(status.counts);
    assert_eq!(status.last_error.as_deref(), Some("no route to host"));
}

#[tokio::test]
async fn events_on_disk_are_given_up_too_and_their_letters_say_why() {
    let disk = Disk::new();
    let policy = Policy {
        queue: QueueLimits {
            events: 4,
            bytes: 1 << 20,
        },
        ..one_hour()
    };
    let lane = start(
        setup(Script::refusing("no route to host"), policy),
        Some(disk.journal()),
    );
    for number in 0..200 {
        push(&lane, fired_ago(number, AGO)).await;
    }
    let status = wait_for(&lane, |status| status.counts.dead_lettered == 200).await;
    assert_eq!(status.counts.queued, 0);
    lane.stop(Duration::from_secs(10)).await.expect("it ends");
    drop(lane);
    let mut letters = Vec::new();
    let filter = evbus_store::deadletters::Filter::default();
    evbus_store::deadletters::each(disk.dir.path(), &filter, false, |letter| {
        letters.push(letter.error);
        true
    })
    .expect("they can be read");
    assert_eq!(letters.len(), 200);
    for letter in letters {
        assert!(
            letter.starts_with("given up 72")
                && letter.ends_with(" s after it was fired, without an attempt: no route to host"),
            "{letter}"
        );
    }
}

#[tokio::test]
async fn events_are_given_up_while_the_destination_pauses() {
    let mut policy = one_hour();
    policy.retry.max_delay = Duration::from_hours(24);
    let never = |_| Some(all(outcome(OutcomeCodeV1::RETRY, u32::MAX)));
    for ordered in [false, true] {
        let policy = Policy {
            ordered,
            ..policy.clone()
        };
        let lane = start(setup(Script::answering(never), policy), None);
        // It fails young, and gets old while the destination pauses.
        let almost = Duration::from_secs(3597);
        push(&lane, fired_ago(0, almost)).await;
        wait_for(&lane, |status| status.next_attempt_s.is_some()).await;
        for number in 1..5 {
            push(&lane, fired_ago(number, AGO)).await;
        }
        let status = wait_for(&lane, |status| status.counts.dead_lettered == 5).await;
        assert_eq!(status.counts.queued, 0);
    }
}

#[tokio::test]
async fn old_events_are_given_up_while_the_plugin_says_that_the_far_system_is_gone() {
    let silent: Arc<Answers> = Arc::new(|_| None);
    let script = Script(Arc::new(move |host| {
        let made = instance(&silent, host);
        Ok(made)
    }));
    let mut policy = one_hour();
    policy.batch.events = Some(1);
    let lane = start(setup(script, policy), None);
    wait_for(&lane, |status| status.state == InstanceState::Connected).await;
    // As the plugin's own report does.
    lane.shared().observed.set(InstanceState::Disconnected);
    for number in 0..20 {
        push(&lane, fired_ago(number, AGO)).await;
    }
    // Three batches may be in the plugin's hands; whatever is not is given up.
    let settled = |status: &LaneStatus| status.counts.dead_lettered >= 17;
    let status = wait_for(&lane, settled).await;
    assert!(status.in_flight <= 3, "{status:?}");
    assert_adds_up(status.counts);
}

#[tokio::test]
async fn an_event_is_tried_however_old_where_the_destination_takes_it() {
    let lane = start(setup(Script::accepting(), one_hour()), None);
    wait_for(&lane, |status| status.state == InstanceState::Connected).await;
    for number in 0..20 {
        push(&lane, fired_ago(number, AGO)).await;
    }
    let status = wait_for(&lane, |status| status.counts.queued == 0).await;
    assert_eq!(status.counts.accepted, 20);
}

#[tokio::test]
async fn a_host_that_was_down_for_long_delivers_what_it_has_on_disk() {
    let disk = Disk::new();
    let lane = start(setup(Script::refusing("no"), eager()), Some(disk.journal()));
    for number in 0..20 {
        push(&lane, fired_ago(number, AGO)).await;
    }
    lane.stop(Duration::from_secs(10)).await.expect("it ends");
    drop(lane);
    let lane = start(setup(Script::accepting(), one_hour()), Some(disk.journal()));
    let status = wait_for(&lane, |status| status.counts.queued == 0).await;
    assert_eq!(status.counts.accepted, 20);
}
