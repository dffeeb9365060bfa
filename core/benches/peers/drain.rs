//! While Kafka is away, events go to the disk, beyond what fits into memory; when it is back, everything goes to Kafka.

use std::fs;
use std::path::Path;
use std::time::Instant;

use xtask::brokers::Kafka;
use xtask::peers::Peers;

use crate::Scale;
use crate::load::Events;
use crate::table;
use crate::to_kafka::{arrived, consumer};
use crate::work::{Candidate, Work};

/// So many times the events of other workloads, so that most of them go to the disk.
const FACTOR: u64 = 2;

/// evbus with each kind of headers, first the one that it is judged by, and the peers, which have none.
const RUNS: [(&str, Candidate, &str); 5] = [
    ("evbus, `headers: compact`", Candidate::Evbus, "compact"),
    ("evbus, `headers: none`", Candidate::Evbus, "none"),
    ("evbus, `headers: all`", Candidate::Evbus, "all"),
    ("rsyslog", Candidate::Rsyslog, ""),
    ("syslog-ng", Candidate::SyslogNg, ""),
];

/// What one candidate showed.
#[derive(Default)]
struct Shown {
    /// Events per second.
    push: Vec<f64>,
    drain: Vec<f64>,
    /// Bytes on disk for each event.
    stored: Vec<f64>,
    /// Seconds of processor time for each event, while it drains.
    processor: Vec<f64>,
}

pub(crate) fn drain(peers: &Peers, scale: Scale) {
    let mut broker = Kafka::builder()
        .for_benchmarks()
        .start()
        .expect("Kafka starts");
    let mut shown = RUNS.map(|(name, ..)| (name, Shown::default()));
    // One round takes as long as three of others.
    let rounds = scale.rounds.div_ceil(2);
    for number in 0..rounds {
        for (run, (_, candidate, headers)) in RUNS.into_iter().enumerate() {
            let topic = format!("drain-{run}-{number}");
            broker.create_topic(&topic, 1).expect("a new topic");
            let configuration = |servers: &str, disk: &Path| {
                configuration(candidate, headers, servers, &topic, disk)
            };
            outage(
                peers,
                scale.events * FACTOR,
                candidate,
                configuration,
                &mut broker,
                &topic,
                &mut shown[run].1,
            );
            broker.delete_topic(&topic).expect("it is there");
        }
    }
    println!(
        "| | pushed, events/s | bytes on disk per event | drained, events/s | processor time per drained event | {} / it |",
        RUNS[0].0
    );
    println!("|---|---|---|---|---|---|");
    let of_evbus = table::median(shown[0].1.drain.iter().copied());
    for (name, shown) in shown {
        let ratio = of_evbus / table::median(shown.drain.iter().copied());
        println!(
            "| {name} | {} | {:.0} | {} | {:.0} ns | {ratio:.2} |",
            table::spread(shown.push.into_iter()),
            table::median(shown.stored.into_iter()),
            table::spread(shown.drain.into_iter()),
            table::median(shown.processor.into_iter()) * 1e9,
        );
    }
}

fn configuration(
    candidate: Candidate,
    headers: &str,
    servers: &str,
    topic: &str,
    disk: &Path,
) -> String {
    let disk = disk.display();
    match candidate {
        Candidate::Evbus => format!(
            "kafka:\n  '*':\n    connection: {{bootstrap_servers: '{servers}'}}\n    topics: ['{topic}']\n    headers: {headers}\n    evbus: {{when_full: spill}}\n"
        ),
        Candidate::Rsyslog => format!(
            r#"module(load="omkafka")
ruleset(name="work") {{ action(type="omkafka" broker=["{servers}"] topic="{topic}" template="bare"
  confParam=["request.required.acks=-1", "queue.buffering.max.messages=200000"] resubmitOnFailure="on" action.resumeRetryCount="-1" action.resumeInterval="1"
  queue.type="LinkedList" queue.spoolDirectory="{disk}" queue.filename="queue" queue.size="200000" queue.maxDiskSpace="8g" queue.dequeueBatchSize="4096") }}"#
        ),
        Candidate::SyslogNg => format!(
            r#"destination d {{ kafka-c(bootstrap-servers("{servers}") topic("{topic}") message("$MSG")
  config(request.required.acks("-1")) batch-lines(1000)
  disk-buffer(reliable(no) disk-buf-size(8589934592) dir("{disk}"))); }};
log {{ source(s); destination(d); flags(flow-control); }};"#
        ),
    }
}

fn outage(
    peers: &Peers,
    count: u64,
    candidate: Candidate,
    configuration: impl Fn(&str, &Path) -> String,
    broker: &mut Kafka,
    topic: &str,
    shown: &mut Shown,
) {
    let work = Work::with_disk(&["plugin-glob", "plugin-kafka"]);
    let servers = broker.bootstrap_servers();
    let configuration = configuration(&servers, &work.disk());
    let (mut process, socket) = work.start(candidate, peers, &configuration);
    let consumer = consumer(&servers);
    let events = Events::of(&["idem-status"]);
    events.write(&socket, candidate.form(), 256);
    process.until_done(|| arrived(&consumer, topic) >= Some(256));
    broker.stop().expect("the broker stops");
    let start = Instant::now();
    events.write(&socket, candidate.form(), count);
    shown
        .push
        .push(count as f64 / start.elapsed().as_secs_f64());
    shown
        .stored
        .push(bytes_in(&work.disk()) as f64 / count as f64);
    broker.restart().expect("the broker starts again");
    // How long it takes until they try again is not what is measured.
    process.until_done(|| arrived(&consumer, topic) > Some(256));
    let begun = arrived(&consumer, topic).unwrap_or(256);
    let (before, start) = (process.processor_time(), Instant::now());
    process.until_done(|| arrived(&consumer, topic) >= Some(256 + count));
    let drained = (256 + count - begun) as f64;
    shown.drain.push(drained / start.elapsed().as_secs_f64());
    let processor = process.processor_time() - before;
    shown.processor.push(processor.as_secs_f64() / drained);
}

fn bytes_in(dir: &Path) -> u64 {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            if path.is_dir() {
                bytes_in(&path)
            } else {
                fs::metadata(&path).map_or(0, |file| file.len())
            }
        })
        .sum()
}
