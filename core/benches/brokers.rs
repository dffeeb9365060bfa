//! Events per second to Kafka and `RabbitMQ`, acknowledged, beside the bare client library in the
//! same run: the same broker, bodies of 223 bytes, taking turns.
//!
//! `cargo xtask bench brokers` runs it, after it has built the bare loops, which are examples of
//! the plugins: `bare_rdkafka` and `bare_lapin`.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use evbus::{Event, Host};
use evbus_testkit::plugin_dir;
use xtask::brokers::{Kafka, RabbitMq};

const ROUNDS: usize = 5;

fn main() {
    // `cargo test --benches` asks for a run that only shows that it works.
    let (kafka_events, rabbit_events, rounds) = if std::env::args().any(|arg| arg == "--bench") {
        (300_000, 60_000, ROUNDS)
    } else {
        return;
    };
    println!(
        "{} threads; medians of {rounds} rounds; the broker is on the same machine",
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    kafka(kafka_events, rounds);
    rabbitmq(rabbit_events, rounds);
}

fn kafka(events: u32, rounds: usize) {
    let broker = Kafka::builder()
        .for_benchmarks()
        .start()
        .expect("Kafka starts");
    let servers = broker.bootstrap_servers();
    let count = events.to_string();
    let through = Evbus::start(&format!(
        "kafka:\n  bench:\n    connection: {{bootstrap_servers: '{servers}'}}\n    topics: [evbus]\n    evbus: {{queue: {{events: 60000}}}}\n"
    ));
    let (mut plain, mut headed, mut evbus) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        plain.push(bare("bare_rdkafka", &[&servers, "bare", &count]));
        evbus.push(through.fire(events));
        headed.push(bare(
            "bare_rdkafka",
            &[&servers, "bare", &count, "headers=4"],
        ));
    }
    let (plain, headed, evbus) = (median(plain), median(headed), median(evbus));
    println!("kafka, bare rdkafka, no headers     {plain:>10.0} events/s");
    println!("kafka, bare rdkafka, 4 headers      {headed:>10.0} events/s");
    println!("kafka, evbus (4 headers)            {evbus:>10.0} events/s");
    println!(
        "evbus / bare without headers        {:>10.2}",
        evbus / plain
    );
    println!(
        "evbus / bare with as many headers   {:>10.2}",
        evbus / headed
    );
}

fn rabbitmq(events: u32, rounds: usize) {
    let broker = RabbitMq::builder()
        .for_benchmarks()
        .start()
        .expect("RabbitMQ starts");
    let url = broker.url();
    let count = events.to_string();
    let through = Evbus::start(&format!(
        "rabbitmq:\n  bench:\n    connection: {{url: '{url}'}}\n    routing_key: evbus\n    evbus: {{queue: {{events: 60000}}}}\n"
    ));
    let (mut bare_rates, mut evbus) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare_rates.push(bare("bare_lapin", &[&url, &count]));
        evbus.push(through.fire(events));
        // The messages that arrived must not slow the broker down in the next round.
        broker
            .ctl(&["purge_queue", "evbus"])
            .expect("the queue exists");
    }
    let (bare_rate, evbus) = (median(bare_rates), median(evbus));
    println!("rabbitmq, bare lapin, confirmed     {bare_rate:>10.0} events/s");
    println!("rabbitmq, evbus                     {evbus:>10.0} events/s");
    println!(
        "evbus / bare                        {:>10.2}",
        evbus / bare_rate
    );
}

/// A host with one destination.
struct Evbus {
    runtime: tokio::runtime::Runtime,
    host: Host,
}

impl Evbus {
    fn start(acct: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let plugins = plugin_dir(&["plugin-glob", "plugin-kafka", "plugin-pika"]);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("acct.yml");
        std::fs::write(&file, acct).unwrap();
        let host = Host::builder().acct_file(file).plugin_dir(plugins.path());
        let host = runtime.block_on(host.start()).unwrap();
        let started = Self { runtime, host };
        // Connects, and creates topic and queue.
        started.fire(1);
        started
    }

    /// Fires events and waits until all are acknowledged; events per second.
    fn fire(&self, events: u32) -> f64 {
        let bus = self.host.bus().clone();
        let body = format!("\"{}\"", "x".repeat(221));
        let start = Instant::now();
        self.runtime.block_on(async {
            let firing = tokio::spawn(async move {
                for _ in 0..events {
                    let event = Event::builder("bench")
                        .unwrapped_json(body.clone())
                        .unwrap();
                    bus.put_event(event).await.unwrap();
                }
                assert!(
                    bus.drain(Duration::from_mins(5)).await,
                    "{:?}",
                    bus.status()
                );
            });
            firing.await.unwrap();
        });
        for lane in self.host.bus().status() {
            assert_eq!(lane.counts.accepted, lane.counts.received, "{lane:?}");
        }
        f64::from(events) / start.elapsed().as_secs_f64()
    }
}

/// Runs a bare loop; the events per second that it prints.
fn bare(example: &str, arguments: &[&str]) -> f64 {
    let here = std::env::current_exe().unwrap();
    let target: PathBuf = here
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples")
        .join(example);
    let output = Command::new(&target)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; run cargo xtask bench brokers, which builds it",
                target.display()
            )
        });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{example}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let words: Vec<&str> = text.split_whitespace().collect();
    let unit = words
        .iter()
        .position(|word| *word == "events/s")
        .expect("it prints events/s");
    words[unit - 1].parse().unwrap()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
