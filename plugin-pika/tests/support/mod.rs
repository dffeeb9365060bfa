//! What the tests share: brokers, a consumer that is not the code under test, and configurations.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file uses a part of it"
)]

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evbus_testkit::{Harness, Instance, Outcome, TestEvent};
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use plugin_pika::Pika;
use serde_json::{Value, json};
use xtask::brokers::RabbitMq;

/// Longest wait for anything that should happen at once.
pub const SOON: Duration = Duration::from_mins(1);

/// A user who may write to the exchange `open` and nothing else.
pub const LIMITED: (&str, &str) = ("limited", "limited-secret");

/// The broker that the tests of a file share; it ends with the process.
pub fn broker() -> &'static RabbitMq {
    static BROKER: OnceLock<RabbitMq> = OnceLock::new();
    BROKER.get_or_init(|| {
        RabbitMq::builder()
            .user(LIMITED.0, LIMITED.1)
            .permission(LIMITED.0, "/", ["", "^(open|there-.*)$", ""])
            .setting("max_message_size = 16777216")
            .start()
            .expect("RabbitMQ starts")
    })
}

/// The plugin, linked into the test.
pub fn harness() -> Harness {
    Harness::provider::<Pika>()
}

/// A name that no other test uses.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A configuration with a connection to the broker, and the keys beside it.
pub fn config(broker: &RabbitMq, beside: Value) -> Value {
    let mut config = beside;
    config["connection"] = json!({"url": broker.url()});
    config
}

/// An instance that is connected to the shared broker.
pub async fn connected(beside: Value) -> Instance {
    harness()
        .connect(config(broker(), beside))
        .await
        .expect("the broker lets the plugin in")
}

/// An independent client.
pub struct Client {
    pub channel: Channel,
    _connection: Connection,
}

impl Client {
    pub async fn new(broker: &RabbitMq) -> Self {
        let connection = Connection::connect(&broker.url(), ConnectionProperties::default())
            .await
            .expect("the broker lets the test in");
        let channel = connection.create_channel().await.expect("a channel");
        Self {
            channel,
            _connection: connection,
        }
    }

    pub async fn declare(&self, queue: &str) {
        self.channel
            .queue_declare(
                queue.into(),
                QueueDeclareOptions::durable(),
                FieldTable::default(),
            )
            .await
            .expect("the queue is declared");
    }

    pub async fn exchange(&self, name: &str, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions::default();
        self.channel
            .exchange_declare(name.into(), kind, options, FieldTable::default())
            .await
            .expect("the exchange is declared");
    }

    pub async fn remove_exchange(&self, name: &str) {
        let options = ExchangeDeleteOptions::default();
        self.channel
            .exchange_delete(name.into(), options)
            .await
            .expect("the exchange is removed");
    }

    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        self.declare(queue).await;
        self.channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("the queue is bound");
    }

    /// Takes everything out of a queue.
    pub async fn read(&self, queue: &str) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = self
            .channel
            .basic_get(queue.into(), options)
            .await
            .expect("the queue exists")
        {
            arrived.push(Arrived {
                body: message.delivery.data.clone(),
                routing_key: message.delivery.routing_key.to_string(),
                properties: message.delivery.properties.clone(),
            });
        }
        arrived
    }
}

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub body: Vec<u8>,
    pub routing_key: String,
    pub properties: BasicProperties,
}

impl Arrived {
    pub fn id(&self) -> String {
        self.properties
            .message_id()
            .as_ref()
            .expect("every message has an id")
            .to_string()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the tests send text")
    }

    /// The headers that are text.
    pub fn headers(&self) -> BTreeMap<String, String> {
        let headers = self.properties.headers().as_ref().expect("headers");
        headers
            .inner()
            .iter()
            .filter_map(|(name, value)| match value {
                AMQPValue::LongString(text) => Some((name.to_string(), text.to_string())),
                _ => None,
            })
            .collect()
    }
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
