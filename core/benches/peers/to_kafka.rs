//! From a socket to Kafka, acknowledged: as fast as possible, and one event at a time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use xtask::brokers::Kafka;
use xtask::peers::Peers;

use crate::bare;
use crate::load::{Events, Source};
use crate::process::Process;
use crate::table::{self, Round, Row};
use crate::work::{CANDIDATES, Candidate, Work};
use crate::{Pass, Scale};

const ANSWER: Duration = Duration::from_secs(10);
/// Of the workload that shows how long an event takes.
const EVENTS_PER_SECOND: u32 = 1000;
const SECONDS: u64 = 10;

/// What is compared: evbus and the bare loop with each kind of headers, and the peers, which have none. A bare loop is
/// compared with the evbus that has the same headers.
const RUNS: [Run; 8] = [
    Run(
        "evbus, `headers: compact`",
        Some(Candidate::Evbus),
        "compact",
        "",
        0,
    ),
    Run(
        "evbus, `headers: none`",
        Some(Candidate::Evbus),
        "none",
        "",
        0,
    ),
    Run(
        "evbus, `headers: all`",
        Some(Candidate::Evbus),
        "all",
        "",
        0,
    ),
    Run("rsyslog", Some(Candidate::Rsyslog), "none", "1.1", 0),
    Run("syslog-ng", Some(Candidate::SyslogNg), "none", "1.1", 0),
    Run("bare rdkafka, compact", None, "compact", "0.95", 0),
    Run("bare rdkafka, none", None, "none", "0.95", 1),
    Run("bare rdkafka, all", None, "all", "0.95", 2),
];

/// A row of the table: its name, the candidate or the bare loop, its headers, the aim, and what it is compared with.
struct Run(
    &'static str,
    Option<Candidate>,
    &'static str,
    &'static str,
    usize,
);

/// Events per second until the broker has all.
pub(crate) fn throughput(peers: &Peers, scale: Scale) {
    let broker = Kafka::builder()
        .for_benchmarks()
        .start()
        .expect("Kafka starts");
    let servers = broker.bootstrap_servers();
    let consumer = consumer(&servers);
    let mut rows = RUNS.map(|Run(name, _, _, aim, against)| Row::new(name, aim).against(against));
    let mut shapes = HashMap::new();
    for pass in scale.passes() {
        for (run, Run(name, candidate, headers, ..)) in RUNS.into_iter().enumerate() {
            // A topic of its own, so that what is counted is what this round brought.
            let topic = format!("bench-{run}-{}", pass.number);
            broker.create_topic(&topic, 1).expect("a new topic");
            let work = Work::of(pass, &["plugin-glob", "plugin-kafka"]);
            let (process, source) = if let Some(candidate) = candidate {
                let configuration = configuration(candidate, headers, &servers, &topic);
                let (process, socket) = work.start(candidate, peers, &configuration);
                (process, Source::Socket(socket, candidate.form()))
            } else {
                let command = bare::kafka(&servers, &topic, headers);
                (work.run("bare-rdkafka", command), Source::Itself)
            };
            rows[run].add(flood(process, &source, pass, &topic, &consumer));
            let found = shape(&servers, &topic);
            let expected = shapes.entry(headers).or_insert_with(|| found.clone());
            assert_eq!(found, *expected, "{name}: its messages are not like others");
            broker.delete_topic(&topic).expect("it is there");
        }
    }
    table::rates(&rows);
}

/// The names and lengths of the headers of a topic's first message.
fn shape(servers: &str, topic: &str) -> Vec<(String, usize)> {
    let consumer = consumer(servers);
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&from).unwrap();
    let message = consumer
        .poll(ANSWER)
        .expect("the topic has messages")
        .unwrap();
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    let mut shape: Vec<_> = headers
        .map(|header| (header.key.to_owned(), header.value.map_or(0, <[u8]>::len)))
        .collect();
    shape.sort();
    shape
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
    mut process: Process,
    source: &Source,
    pass: Pass,
    topic: &str,
    consumer: &BaseConsumer,
) -> Round {
    let events = Events::of(&["idem-status"]);
    let have = |count| arrived(consumer, topic) >= Some(count);
    // Connected, which is not what is measured.
    source.feed(&mut process, &events, 256, || have(256));
    let whole = 256 + pass.events;
    let round = process.measure(pass.events, |process| {
        source.feed(process, &events, pass.events, || have(whole));
    });
    assert_eq!(
        arrived(consumer, topic),
        Some(whole),
        "{topic}: events arrived twice"
    );
    round
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
    let mut shown = CANDIDATES.map(|candidate| (candidate.name(), [const { Vec::new() }; 2], None));
    for pass in scale.passes() {
        for (candidate, (_, [p50, p99], allocations)) in CANDIDATES.into_iter().zip(&mut shown) {
            let topic = format!("{}-{}", candidate.name(), pass.number);
            broker.create_topic(&topic, 1).expect("a new topic");
            let seconds = if scale.rounds > 1 && !pass.counts {
                SECONDS
            } else {
                1
            };
            let (times, counted) = trickle(peers, pass, candidate, &servers, &topic, seconds);
            if pass.counts {
                *allocations = counted;
            } else {
                p50.push(times[times.len() / 2]);
                p99.push(times[times.len() * 99 / 100]);
            }
            broker.delete_topic(&topic).expect("it is there");
        }
    }
    println!("| | p50, ms | p99, ms | allocations per event |");
    println!("|---|---|---|---|");
    for (name, times, allocations) in shown {
        let [p50, p99] = times.map(|times| table::exact(times.into_iter()));
        let allocations = table::or_dash(allocations, |count| format!("{count:.1}"));
        println!("| {name} | {p50} | {p99} | {allocations} |");
    }
}

/// The milliseconds that each event took, ascending, and the allocations of each if they are counted.
fn trickle(
    peers: &Peers,
    pass: Pass,
    candidate: Candidate,
    servers: &str,
    topic: &str,
    seconds: u64,
) -> (Vec<f64>, Option<f64>) {
    let work = Work::of(pass, &["plugin-glob", "plugin-kafka"]);
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
    let (mut written, mut heard) = (Vec::new(), Vec::new());
    let round = process.measure(count, |_| {
        std::thread::scope(|scope| {
            scope.spawn(|| heard = hear(&consumer, candidate, count));
            written = events.trickle(&socket, candidate.form(), count, pause);
        });
    });
    let mut times: Vec<f64> = written
        .iter()
        .zip(&heard)
        .map(|(written, heard)| (*heard - *written).as_secs_f64() * 1e3)
        .collect();
    times.sort_by(f64::total_cmp);
    let allocations = round
        .allocations
        .map(|counted| counted as f64 / count as f64);
    (times, allocations)
}

/// When each event arrived.
fn hear(consumer: &BaseConsumer, candidate: Candidate, count: u64) -> Vec<Instant> {
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
        .collect()
}
