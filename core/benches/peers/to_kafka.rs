//! From a socket to Kafka, acknowledged: as fast as possible, and one event at a time.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use xtask::brokers::Kafka;
use xtask::peers::Peers;

use crate::Scale;
use crate::load::Events;
use crate::table::{self, Round};
use crate::work::{CANDIDATES, Candidate, Work};

const ANSWER: Duration = Duration::from_secs(10);
/// Of the workload that shows how long an event takes.
const EVENTS_PER_SECOND: u32 = 1000;
const SECONDS: u64 = 10;

/// What is compared: evbus with each kind of headers, first the one that it is judged by, and the peers, which have none.
pub(crate) const RUNS: [(&str, Candidate, &str); 5] = [
    ("evbus, `headers: compact`", Candidate::Evbus, "compact"),
    ("evbus, `headers: none`", Candidate::Evbus, "none"),
    ("evbus, `headers: all`", Candidate::Evbus, "all"),
    ("rsyslog", Candidate::Rsyslog, ""),
    ("syslog-ng", Candidate::SyslogNg, ""),
];

/// Events per second until the broker has all.
pub(crate) fn throughput(peers: &Peers, scale: Scale) {
    let broker = Kafka::builder()
        .for_benchmarks()
        .start()
        .expect("Kafka starts");
    let servers = broker.bootstrap_servers();
    let consumer = consumer(&servers);
    let mut shown = RUNS.map(|(name, ..)| (name, Vec::new()));
    for number in 0..scale.rounds {
        for (run, (_, candidate, headers)) in RUNS.into_iter().enumerate() {
            // A topic of its own, so that what is counted is what this round brought.
            let topic = format!("bench-{run}-{number}");
            broker.create_topic(&topic, 1).expect("a new topic");
            let configuration = configuration(candidate, headers, &servers, &topic);
            let round = flood(peers, scale, candidate, &configuration, &topic, &consumer);
            shown[run].1.push(round);
            broker.delete_topic(&topic).expect("it is there");
        }
    }
    table::rates(&shown);
}

fn configuration(candidate: Candidate, headers: &str, servers: &str, topic: &str) -> String {
    match candidate {
        Candidate::Evbus => format!(
            "kafka:\n  '*':\n    connection: {{bootstrap_servers: '{servers}'}}\n    topics: ['{topic}']\n    headers: {headers}\n"
        ),
        // librdkafka's own defaults, but for waiting for all replicas, which evbus does as well.
        Candidate::Rsyslog => format!(
            r#"module(load="omkafka")
ruleset(name="work") {{ action(type="omkafka" broker=["{servers}"] topic="{topic}" template="bare"
  confParam=["request.required.acks=-1", "queue.buffering.max.messages=200000"] resubmitOnFailure="on" action.resumeRetryCount="-1") }}"#
        ),
        Candidate::SyslogNg => format!(
            r#"destination d {{ kafka-c(bootstrap-servers("{servers}") topic("{topic}") message("$MSG")
  config(request.required.acks("-1")) batch-lines(1000)); }};
log {{ source(s); destination(d); flags(flow-control); }};"#
        ),
    }
}

fn flood(
    peers: &Peers,
    scale: Scale,
    candidate: Candidate,
    configuration: &str,
    topic: &str,
    consumer: &BaseConsumer,
) -> Round {
    let work = Work::new(&["plugin-glob", "plugin-kafka"]);
    let (mut process, socket) = work.start(candidate, peers, configuration);
    let events = Events::of(&["idem-status"]);
    // Connected, which is not what is measured.
    events.write(&socket, candidate.form(), 256);
    process.until_done(|| arrived(consumer, topic) >= Some(256));
    let before = process.processor_time();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| events.write(&socket, candidate.form(), scale.events));
        process.until_done(|| arrived(consumer, topic) >= Some(256 + scale.events));
    });
    let took = start.elapsed();
    let processor = process.processor_time() - before;
    assert_eq!(
        arrived(consumer, topic),
        Some(256 + scale.events),
        "{}: events arrived twice",
        candidate.name()
    );
    Round {
        events: scale.events,
        took,
        processor,
        peak_memory: process.peak_memory(),
    }
}

