//! The whole way with real brokers: what is fired into a running host arrives at file, `RabbitMQ` and
//! Kafka, and a broker that is not there, or does not let us in, is named.
//!
//! The consumers are lapin and librdkafka by themselves, not our plugins.

use std::collections::BTreeSet;
use std::fs;

use crate::consumers::{Arrived, read_queue, read_topic};
use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus_testkit::{TestEvent, idem_events, plugin_dir};
use serde_json::Value;
use xtask::brokers::{Kafka, RabbitMq};

const ACCT: &str = "
file:
  idem-*:
    path: {dir}/all.jsonl
  idem-status:
    path: {dir}/status.jsonl
rabbitmq:
  idem-*:
    connection: {url: AMQP}
    routing_key: all
  idem-status:
    connection: {url: AMQP}
    routing_key: status
amqp:
  default:
    connection: {url: AMQP}
kafka:
  - idem-*:
      connection: {bootstrap_servers: KAFKA}
      topics: [all]
  - idem-status:
      connection: {bootstrap_servers: [KAFKA]}
      topics: [status]
  - default:
      connection: {bootstrap_servers: KAFKA}
";

#[test]
fn all_real_events_reach_file_rabbitmq_and_kafka_at_once() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file", "plugin-pika", "plugin-kafka"]);
    let rabbit = RabbitMq::start().expect("RabbitMQ starts");
    let kafka = Kafka::start().expect("Kafka starts");
    let acct = ACCT
        .replace("AMQP", &rabbit.url())
        .replace("KAFKA", &kafka.bootstrap_servers());
    let host = RunningHost::start(&acct, plugins.path(), &[]);
    let events = include_str!("../../../plugins/testkit/fixtures/idem-events.jsonl");
    assert_eq!(events.lines().count(), 33);
    host.put_events(events);

    let fired = |wanted: fn(&str) -> bool| -> Vec<Value> {
        idem_events()
            .iter()
            .filter(|event| wanted(event.profile()))
            .map(TestEvent::body_json)
            .collect()
    };
    let all = fired(|profile| profile.starts_with("idem-"));
    let status = fired(|profile| profile == "idem-status");
    let default = fired(|profile| profile == "default");
    assert!(!status.is_empty() && !default.is_empty() && all.len() > status.len());

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let queue = |name: &'static str, count| {
        let read = read_queue(rabbit.url(), name, count);
        runtime.block_on(read)
    };
    let ids = same("file, all", &read_file(&host, "all.jsonl", all.len()), &all);
    assert_eq!(same("rabbitmq, all", &queue("all", all.len()), &all), ids);
    let servers = kafka.bootstrap_servers();
    assert_eq!(
        same("kafka, all", &read_topic(&servers, "all", all.len()), &all),
        ids
    );
    let ids = same(
        "file, status",
        &read_file(&host, "status.jsonl", status.len()),
        &status,
    );
    assert_eq!(
        same("rabbitmq, status", &queue("status", status.len()), &status),
        ids
    );
    assert_eq!(
        same(
            "kafka, status",
            &read_topic(&servers, "status", status.len()),
            &status
        ),
        ids
    );
    // Without routing key and topic, the profile's name is used.
    let ids = same("amqp, default", &queue("default", default.len()), &default);
    assert_eq!(
        same(
            "kafka, default",
            &read_topic(&servers, "default", default.len()),
            &default
        ),
        ids
    );

    let (code, log) = host.stop();
    assert_eq!(code.code(), Some(0), "{log}");
    // No destination matches the profile `logger`.
    let faults = log
        .lines()
        .filter(|line| !line.contains("no destination's pattern matches"));
    let faults: Vec<&str> = faults
        .filter(|line| line.contains("WARN") || line.contains("ERROR"))
        .collect();
    assert!(faults.is_empty(), "{log}");
    // The counts are exact: nothing arrived late.
    assert!(queue("all", 0).is_empty() && queue("status", 0).is_empty());
    assert_eq!(read_topic(&servers, "all", all.len()).len(), all.len());
}

