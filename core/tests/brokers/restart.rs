//! `RabbitMQ` and Kafka go away and come back in the middle of 100,000 ordered events: every event
//! arrives at both, and those of a key arrive in the order in which they were fired.
//!
//! The consumers are lapin and librdkafka by themselves, not our plugins.

use std::fmt::Write as _;
use std::ops::Range;

use crate::support::{PATIENCE, RunningHost, wait_for};
use evbus_testkit::plugin_dir;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;
use serde_json::Value;
use xtask::brokers::{Kafka, RabbitMq};

const EVENTS: usize = 100_000;
const KEYS: usize = 10;
/// The least number of events at a broker when it is stopped.
const PART: usize = 5_000;
const PARTITIONS: u32 = 3;

/// The timeouts are shorter than an outage, so that the host's own retries are tested too.
const ACCT: &str = "
kafka:
  restart:
    connection: {bootstrap_servers: 'KAFKA', message.timeout.ms: 2000}
    topics: [restart]
    key: one
    evbus: {ordered: true, retry: {first_delay: 0.05, max_delay: 0.5}}
rabbitmq:
  restart:
    connection: {url: 'AMQP'}
    timeout: 2
    evbus: {ordered: true, retry: {first_delay: 0.05, max_delay: 0.5}}
";

#[derive(Deserialize, Clone, Copy)]
struct Body {
    key: usize,
    n: usize,
}

#[test]
fn ordered_events_survive_restarts_of_both_brokers_in_their_order() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-pika", "plugin-kafka"]);
    let (mut rabbit, mut kafka) = std::thread::scope(|scope| {
        let rabbit = scope.spawn(|| RabbitMq::start().expect("RabbitMQ starts"));
        let kafka = Kafka::start().expect("Kafka starts");
        (rabbit.join().unwrap(), kafka)
    });
    kafka
        .create_topic("restart", PARTITIONS)
        .expect("the broker makes topics");
    let acct = ACCT
        .replace("KAFKA", &kafka.bootstrap_servers())
        .replace("AMQP", &rabbit.url());
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let host = RunningHost::start_in(
        home,
        &acct,
        plugins.path(),
        &["--state-dir", state.to_str().unwrap()],
    );

    std::thread::scope(|scope| {
        scope.spawn(|| host.put_events(&lines(0..EVENTS / 2)));
        scope.spawn(|| {
            let queue = Queue::open(&rabbit);
            wait_for("a part at RabbitMQ", || {
                (queue.waiting() >= PART).then_some(())
            });
            rabbit.stop().expect("RabbitMQ stops");
        });
        let topic = Topic::open(&kafka);
        wait_for("a part at Kafka", || {
            (topic.records() >= PART).then_some(())
        });
        kafka.stop().expect("Kafka stops");
    });
    // Events fired while both are away fit only on disk.
    host.put_events(&lines(EVENTS / 2..EVENTS));
    for destination in ["kafka[0]", "rabbitmq[0]"] {
        wait_for_retry(&host, destination);
    }
    for lane in lanes(&host) {
        assert!(lane["queued_on_disk"].as_u64() > Some(0), "{lane}");
    }
    std::thread::scope(|scope| {
        scope.spawn(|| rabbit.restart().expect("RabbitMQ starts again"));
        kafka.restart().expect("Kafka starts again");
    });

    wait_for("all events to be accepted", || {
        let lanes = lanes(&host);
        lanes
            .iter()
            .all(|lane| lane["accepted"] == EVENTS)
            .then_some(())
    });
    let (code, log) = host.stop();
    assert_eq!(code.code(), Some(0), "{log}");
    check("kafka", &Topic::open(&kafka).read());
    check("rabbitmq", &Queue::open(&rabbit).read());
}

/// Lines for `evbus put --events`; the keys alternate.
fn lines(numbers: Range<usize>) -> String {
    let mut lines = String::new();
    for n in numbers {
        let key = n % KEYS;
        writeln!(
            lines,
            "{{\"profile\": \"restart\", \"body\": {{\"key\": {key}, \"n\": {n}}}}}"
        )
        .unwrap();
    }
    lines
}