pub(crate) fn consumer(servers: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "bench")
        .set("fetch.wait.max.ms", "1")
        .create()
        .expect("librdkafka takes the configuration")
}

/// How many events the broker has of a topic with one partition; `None` while it does not answer.
pub(crate) fn arrived(consumer: &BaseConsumer, topic: &str) -> Option<u64> {
    let (_, high) = consumer.fetch_watermarks(topic, 0, ANSWER).ok()?;
    Some(u64::try_from(high).expect("offsets count from 0"))
}

/// How long an event takes from being written until a consumer has it, at a rate that leaves every candidate idle most
/// of the time.
pub(crate) fn latency(peers: &Peers, scale: Scale) {
    let broker = Kafka::builder()
        .for_benchmarks()
        .start()
        .expect("Kafka starts");
    let servers = broker.bootstrap_servers();
    let mut shown = CANDIDATES.map(|candidate| (candidate.name(), Vec::new(), Vec::new()));
    for number in 0..scale.rounds {
        for (candidate, (_, p50, p99)) in CANDIDATES.into_iter().zip(&mut shown) {
            let topic = format!("{}-{number}", candidate.name());
            broker.create_topic(&topic, 1).expect("a new topic");
            let seconds = if scale.rounds > 1 { SECONDS } else { 1 };
            let times = trickle(peers, candidate, &servers, &topic, seconds);
            p50.push(times[times.len() / 2]);
            p99.push(times[times.len() * 99 / 100]);
            broker.delete_topic(&topic).expect("it is there");
        }
    }
    println!("| | p50 (range), ms | p99 (range), ms |");
    println!("|---|---|---|");
    for (name, p50, p99) in shown {
        let milliseconds = |times: Vec<f64>| table::exact(times.into_iter());
        println!("| {name} | {} | {} |", milliseconds(p50), milliseconds(p99));
    }
}

/// The milliseconds that each event took, ascending.
fn trickle(
    peers: &Peers,
    candidate: Candidate,
    servers: &str,
    topic: &str,
    seconds: u64,
) -> Vec<f64> {
    let work = Work::new(&["plugin-glob", "plugin-kafka"]);
    let configuration = configuration(candidate, "all", servers, topic);
    let (mut process, socket) = work.start(candidate, peers, &configuration);
    let events = Events::of(&["idem-status"]);
    let consumer = consumer(servers);
    events.write(&socket, candidate.form(), 256);
    process.until_done(|| arrived(&consumer, topic) >= Some(256));
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Offset(256))
        .unwrap();
    consumer.assign(&from).unwrap();
    let count = seconds * u64::from(EVENTS_PER_SECOND);
    let pause = Duration::from_secs(1) / EVENTS_PER_SECOND;
    let (written, heard) = std::thread::scope(|scope| {
        let hearing = scope.spawn(|| {
            (0..count)
                .map(|heard| {
                    let until = Instant::now() + ANSWER;
                    // It returns without a message also when something else happens.
                    while consumer.poll(ANSWER).map(Result::unwrap).is_none() {
                        assert!(
                            Instant::now() < until,
                            "{}: only {heard} of {count} events arrive",
                            candidate.name()
                        );
                    }
                    Instant::now()
                })
                .collect::<Vec<_>>()
        });
        let written = events.trickle(&socket, candidate.form(), count, pause);
        (written, hearing.join().expect("no panic"))
    });
    let mut times: Vec<f64> = written
        .iter()
        .zip(&heard)
        .map(|(written, heard)| (*heard - *written).as_secs_f64() * 1e3)
        .collect();
    times.sort_by(f64::total_cmp);
    times
}
