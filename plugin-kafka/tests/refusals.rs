//! A broker that makes no topics by itself and takes only small message sets.

mod support;

use std::sync::LazyLock;
use std::time::Instant;

use evbus_sdk::serde_json::{Value, json};
use evbus_testkit::{Outcome, TestEvent};
use support::{SOON, assert_accepted, assert_rejected, harness, numbered, read};
use xtask::brokers::Kafka;

/// Most bytes in a message set.
const LIMIT: u32 = 3000;

static BROKER: LazyLock<Kafka> = LazyLock::new(|| {
    Kafka::builder()
        .auto_create_topics(false)
        .message_max_bytes(LIMIT)
        .start()
        .expect("Kafka starts")
});

async fn publish(topics: Value, events: Vec<TestEvent>) -> Vec<Outcome> {
    let config = json!({
        "connection": {
            "bootstrap_servers": BROKER.bootstrap_servers(),
            "topic.metadata.propagation.max.ms": 1000,
        },
        "topics": topics,
    });
    let instance = harness().connect(config).await.expect("the broker answers");
    instance.publish(events).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_is_rejected_and_a_known_one_of_the_same_event_still_gets_it() {
    BROKER
        .create_topic("known", 1)
        .expect("the broker makes topics");
    let outcomes = publish(json!(["unknown", "known"]), numbered("p", 20)).await;
    for outcome in &outcomes {
        assert_rejected(outcome, "topic `unknown` does not exist");
    }
    assert_eq!(read(&BROKER.bootstrap_servers(), "known").len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_later_is_found() {
    let config = json!({
        "connection": {
            "bootstrap_servers": BROKER.bootstrap_servers(),
            "topic.metadata.propagation.max.ms": 100,
        },
        "topics": "late",
    });
    let instance = harness().connect(config).await.expect("the broker answers");
    let outcomes = instance.publish(numbered("p", 1)).await;
    assert_rejected(&outcomes[0], "topic `late` does not exist");
    BROKER
        .create_topic("late", 1)
        .expect("the broker makes topics");
    let deadline = Instant::now() + SOON;
    while instance.publish(numbered("p", 1)).await != [Outcome::Accepted] {
        assert!(Instant::now() < deadline, "the topic is not found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_message_set_that_the_broker_finds_too_large_only_the_large_event_is_rejected() {
    BROKER
        .create_topic("small-sets", 1)
        .expect("the broker makes topics");
    let mut events = numbered("p", 200);
    events.insert(77, TestEvent::text("p", &"x".repeat(LIMIT as usize + 100)));
    let outcomes = publish(json!("small-sets"), events).await;
    assert_rejected(&outcomes[77], "is too large for topic `small-sets`");
    let others: Vec<_> = [&outcomes[..77], &outcomes[78..]].concat();
    assert_accepted(&others);
    let mut arrived: Vec<usize> = read(&BROKER.bootstrap_servers(), "small-sets")
        .iter()
        .map(|message| message.text().parse().expect("a number"))
        .collect();
    arrived.sort_unstable();
    assert_eq!(arrived, (0..200).collect::<Vec<_>>());
}
