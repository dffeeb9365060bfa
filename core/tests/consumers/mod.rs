//! Consumers of the brokers that are not this project's plugins: lapin and librdkafka themselves, and the list of queues of
//! `RabbitMQ`'s own tool.
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::fmt::Debug;
use std::time::{Duration, Instant};

use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use xtask::brokers::RabbitMq;

use crate::support::{PATIENCE, wait_for};

/// What arrived, as (id, body).
pub type Arrived = Vec<(String, Value)>;

/// A message of `RabbitMQ`.
#[derive(Debug)]
pub struct Message {
    pub queue: String,
    pub exchange: String,
    pub routing_key: String,
    pub properties: BasicProperties,
    pub body: Value,
}

impl Message {
    pub fn id(&self) -> String {
        let id = self.properties.message_id().as_ref();
        id.expect("it has an id").to_string()
    }

    /// A header that is a text.
    pub fn header(&self, name: &str) -> Option<String> {
        match self.properties.headers().as_ref()?.inner().get(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Takes `count` messages off a queue and everything that is there besides.
pub async fn read_messages(url: String, queue: &str, count: usize) -> Vec<Message> {
    let connection = Connection::connect(&url, ConnectionProperties::default())
        .await
        .expect("RabbitMQ lets the test in");
    let mut channel = connection.create_channel().await.unwrap();
    let mut messages = Vec::new();
    let start = Instant::now();
    loop {
        let options = BasicGetOptions { no_ack: true };
        match channel.basic_get(queue.into(), options).await {
            Ok(Some(message)) => {
                let delivery = message.delivery;
                messages.push(Message {
                    queue: queue.to_owned(),
                    exchange: delivery.exchange.to_string(),
                    routing_key: delivery.routing_key.to_string(),
                    body: serde_json::from_slice(&delivery.data).expect("the body is JSON"),
                    properties: delivery.properties,
                });
                continue;
            }
            Ok(None) if messages.len() >= count => return messages,
            Ok(None) => {}
            // The plugin has not declared the queue yet, and the broker closes the channel.
            Err(_) => channel = connection.create_channel().await.unwrap(),
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{queue}: {} of {count}",
            messages.len()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As [`read_messages`], ids and bodies only.
pub async fn read_queue(url: String, queue: &str, count: usize) -> Arrived {
    let messages = read_messages(url, queue, count).await;
    (messages.into_iter())
        .map(|message| (message.id(), message.body))
        .collect()
}

/// The names of all queues of the broker, sorted.
pub fn queues(broker: &RabbitMq) -> Vec<String> {
    let listed = broker.ctl(&["list_queues", "--no-table-headers", "name"]);
    let mut names: Vec<String> = listed.unwrap().lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// A message of Kafka.
#[derive(Debug)]
pub struct Record {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    /// In their order.
    pub headers: Vec<(String, Vec<u8>)>,
    pub value: Value,
}

impl Record {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            (headers.iter())
                .map(|header| {
                    let value = header.value.unwrap_or_default().to_vec();
                    (header.key.to_owned(), value)
                })
                .collect()
        });
        let key = message.key().map(<[u8]>::to_vec);
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: key.map(|key| String::from_utf8(key).expect("the key is text")),
            headers,
            value: serde_json::from_slice(message.payload().unwrap()).expect("the body is JSON"),
        }
    }

    pub fn id(&self) -> String {
        self.header("evbus-id").expect("it has an id")
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }
}

/// The names of all topics of the brokers but Kafka's own, sorted.
pub fn topics(servers: &str) -> Vec<String> {
    // Asking for all topics creates none.
    let metadata = consumer(servers).fetch_metadata(None, PATIENCE).unwrap();
    let names = (metadata.topics().iter()).map(|topic| topic.name().to_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with("__")).collect();
    names.sort();
    names
}

/// Reads topics from their beginning until they have had `count` messages together and no more are there. Sorted by topic,
/// partition and offset.
pub fn read_records(
    servers: &str,
    topics: &[impl AsRef<str> + Debug],
    count: usize,
) -> Vec<Record> {
    let consumer = consumer(servers);
    let (ends, high) = wait_for(&format!("{count} messages in {topics:?}"), || {
        let ends = ends(&consumer, topics)?;
        let high: usize = ends.iter().map(|(_, _, high)| *high).sum();
        (high >= count).then_some((ends, high))
    });
    let mut assignment = TopicPartitionList::new();
    for (topic, partition, _) in &ends {
        assignment
            .add_partition_offset(topic, *partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut records = Vec::new();
    while records.len() < high {
        let Some(message) = consumer.poll(PATIENCE) else {
            panic!("{topics:?}: {} of {high}", records.len());
        };
        records.push(Record::of(&message.expect("the broker delivers")));
    }
    records.sort_by_key(|record| (record.topic.clone(), record.partition, record.offset));
    records
}

/// As [`read_records`], for one topic, ids and bodies only.
pub fn read_topic(servers: &str, topic: &str, count: usize) -> Arrived {
    let records = read_records(servers, &[topic], count);
    (records.into_iter())
        .map(|record| (record.id(), record.value))
        .collect()
}

fn consumer(servers: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap()
}

/// Each partition with the number of its messages; `None` while a topic is not there.
fn ends<'a>(
    consumer: &BaseConsumer,
    topics: &'a [impl AsRef<str>],
) -> Option<Vec<(&'a str, i32, usize)>> {
    let mut ends = Vec::new();
    for topic in topics.iter().map(AsRef::as_ref) {
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).ok()?;
        let partitions = metadata.topics().first()?.partitions();
        if partitions.is_empty() {
            return None;
        }
        for partition in partitions {
            let (_, high) = consumer
                .fetch_watermarks(topic, partition.id(), PATIENCE)
                .ok()?;
            ends.push((topic, partition.id(), usize::try_from(high).unwrap()));
        }
    }
    Some(ends)
}
