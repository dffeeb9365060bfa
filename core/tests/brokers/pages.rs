//! The acct files of docs/SALT.md and docs/IDEM.md work as they stand.

use std::fs;

use crate::consumers::{queues, read_records, topics};
use crate::salt_events::{lines, salt_events};
use crate::support::{RunningHost, evbus, run, stderr};
use evbus_testkit::plugin_dir;
use xtask::brokers::{Kafka, RabbitMq};

const SALT: &str = include_str!("../../../docs/SALT.md");
const IDEM: &str = include_str!("../../../docs/IDEM.md");
const IDEM_EVENTS: &str = include_str!("../../../plugins/testkit/fixtures/idem-events.jsonl");

/// The acct files of a page, each with its heading.
fn acct_files(page: &str) -> Vec<(&str, &str)> {
    let sections = page.split("\n## ").skip(1);
    let files = sections.filter_map(|section| {
        let (_, file) = section.split_once("```yaml\n")?;
        Some((section.lines().next()?, file.split_once("```")?.0))
    });
    files.collect()
}

/// Runs a page's files one after the other, with these events; each destination must get some of them, and accept all.
fn run_all(page: &str, events: &str, kafka: &Kafka, rabbit: &RabbitMq) {
    let plugins = plugin_dir(&["plugin-glob", "plugin-kafka", "plugin-pika", "plugin-file"]);
    let files = acct_files(page);
    assert!(files.len() >= 5, "{}", files.len());
    let amqp = format!("{{url: '{}'}}", rabbit.url());
    for (heading, file) in files {
        let acct = file
            .replace("localhost:9092", &kafka.bootstrap_servers())
            .replace("{host: localhost, login: guest, password: guest}", &amqp)
            .replace("/var/log/", "{dir}/");
        let host = RunningHost::start(&acct, plugins.path(), &[]);
        host.put_events(events);
        let status = crate::support::wait_for(heading, || {
            let status = host.status();
            let lanes = status["destinations"].as_array()?.clone();
            let over = lanes
                .iter()
                .all(|lane| lane["queued"] == 0 && lane["received"] != 0);
            over.then_some(lanes)
        });
        for lane in status {
            assert_eq!(lane["dead_lettered"], 0, "{heading}: {lane}");
            assert_eq!(lane["filter_faults"], 0, "{heading}: {lane}");
        }
        let (status, log) = host.stop();
        assert!(status.success(), "{heading}: {log}");
    }
}

/// What `evbus check --strict` says of a page's files; the warnings are faults there.
fn check_all(page: &str) {
    let plugins = plugin_dir(&["plugin-glob", "plugin-kafka", "plugin-pika", "plugin-file"]);
    let dir = tempfile::tempdir().unwrap();
    for (heading, file) in acct_files(page) {
        fs::write(dir.path().join("acct.yml"), file).unwrap();
        let checked = run(
            evbus(dir.path())
                .args(["check", "--strict", "--acct-file"])
                .arg(dir.path().join("acct.yml"))
                .arg("--plugin-dir")
                .arg(plugins.path()),
            b"",
        );
        assert!(checked.status.success(), "{heading}: {}", stderr(&checked));
    }
}

#[test]
fn the_acct_files_of_the_salt_page_work_as_they_stand() {
    check_all(SALT);
    let (kafka, rabbit) = (Kafka::start().unwrap(), RabbitMq::start().unwrap());
    let events = salt_events(500);
    run_all(SALT, &lines(&events), &kafka, &rabbit);
    let servers = kafka.bootstrap_servers();
    let returns: Vec<_> = events.iter().filter(|event| event.is_return()).collect();
    let records = read_records(&servers, &["salt-returns"], returns.len());
    for record in &records {
        let minion = record.key.clone().unwrap();
        assert!(record.header("evbus-profile").unwrap().ends_with(&minion));
    }
    let failures = read_records(&servers, &["salt-failures"], 1);
    assert!(
        failures[0].value["minion"].is_string(),
        "{}",
        failures[0].value
    );
    // By kind, with no job id in a name.
    let names = topics(&servers);
    assert!(names.contains(&"salt.job".to_owned()), "{names:?}");
    assert!(names.len() < 20, "{names:?}");
    let queues = queues(&rabbit);
    assert_eq!(
        queues,
        ["salt-returns-db1", "salt-returns-web1", "salt-returns-web2"]
    );
}

#[test]
fn the_acct_files_of_the_idem_page_work_as_they_stand() {
    check_all(IDEM);
    let (kafka, rabbit) = (Kafka::start().unwrap(), RabbitMq::start().unwrap());
    run_all(IDEM, IDEM_EVENTS, &kafka, &rabbit);
    let results = read_records(&kafka.bootstrap_servers(), &["idem-results"], 4);
    assert!(results.iter().all(|record| record.key.is_some()));
}

#[test]
fn a_topic_or_routing_key_that_is_a_tag_with_slashes_is_warned_of() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-kafka", "plugin-pika"]);
    let dir = tempfile::tempdir().unwrap();
    let text = "kafka:\n- salt/*:\n- salt/job/*: {topics: ['${ profile }']}\n- idem-*:\n- salt/a: {topics: [a]}\n\
                pika:\n- salt/*: {connection: {host: localhost}}\n";
    fs::write(dir.path().join("acct.yml"), text).unwrap();
    let checked = run(
        evbus(dir.path())
            .args(["check", "--acct-file"])
            .arg(dir.path().join("acct.yml"))
            .arg("--plugin-dir")
            .arg(plugins.path()),
        b"",
    );
    assert!(checked.status.success());
    let said = stderr(&checked);
    for expected in [
        "note: destination kafka[0] salt/*: `topics` is the whole profile name",
        "note: destination kafka[1] salt/job/*: `topics[0]` is the whole profile name",
        "note: destination pika[0] salt/*: `routing_key` is the whole profile name",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(said.matches("the whole profile name").count(), 3, "{said}");
}
