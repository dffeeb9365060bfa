//! A broker that lost what it had acknowledged, as after it was restored from an old copy of its disk: the
//! idempotent producer's sequence does not fit what the broker has, which is a fatal error for that producer.

use std::fs;
use std::path::Path;

use crate::consumers::read_topic;
use crate::support::{RunningHost, wait_for};
use evbus_testkit::plugin_dir;
use serde_json::{Value, json};
use xtask::brokers::Kafka;

/// The pause before another attempt is long enough for what `status` reports meanwhile to be seen.
const ACCT: &str = "
kafka:
  fatal:
    connection: {bootstrap_servers: 'KAFKA'}
    topics: [fatal]
    evbus: {ordered: true, retry: {first_delay: 3, max_delay: 3}}
";

/// How many events are fired at a time.
const PART: usize = 5;

#[test]
fn a_fatal_error_of_the_producer_is_reported_and_a_new_instance_delivers_every_event() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-kafka"]);
    let mut kafka = Kafka::start().expect("Kafka starts");
    kafka
        .create_topic("fatal", 1)
        .expect("the broker makes topics");
    let acct = ACCT.replace("KAFKA", &kafka.bootstrap_servers());
    let host = RunningHost::start(&acct, plugins.path(), &[RunningHost::DEFAULT_STATE]);
    deliver(&host, 0);

    kafka.stop().expect("Kafka stops");
    let earlier = tempfile::tempdir().unwrap();
    copy(&kafka.data_dir(), earlier.path());
    kafka.restart().expect("Kafka starts again");
    deliver(&host, 1);

    kafka.stop().expect("Kafka stops");
    fs::remove_dir_all(kafka.data_dir()).unwrap();
    copy(earlier.path(), &kafka.data_dir());
    kafka.restart().expect("Kafka starts again");
    wait_for_state(&host, "connected");
    fire(&host, 2);

    let cause = "the idempotent producer failed (";
    let status = wait_for("the cause in the status", || {
        let lane = lane(&host);
        let error = lane["last_error"].as_str().unwrap_or_default();
        error.starts_with(cause).then_some(lane)
    });
    let error = status["last_error"].as_str().unwrap();
    assert!(error.contains("is created again"), "{error}");
    // The log leaves changes of a link out that follow each other closely, but not why events are tried again.
    host.wait_for_log(&format!("will be retried (attempt 1 failed): {cause}"));

    wait_for_accepted(&host, 3 * PART);
    wait_for_state(&host, "connected");
    let status = lane(&host);
    assert_eq!(status["dead_lettered"], 0, "{status}");
    assert_eq!(status["dropped"], 0, "{status}");
    let (code, log) = host.stop();
    assert_eq!(code.code(), Some(0), "{log}");
    // The broker has lost the second part. What was fired since then is all there, in its order.
    let arrived = read_topic(&kafka.bootstrap_servers(), "fatal", 2 * PART);
    let arrived: Vec<Value> = arrived.into_iter().map(|(_, body)| body).collect();
    let expected: Vec<Value> = [0, 2]
        .into_iter()
        .flat_map(part)
        .map(|n| json!(n))
        .collect();
    assert_eq!(arrived, expected);
}

/// The numbers that are fired as one part.
fn part(nth: usize) -> std::ops::Range<usize> {
    nth * PART..(nth + 1) * PART
}

fn fire(host: &RunningHost, nth: usize) {
    for n in part(nth) {
        host.put("fatal", &n.to_string());
    }
}

fn deliver(host: &RunningHost, nth: usize) {
    wait_for_state(host, "connected");
    fire(host, nth);
    wait_for_accepted(host, (nth + 1) * PART);
}

fn lane(host: &RunningHost) -> Value {
    host.status()["destinations"][0].take()
}

fn wait_for_state(host: &RunningHost, state: &str) {
    wait_for(&format!("the destination to be {state}"), || {
        (lane(host)["state"] == state).then_some(())
    });
}

fn wait_for_accepted(host: &RunningHost, count: usize) {
    wait_for(&format!("{count} accepted events"), || {
        (lane(host)["accepted"] == count).then_some(())
    });
}

/// Copies what is in a directory into another one, which is made if it is missing.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copied = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &copied);
        } else {
            fs::copy(entry.path(), copied).unwrap();
        }
    }
}
