//! Consumers of the brokers that are not this project's plugins: lapin and librdkafka themselves.
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::time::{Duration, Instant};

use lapin::options::BasicGetOptions;
use lapin::{Connection, ConnectionProperties};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::support::{PATIENCE, wait_for};

/// What arrived, as (id, body).
pub type Arrived = Vec<(String, Value)>;

/// Takes `count` messages off a queue and everything that is there besides.
pub async fn read_queue(url: String, queue: &'static str, count: usize) -> Arrived {
    let connection = Connection::connect(&url, ConnectionProperties::default())
        .await
        .expect("RabbitMQ lets the test in");
    let mut channel = connection.create_channel().await.unwrap();
    let mut arrived = Vec::new();
    let start = Instant::now();
    loop {
        let options = BasicGetOptions { no_ack: true };
        match channel.basic_get(queue.into(), options).await {
            Ok(Some(message)) => {
                let delivery = message.delivery;
                let id = delivery.properties.message_id().as_ref();
                let id = id.expect("it has an id").to_string();
                let body = serde_json::from_slice(&delivery.data).expect("the body is JSON");
                arrived.push((id, body));
                continue;
            }
            Ok(None) if arrived.len() >= count => return arrived,
            Ok(None) => {}
            // The plugin has not declared the queue yet, and the broker closes the channel.
            Err(_) => channel = connection.create_channel().await.unwrap(),
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{queue}: {} of {count}",
            arrived.len()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads a topic of one partition from its beginning until `count` messages have come and no more
/// are there.
pub fn read_topic(servers: &str, topic: &str, count: usize) -> Arrived {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset(topic, 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&assignment).unwrap();
    let high = wait_for(&format!("{count} messages in topic {topic}"), || {
        let (_, high) = consumer.fetch_watermarks(topic, 0, PATIENCE).ok()?;
        let high = usize::try_from(high).unwrap();
        (high >= count).then_some(high)
    });
    let mut arrived = Vec::new();
    while arrived.len() < high {
        let Some(message) = consumer.poll(PATIENCE) else {
            panic!("{topic}: {} of {high}", arrived.len());
        };
        let message = message.expect("the broker delivers");
        let headers = message.headers().expect("it has headers");
        let id = headers
            .iter()
            .find(|header| header.key == "evbus-id")
            .and_then(|header| header.value)
            .expect("it has an id");
        let body = serde_json::from_slice(message.payload().unwrap()).expect("the body is JSON");
        arrived.push((String::from_utf8_lossy(id).into_owned(), body));
    }
    arrived
}