/// Asserts that every event arrived at least once, and that for each key the first arrivals are in order.
#[track_caller]
fn check(broker: &str, arrived: &[Body]) {
    let mut seen = vec![false; EVENTS];
    let mut last = [None; KEYS];
    for Body { key, n } in arrived {
        assert_eq!(n % KEYS, *key, "{broker}");
        if std::mem::replace(&mut seen[*n], true) {
            continue;
        }
        assert!(
            last[*key] < Some(*n),
            "{broker}: {n} came after {:?}",
            last[*key]
        );
        last[*key] = Some(*n);
    }
    let missing = seen.iter().filter(|seen| !**seen).count();
    assert_eq!(missing, 0, "{broker}: {} arrived", arrived.len());
    println!("{broker}: {} duplicates", arrived.len() - EVENTS);
}

fn lanes(host: &RunningHost) -> Vec<Value> {
    let answer = host.status();
    answer["destinations"].as_array().unwrap().clone()
}

/// Waits until a destination has returned events to the host for a retry.
fn wait_for_retry(host: &RunningHost, destination: &str) {
    wait_for(&format!("a retry at {destination}"), || {
        host.log()
            .lines()
            .any(|line| line.contains(destination) && line.contains("will be retried"))
            .then_some(())
    });
}

/// An AMQP queue, seen by lapin.
struct Queue {
    runtime: tokio::runtime::Runtime,
    channel: Channel,
    _connection: Connection,
}

impl Queue {
    fn open(broker: &RabbitMq) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (connection, channel) = runtime.block_on(async {
            let connection = Connection::connect(&broker.url(), ConnectionProperties::default())
                .await
                .expect("RabbitMQ lets the test in");
            let channel = connection.create_channel().await.unwrap();
            (connection, channel)
        });
        let queue = Self {
            runtime,
            channel,
            _connection: connection,
        };
        // As the plugin declares it, whichever of the two is first.
        queue.declare();
        queue
    }

    /// Returns the number of messages.
    fn declare(&self) -> u32 {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declaring =
            self.channel
                .queue_declare("restart".into(), options, FieldTable::default());
        let declared = self.runtime.block_on(declaring).unwrap();
        declared.message_count()
    }

    fn waiting(&self) -> usize {
        self.declare() as usize
    }

    /// Takes all messages.
    fn read(&self) -> Vec<Body> {
        let mut arrived = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        self.runtime.block_on(async {
            while let Some(message) = self
                .channel
                .basic_get("restart".into(), options)
                .await
                .unwrap()
            {
                arrived.push(serde_json::from_slice(&message.delivery.data).unwrap());
            }
        });
        arrived
    }
}

/// A Kafka topic, seen by librdkafka.
struct Topic(BaseConsumer);

impl Topic {
    fn open(broker: &Kafka) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap_servers())
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "false")
            .create()
            .unwrap();
        Self(consumer)
    }

    /// How many records each partition has; the producer uses no transactions, whose markers would be counted.
    fn ends(&self) -> Vec<usize> {
        (0..PARTITIONS.cast_signed())
            .map(|partition| {
                let (_, high) = self
                    .0
                    .fetch_watermarks("restart", partition, PATIENCE)
                    .expect("the partition is there");
                usize::try_from(high).unwrap()
            })
            .collect()
    }

    fn records(&self) -> usize {
        self.ends().iter().sum()
    }

    /// Reads all records, which one partition must contain.
    fn read(&self) -> Vec<Body> {
        let ends = self.ends();
        let used: Vec<usize> = (0..ends.len()).filter(|index| ends[*index] > 0).collect();
        assert_eq!(used.len(), 1, "one key, one partition: {ends:?}");
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(
                "restart",
                i32::try_from(used[0]).unwrap(),
                Offset::Beginning,
            )
            .unwrap();
        self.0.assign(&assignment).unwrap();
        let mut arrived = Vec::new();
        while arrived.len() < ends[used[0]] {
            let message = self.0.poll(PATIENCE).expect("Kafka delivers").unwrap();
            arrived.push(serde_json::from_slice(message.payload().unwrap()).unwrap());
        }
        arrived
    }
}
