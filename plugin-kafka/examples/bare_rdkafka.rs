//! What librdkafka does by itself: the yardstick for the plugin.
//!
//! `bare_rdkafka SERVERS TOPIC COUNT [KEY=VALUE]...` publishes COUNT bodies of 223 bytes with the
//! properties the plugin would use and without headers (`headers=N` adds some), waits until all are
//! acknowledged and prints events per second.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evbus_sdk::serde_json::json;
use rdkafka::ClientContext;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

/// Counts reports.
#[derive(Default)]
struct Counter {
    acknowledged: AtomicUsize,
    failed: AtomicUsize,
}

impl ClientContext for Counter {}

impl ProducerContext for Counter {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() {
            &self.acknowledged
        } else {
            &self.failed
        };
        counter.fetch_add(1, Ordering::Release);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, topic, count, more @ ..] = arguments.as_slice() else {
        eprintln!("usage: bare_rdkafka SERVERS TOPIC COUNT [headers=N] [PROPERTY=VALUE]...");
        std::process::exit(2);
    };
    let count: usize = count.parse().expect("COUNT is a number");
    let config = evbus_sdk::serde_json::from_value(json!({
        "connection": {"bootstrap_servers": servers},
    }))
    .expect("the types are right");
    let mut config = plugin_kafka::properties::client_config(&config).expect("no faults");
    let mut headers = 0_usize;
    for setting in more {
        let (key, value) = setting.split_once('=').expect("KEY=VALUE");
        if key == "headers" {
            headers = value.parse().expect("a number of headers");
        } else {
            config.set(key, value);
        }
    }
    let producer: ThreadedProducer<Counter> = config
        .create_with_context(Counter::default())
        .expect("librdkafka takes the configuration");
    let counter = producer.context();
    publish(&producer, topic, 1, headers);
    wait(counter, 1);

    let started = Instant::now();
    publish(&producer, topic, count, headers);
    wait(counter, count + 1);
    let seconds = started.elapsed().as_secs_f64();
    let failed = counter.failed.load(Ordering::Acquire);
    #[allow(
        clippy::cast_precision_loss,
        reason = "a rate is printed without its last digits"
    )]
    let rate = count as f64 / seconds;
    println!("bare_rdkafka: {count} events, {failed} failed, {seconds:.3} s, {rate:.0} events/s");
}

fn publish(producer: &ThreadedProducer<Counter>, topic: &str, count: usize, headers: usize) {
    let body = [b'x'; 223];
    for _ in 0..count {
        let mut record = BaseRecord::<(), [u8]>::to(topic).payload(&body);
        if headers > 0 {
            let mut owned = OwnedHeaders::new_with_capacity(headers);
            for _ in 0..headers {
                let header = Header {
                    key: "evbus-header",
                    value: Some("0123456789abcdef0123456789abcdef"),
                };
                owned = owned.insert(header);
            }
            record = record.headers(owned);
        }
        while let Err((_, back)) = producer.send(record) {
            // The queue is full.
            std::thread::sleep(Duration::from_millis(1));
            record = back;
        }
    }
}

fn wait(counter: &Counter, count: usize) {
    while counter.acknowledged.load(Ordering::Acquire) + counter.failed.load(Ordering::Acquire)
        < count
    {
        std::thread::sleep(Duration::from_millis(1));
    }
}
