//! What an instance costs while it waits for its broker. Alone in its file, because it measures the whole process.

mod support;

use std::time::Duration;

use evbus_sdk::serde_json::json;
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use support::{assert_accepted, harness, numbered};
use tokio::task::JoinSet;
use xtask::brokers::Kafka;

const WAIT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_broker_that_does_not_answer_takes_no_processor_time() {
    let broker = Kafka::start().expect("Kafka starts");
    let instance = harness()
        .connect(json!({
            "connection": {"bootstrap_servers": broker.bootstrap_servers()},
            "topics": "waiting",
        }))
        .await
        .expect("the broker answers");
    assert_accepted(&instance.publish(numbered("p", 1)).await);

    let pid = broker.pid().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(Pid::from_raw).expect("the broker runs");
    kill_process(pid, Signal::STOP).expect("the broker runs");
    let mut batches = JoinSet::new();
    for _ in 0..instance.limits().max_in_flight {
        batches.spawn(instance.publish(numbered("p", 100)));
    }
    let before = processor_time();
    // It is the wait that is measured.
    tokio::time::sleep(WAIT).await;
    let spent = processor_time().saturating_sub(before);
    kill_process(pid, Signal::CONT).expect("the broker runs");

    while let Some(outcomes) = batches.join_next().await {
        assert_accepted(&outcomes.expect("no panic"));
    }
    assert!(spent < WAIT / 4, "{spent:?} of {WAIT:?}");
}

/// That of all threads of this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("it is not negative")
}