/// Asserts that exactly the fired events arrived, in order. Returns their ids.
#[track_caller]
fn same(broker: &str, arrived: &Arrived, fired: &[Value]) -> Vec<String> {
    assert_eq!(arrived.len(), fired.len(), "{broker}");
    for ((_, arrived), fired) in arrived.iter().zip(fired) {
        assert_eq!(arrived, fired, "{broker}");
    }
    let ids: BTreeSet<&String> = arrived.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), fired.len(), "{broker}: each id once");
    arrived.iter().map(|(id, _)| id.clone()).collect()
}

fn read_file(host: &RunningHost, name: &str, count: usize) -> Arrived {
    let path = host.path(name);
    wait_for(&format!("{count} events in {name}"), || {
        (lines_of(&path).len() >= count).then_some(())
    });
    lines_of(&path)
        .iter()
        .map(|line| {
            (
                line["id"].as_str().unwrap().to_owned(),
                line["body"].clone(),
            )
        })
        .collect()
}

#[test]
fn brokers_that_cannot_be_used_are_named_and_the_rest_is_delivered() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file", "plugin-pika", "plugin-kafka"]);
    let rabbit = RabbitMq::start().expect("RabbitMQ starts");
    let kafka = Kafka::builder()
        .auto_create_topics(false)
        .start()
        .expect("Kafka starts");
    let dir = tempfile::tempdir().unwrap();
    let acct = format!(
        "
file:
  idem-*: {{path: {dir}/out.jsonl}}
pika:
  - idem-*:
      connection: {{host: 127.0.0.1, port: 9}}
      evbus: {{when_full: drop_newest}}
  - idem-*:
      connection: {{host: 127.0.0.1, port: {rabbit_port}, login: guest, password: hunter2-wrong}}
kafka:
  - idem-*:
      connection: {{bootstrap_servers: '127.0.0.1:9'}}
  - idem-*:
      connection: {{bootstrap_servers: '{kafka_servers}'}}
      topics: [missing]
",
        dir = dir.path().display(),
        rabbit_port = rabbit.port(),
        kafka_servers = kafka.bootstrap_servers(),
    );
    let acct_file = dir.path().join("acct.yml");
    fs::write(&acct_file, acct).unwrap();
    let evbus = |args: &[&str]| {
        run(
            evbus(dir.path())
                .args(args)
                .arg("--acct-file")
                .arg(&acct_file)
                .arg("--plugin-dir")
                .arg(plugins.path()),
            b"",
        )
    };

    let checked = evbus(&["check", "--connect"]);
    let said = stderr(&checked);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    let line = |start: &str| {
        said.lines()
            .find(|line| line.contains(start) && !line.starts_with("note: "))
            .unwrap_or_else(|| panic!("no line on {start} in:\n{said}"))
            .to_owned()
    };
    for (destination, cause) in [
        ("pika[0]", "127.0.0.1:9: nothing listens there"),
        ("pika[1]", "the broker refused the login of `guest`"),
        (
            "kafka[0]",
            "127.0.0.1:9 refuses the connection: nothing listens there",
        ),
        ("kafka[1]", "topic `missing` does not exist"),
    ] {
        let line = line(destination);
        assert!(line.contains(cause), "{line}");
    }
    assert!(!said.contains("did not connect within"), "{said}");
    assert!(!said.contains("file[0]"), "{said}");

    let put = evbus(&["put", "--timeout", "15", "idem-run", "1"]);
    let put_said = stderr(&put);
    assert_eq!(put.status.code(), Some(1), "{put_said}");
    for destination in ["pika[0]", "pika[1]", "kafka[0]", "kafka[1]"] {
        let line = put_said
            .lines()
            .find(|line| {
                line.contains(destination) && line.contains("1 of 1 event was not delivered")
            })
            .unwrap_or_else(|| panic!("no line on {destination} in:\n{put_said}"));
        assert!(
            destination != "kafka[1]" || line.contains("missing"),
            "{line}"
        );
    }
    assert_eq!(lines_of(&dir.path().join("out.jsonl")).len(), 1);
    assert!(
        !said.contains("hunter2") && !put_said.contains("hunter2"),
        "a secret was shown"
    );
}
