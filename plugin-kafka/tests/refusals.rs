//! A broker that does not create topics and accepts only small message sets.

mod support;

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Instant;

use evbus_sdk::serde_json::{Value, json};
use evbus_testkit::{Instance, Outcome, TestEvent};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use support::{Arrived, SOON, assert_accepted, assert_rejected, harness, numbered, read};
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

async fn connected(topics: Value) -> Instance {
    let config = json!({
        "connection": {
            "bootstrap_servers": BROKER.bootstrap_servers(),
            "topic.metadata.propagation.max.ms": 1000,
        },
        "topics": topics,
    });
    harness().connect(config).await.expect("the broker answers")
}

async fn publish(topics: Value, events: Vec<TestEvent>) -> Vec<Outcome> {
    connected(topics).await.publish(events).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_goes_has_its_events_rejected_and_another_one_of_the_same_event_still_gets_it()
{
    for topic in ["unknown", "known"] {
        BROKER
            .create_topic(topic, 1)
            .expect("the broker makes topics");
    }
    let instance = connected(json!(["unknown", "known"])).await;
    BROKER
        .delete_topic("unknown")
        .expect("the broker removes topics");
    // The client may first learn that there is no partition, and then that there is no topic.
    let outcomes = instance.publish_all(numbered("p", 20), SOON).await;
    for outcome in &outcomes {
        assert_rejected(outcome, "topic `unknown` does not exist");
    }
    let arrived = read(&BROKER.bootstrap_servers(), "known");
    let arrived: BTreeSet<String> = arrived.iter().map(Arrived::text).collect();
    assert_eq!(arrived.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_later_is_found() {
    let config = json!({
        "connection": {
            "bootstrap_servers": BROKER.bootstrap_servers(),
            "topic.metadata.propagation.max.ms": 100,
        },
    });
    let instance = harness().connect(config).await.expect("the broker answers");
    let outcomes = instance.publish(numbered("late", 1)).await;
    assert_rejected(&outcomes[0], "topic `late` does not exist");
    BROKER
        .create_topic("late", 1)
        .expect("the broker makes topics");
    let deadline = Instant::now() + SOON;
    while instance.publish(numbered("late", 1)).await != [Outcome::Accepted] {
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

#[tokio::test(flavor = "multi_thread")]
async fn however_many_events_are_too_large_the_others_are_stored_once_and_soon() {
    const COUNT: usize = 3000;
    // With its headers an event is about half as large as the limit, so two do not fit into a set.
    let topic =
        NewTopic::new("tiny", 2, TopicReplication::Fixed(1)).set("max.message.bytes", "300");
    let made = admin().create_topics([&topic], &AdminOptions::new()).await;
    assert_eq!(made, Ok(vec![Ok("tiny".to_owned())]));

    let is_large = |n: usize| n % 5 == 2;
    let event = |n: usize| {
        let body = if is_large(n) {
            "x".repeat(400)
        } else {
            n.to_string()
        };
        TestEvent::text("p", &body)
    };
    let started = Instant::now();
    let outcomes = publish(json!("tiny"), (0..COUNT).map(event).collect()).await;
    let elapsed = started.elapsed();
    for (n, outcome) in outcomes.iter().enumerate() {
        if is_large(n) {
            assert_rejected(
                outcome,
                "a message with a body of 400 bytes is too large for topic `tiny`",
            );
        } else {
            assert_eq!(*outcome, Outcome::Accepted, "event {n}");
        }
    }
    // Far less than the host's deadline for a batch.
    assert!(elapsed < SOON / 2, "{elapsed:?}");
    let mut arrived: Vec<usize> = read(&BROKER.bootstrap_servers(), "tiny")
        .iter()
        .map(|message| message.text().parse().expect("a number"))
        .collect();
    arrived.sort_unstable();
    let expected: Vec<usize> = (0..COUNT).filter(|n| !is_large(*n)).collect();
    assert_eq!(arrived, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_a_topic_gains_later_gets_its_events_then() {
    BROKER
        .create_topic("growing", 1)
        .expect("the broker makes topics");
    let config = json!({
        "connection": {"bootstrap_servers": BROKER.bootstrap_servers()},
        "topics": "growing",
        "partition": 1,
    });
    let instance = harness().connect(config).await.expect("the broker answers");
    // The first event may wait until the topic is known; later ones are refused at once.
    for _ in 0..2 {
        let outcomes = instance.publish(numbered("p", 1)).await;
        assert!(matches!(outcomes[0], Outcome::Retry { .. }), "{outcomes:?}");
        let reason = outcomes[0].reason();
        assert!(
            reason.contains("topic `growing` has no partition 1"),
            "{reason}"
        );
    }
    let grown = admin()
        .create_partitions([&NewPartitions::new("growing", 2)], &AdminOptions::new())
        .await;
    assert_eq!(grown, Ok(vec![Ok("growing".to_owned())]));
    assert_accepted(&instance.publish_all(numbered("p", 10), SOON).await);
    let arrived = read(&BROKER.bootstrap_servers(), "growing");
    assert!(arrived.iter().all(|message| message.partition == 1));
    assert_eq!(arrived.len(), 10);
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", BROKER.bootstrap_servers())
        .create()
        .expect("an admin client can be made")
}
