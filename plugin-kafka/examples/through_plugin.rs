//! `through_plugin SERVERS TOPIC COUNT` publishes COUNT bodies of 223 bytes through the plugin and prints events per
//! second.
//!
//! Batches are made and handed over as a host would: as many and as large as the plugin's limits
//! say. Events carry the tags that Idem's do.

use std::time::Instant;

use evbus_sdk::serde_json::json;
use evbus_testkit::{Harness, Outcome, TestEvent};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, topic, count] = arguments.as_slice() else {
        eprintln!("usage: through_plugin SERVERS TOPIC COUNT");
        std::process::exit(2);
    };
    let count: usize = count.parse().expect("COUNT is a number");
    let config = json!({"connection": {"bootstrap_servers": servers}, "topics": topic});
    let harness = Harness::provider::<plugin_kafka::Kafka>();
    let instance = harness.connect(config).await.expect("a broker answers");
    let event = || {
        TestEvent::bytes("idem-state", "application/json", vec![b'x'; 223])
            .tag("ref", "states.test.present")
            .tag("type", "state-result")
    };
    assert_eq!(instance.publish(vec![event()]).await, [Outcome::Accepted]);

    let limits = instance.limits();
    let largest = (limits.max_batch_bytes / 223).min(limits.max_batch_events.into());
    let largest = usize::try_from(largest).expect("it fits into memory");
    let mut batches: Vec<Vec<TestEvent>> = Vec::new();
    let events: Vec<TestEvent> = (0..count).map(|_| event()).collect();
    batches.extend(events.chunks(largest).map(<[TestEvent]>::to_vec));

    let started = Instant::now();
    let mut flying = JoinSet::new();
    let mut failed = 0;
    for batch in batches {
        while flying.len() >= limits.max_in_flight as usize {
            failed += flying.join_next().await.map_or(0, failures);
        }
        flying.spawn(instance.publish(batch));
    }
    while let Some(outcomes) = flying.join_next().await {
        failed += failures(outcomes);
    }
    let seconds = started.elapsed().as_secs_f64();
    #[allow(
        clippy::cast_precision_loss,
        reason = "a rate is printed without its last digits"
    )]
    let rate = count as f64 / seconds;
    println!("through_plugin: {count} events, {failed} failed, {seconds:.3} s, {rate:.0} events/s");
}

fn failures(outcomes: Result<Vec<Outcome>, tokio::task::JoinError>) -> usize {
    outcomes
        .expect("the task does not panic")
        .iter()
        .filter(|outcome| **outcome != Outcome::Accepted)
        .count()
}
