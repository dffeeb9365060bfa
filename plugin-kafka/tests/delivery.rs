//! What arrives at a working broker.

mod support;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use evbus_sdk::EventId;
use evbus_sdk::serde_json::{Value, json};
use evbus_testkit::conformance::Conformance;
use evbus_testkit::{Outcome, TestEvent, idem_events};
use support::{SOON, assert_accepted, assert_rejected, harness, numbered, read};
use xtask::brokers::Kafka;

/// Topics appear with three partitions.
static BROKER: LazyLock<Kafka> = LazyLock::new(|| {
    Kafka::builder()
        .partitions(3)
        .start()
        .expect("Kafka starts")
});

fn config(more: Value) -> Value {
    let mut config = json!({"connection": {"bootstrap_servers": BROKER.bootstrap_servers()}});
    merge(&mut config, more);
    config
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

async fn publish(more: Value, events: Vec<TestEvent>) -> Vec<Outcome> {
    let instance = harness()
        .connect(config(more))
        .await
        .expect("the broker answers");
    let outcomes = instance.publish_all(events, SOON).await;
    assert!(instance.close().await);
    outcomes
}

fn topic(name: &str) -> Vec<support::Arrived> {
    read(&BROKER.bootstrap_servers(), name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_for_all_plugins_passes() {
    Conformance::new(harness())
        .config(config(json!({
            "connection": {"client_id": "conformance", "linger_ms": 1},
            "topics": ["conformance"],
            "key": "k",
        })))
        .second_config(config(json!({"topics": "conformance-second"})))
        .run()
        .await
        .assert_passes();
}

#[tokio::test(flavor = "multi_thread")]
async fn idems_events_arrive_byte_for_byte_with_their_headers() {
    let events = idem_events();
    assert_eq!(events.len(), 33);
    let topic_name = "idem-fixture";
    assert_accepted(
        &publish(
            json!({"topics": [topic_name], "partition": 0}),
            events.clone(),
        )
        .await,
    );

    let arrived = topic(topic_name);
    assert_eq!(arrived.len(), events.len());
    for (arrived, event) in arrived.iter().zip(&events) {
        assert_eq!(arrived.body, event.body());
        assert_eq!(arrived.key, None);
        let mut expected = BTreeMap::from([
            ("evbus-id".to_owned(), event.id_text()),
            ("evbus-profile".to_owned(), event.profile().to_owned()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ]);
        for (tag, value) in event.body_json()["tags"].as_object().into_iter().flatten() {
            if let Value::String(value) = value {
                expected.insert(tag.clone(), value.clone());
            }
        }
        let mut headers = arrived.headers.clone();
        let time: i64 = headers
            .remove("evbus-time")
            .and_then(|time| time.parse().ok())
            .expect("nanoseconds");
        assert_eq!(headers, expected);
        assert_eq!(arrived.timestamp_ms, Some(time / 1_000_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_topics_the_profile_names_the_topic_which_appears_with_its_first_event() {
    let first = TestEvent::text("by-profile", "first").time_unix_ns(1_700_000_000_123_456_789);
    let bad = TestEvent::text("no/topic", "bad");
    let outcomes = publish(json!({}), vec![first, bad]).await;
    assert_eq!(outcomes[0], Outcome::Accepted);
    assert_rejected(
        &outcomes[1],
        "the topic `no/topic` contains the character '/'",
    );

    let arrived = topic("by-profile");
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].text(), "first");
    assert_eq!(arrived[0].timestamp_ms, Some(1_700_000_000_123));
    assert_eq!(arrived[0].headers["evbus-time"], "1700000000123456789");
    assert_eq!(arrived[0].headers.get("evbus-profile"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn compact_headers_are_one_with_id_time_and_profile() {
    let event = TestEvent::json("some/profile", json!({})).time_unix_ns(1_700_000_000_123_456_789);
    let text = TestEvent::text("some/profile", "no JSON");
    let topic_name = "compact-headers";
    let config = json!({"topics": [topic_name], "partition": 0, "headers": "compact"});
    assert_accepted(&publish(config, vec![event.clone(), text]).await);
    let arrived = topic(topic_name);
    let [(name, value)] = &arrived[0].header_bytes[..] else {
        panic!("expected one header: {:?}", arrived[0].header_bytes);
    };
    assert_eq!(name, "evbus");
    let id = EventId(value[..16].try_into().expect("sixteen bytes"));
    assert_eq!(id.to_string(), event.id_text());
    assert_eq!(value[16..24], 1_700_000_000_123_456_789_u64.to_be_bytes());
    assert_eq!(&value[24..], b"some/profile");
    assert_eq!(arrived[1].headers["content-type"], "text/plain");
    assert_eq!(arrived[1].header_bytes.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn compact_headers_leave_out_a_profile_that_the_topic_tells() {
    let event = TestEvent::json("compact-by-profile", json!({}));
    assert_accepted(&publish(json!({"headers": "compact"}), vec![event]).await);
    let arrived = topic("compact-by-profile");
    assert_eq!(arrived[0].header_bytes[0].1.len(), 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_headers_a_message_is_the_body_alone() {
    let config = json!({"topics": ["without-headers"], "partition": 0, "headers": "none"});
    assert_accepted(&publish(config, vec![TestEvent::json("p", json!(1))]).await);
    let arrived = topic("without-headers");
    assert_eq!(arrived[0].body, b"1");
    assert_eq!(arrived[0].header_bytes, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_topic_of_the_list_gets_every_event() {
    let topics = json!({"topics": ["all-1", "all-2", "all-3"]});
    assert_accepted(&publish(topics, numbered("p", 100)).await);
    for name in ["all-1", "all-2", "all-3"] {
        assert_eq!(topic(name).len(), 100, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_and_partition_are_set() {
    assert_accepted(
        &publish(
            json!({"topics": "keyed", "key": "schlüssel"}),
            numbered("p", 50),
        )
        .await,
    );
    let arrived = topic("keyed");
    assert_eq!(arrived.len(), 50);
    for message in &arrived {
        assert_eq!(message.key.as_deref(), Some("schlüssel".as_bytes()));
        assert_eq!(message.partition, arrived[0].partition);
    }
    assert_accepted(
        &publish(
            json!({"topics": "placed", "partition": 2}),
            numbered("p", 50),
        )
        .await,
    );
    let arrived = topic("placed");
    assert_eq!(arrived.len(), 50);
    assert!(arrived.iter().all(|message| message.partition == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_arrives_as_it_was() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let name = format!("codec-{codec}");
        let more =
            json!({"connection": {"compression_type": codec}, "topics": name, "partition": 0});
        assert_accepted(&publish(more, idem_events()).await);
        let bodies: Vec<_> = topic(&name)
            .into_iter()
            .map(|message| message.body)
            .collect();
        let expected: Vec<_> = idem_events()
            .iter()
            .map(|event| event.body().to_vec())
            .collect();
        assert_eq!(bodies, expected, "{codec}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weaker_acknowledgements_work() {
    for acks in [json!(1), json!("1"), json!(0), json!("0")] {
        let more = json!({"connection": {"acks": acks}, "topics": "weak-acks", "key": "k"});
        assert_accepted(&publish(more, numbered("p", 10)).await);
    }
    // With `acks: 0`, nothing confirms that they arrived.
    assert!(topic("weak-acks").len() >= 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_too_large_for_the_client_is_rejected_and_the_others_of_its_batch_are_not() {
    let more = json!({"connection": {"max_request_size": 2000}, "topics": "client-limit"});
    let mut events = numbered("p", 9);
    events.insert(4, TestEvent::text("p", &"x".repeat(3000)));
    let outcomes = publish(more, events).await;
    assert_rejected(
        &outcomes[4],
        "a message with a body of 3000 bytes is too large for topic `client-limit`",
    );
    let accepted = outcomes.iter().filter(|o| **o == Outcome::Accepted);
    assert_eq!(accepted.count(), 9);
    assert_eq!(topic("client-limit").len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_waited_for_and_keeps_the_order() {
    let more = json!({
        "connection": {"queue.buffering.max.messages": 100, "linger_ms": 0},
        "topics": "full-queue",
        "partition": 1,
    });
    let instance = harness()
        .connect(config(more))
        .await
        .expect("the broker answers");
    let flying: Vec<_> = numbered("p", 4000)
        .chunks(1000)
        .map(|batch| instance.publish(batch.to_vec()))
        .collect();
    for batch in flying {
        assert_accepted(&batch.await);
    }
    let order: Vec<_> = topic("full-queue")
        .iter()
        .map(support::Arrived::text)
        .collect();
    assert_eq!(order, (0..4000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn four_batches_in_flight_keep_the_order_of_twenty_thousand_events() {
    let more = json!({"topics": "ordered", "key": "k"});
    let instance = harness()
        .connect(config(more))
        .await
        .expect("the broker answers");
    assert_eq!(instance.limits().max_in_flight, 4);
    let flying: Vec<_> = numbered("p", 20_000)
        .chunks(5_000)
        .map(|batch| instance.publish(batch.to_vec()))
        .collect();
    for batch in flying {
        assert_accepted(&batch.await);
    }
    let order: Vec<_> = topic("ordered")
        .iter()
        .map(support::Arrived::text)
        .collect();
    assert_eq!(
        order,
        (0..20_000).map(|n| n.to_string()).collect::<Vec<_>>()
    );
}
