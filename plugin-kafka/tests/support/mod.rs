//! What the tests share: a consumer that is not the code under test, and configurations.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file uses a part of it"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use evbus_sdk::serde_json::Value;
use evbus_testkit::{Harness, Outcome, TestEvent};
use plugin_kafka::Kafka;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Longest wait for anything that should happen at once.
pub const SOON: Duration = Duration::from_secs(30);

/// The plugin, linked into the test.
pub fn harness() -> Harness {
    Harness::provider::<Kafka>()
}

/// The faults of a configuration, one line each.
pub fn faults(config: Value) -> Vec<String> {
    harness()
        .check(config)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Asserts that a configuration has one fault, at this path and with this text.
#[track_caller]
pub fn assert_fault(config: Value, path: &str, text: &str) {
    let faults = faults(config);
    assert!(
        faults.len() == 1
            && faults[0].starts_with(&format!("{path}: "))
            && faults[0].contains(text),
        "{faults:?} is not one fault at {path} about `{text}`"
    );
}

/// A message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub body: Vec<u8>,
    pub key: Option<Vec<u8>>,
    pub partition: i32,
    pub timestamp_ms: Option<i64>,
    pub headers: BTreeMap<String, String>,
    /// Their values as they are.
    pub header_bytes: Vec<(String, Vec<u8>)>,
}

impl Arrived {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the tests send text")
    }
}

/// Everything that a topic holds, partition by partition. Blocks; panics after [`SOON`].
pub fn read(servers: &str, topic: &str) -> Vec<Arrived> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "not-used")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer can be made");
    let metadata = consumer
        .fetch_metadata(Some(topic), SOON)
        .expect("the broker describes the topic");
    let mut assignment = TopicPartitionList::new();
    let mut missing = 0;
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer
            .fetch_watermarks(topic, partition.id(), SOON)
            .expect("the broker knows the partition");
        missing += high - low;
        assignment
            .add_partition_offset(topic, partition.id(), Offset::Beginning)
            .expect("an offset that exists");
    }
    consumer.assign(&assignment).expect("an assignment");
    let deadline = Instant::now() + SOON;
    let mut arrived = Vec::new();
    while missing > 0 {
        assert!(
            Instant::now() < deadline,
            "{topic}: {missing} messages did not come"
        );
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("the broker delivers");
            arrived.push(Arrived {
                body: message.payload().unwrap_or_default().to_vec(),
                key: message.key().map(<[u8]>::to_vec),
                partition: message.partition(),
                timestamp_ms: message.timestamp().to_millis(),
                headers: headers(&message),
                header_bytes: header_bytes(&message),
            });
            missing -= 1;
        }
    }
    arrived.sort_by_key(|message| message.partition);
    arrived
}

fn header_bytes(message: &impl Message) -> Vec<(String, Vec<u8>)> {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    headers
        .map(|header| {
            let value = header.value.unwrap_or_default();
            (header.key.to_owned(), value.to_vec())
        })
        .collect()
}

fn headers(message: &impl Message) -> BTreeMap<String, String> {
    let Some(headers) = message.headers() else {
        return BTreeMap::new();
    };
    let mut map = BTreeMap::new();
    for header in headers.iter() {
        let value = String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
        let before = map.insert(header.key.to_owned(), value);
        assert_eq!(before, None, "the header {} comes twice", header.key);
    }
    map
}

/// Text events `0`, `1`, ... under one profile.
pub fn numbered(profile: &str, count: usize) -> Vec<TestEvent> {
    (0..count)
        .map(|n| TestEvent::text(profile, &n.to_string()))
        .collect()
}

/// Asserts that all were accepted.
#[track_caller]
pub fn assert_accepted(outcomes: &[Outcome]) {
    let failed = outcomes
        .iter()
        .find(|outcome| **outcome != Outcome::Accepted);
    assert_eq!(failed, None, "of {} events", outcomes.len());
}

/// Asserts that it was rejected with a reason that contains the text.
#[track_caller]
pub fn assert_rejected(outcome: &Outcome, text: &str) {
    assert!(
        matches!(outcome, Outcome::Rejected { reason } if reason.contains(text)),
        "{outcome:?} is not a rejection for `{text}`"
    );
}
