//! A real Idem with `clients/idem` beside it: what it fires reaches the host's destinations as its own
//! event bus delivers it, and nothing that a host does, or that there is none, changes a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::script::Script;
use crate::support::{RunningHost, lines_of, wait_for};
use evbus_testkit::plugin_dir;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::{Channel, Connection, ConnectionProperties};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use xtask::brokers::RabbitMq;

/// Every profile that the runs fire under; `all` gets every event of any profile.
const PROFILES: [&str; 10] = [
    "idem-status",
    "idem-high",
    "idem-low",
    "idem-chunk",
    "idem-state",
    "idem-exec",
    "idem-run",
    "idem-esm",
    "idem-test",
    "default",
];

fn beside_the_test(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/idem/real_idem")).join(name)
}

/// `idem`, in a new directory.
fn idem(dir: &Path, args: &[&str]) -> Command {
    let mut command = crate::script::command(&crate::script::python().with_file_name("idem"));
    command.env("HOME", dir).current_dir(dir).args(args);
    command
}

/// Applies `run.sls`, in which a state fails.
fn state(dir: &Path) -> Command {
    fs::copy(beside_the_test("run.sls"), dir.join("run.sls")).unwrap();
    let mut command = idem(dir, &["state", "run.sls", "--run-name", "nightly"]);
    command
        // Otherwise Idem would retry the failing state after a while.
        .args(["--reconciler", "none"])
        .arg("--cache-dir")
        .arg(dir.join("cache"))
        .arg("--root-dir")
        .arg(dir.join("root"));
    command
}

/// Calls a function that fires its own event.
fn exec(dir: &Path) -> Command {
    idem(
        dir,
        &[
            "exec",
            "test.event",
            "body=fired",
            "ingress_profile=default",
        ],
    )
}

fn ran(command: &mut Command) -> Output {
    let output = command.output().expect("Idem can be started");
    let said = text(&output);
    assert!(
        !said.contains("Traceback") && !said.contains("could not be passed on"),
        "{said}"
    );
    output
}

fn text(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// An acct file for a broker: a queue for each profile, and one for all.
fn acct(provider: &str, url: &str, prefix: &str) -> String {
    use std::fmt::Write as _;
    let mut acct = format!("{provider}:\n");
    for (pattern, queue) in PROFILES.iter().map(|it| (*it, *it)).chain([("*", "all")]) {
        write!(
            acct,
            "  '{pattern}':\n    connection: {{url: '{url}'}}\n    routing_key: {prefix}-{queue}\n"
        )
        .unwrap();
    }
    acct
}

#[test]
fn the_host_delivers_exactly_what_idem_delivers_itself() {
    let rabbit = RabbitMq::start().expect("RabbitMQ starts");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Idem's own provider does not declare the queues, and an event without a queue is lost.
    let (_connection, channel) = runtime.block_on(declare(&rabbit.url()));
    let plugins = plugin_dir(&["plugin-glob", "plugin-pika"]);
    let host = RunningHost::start(&acct("pika", &rabbit.url(), "host"), plugins.path(), &[]);
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.yml");
    fs::write(&own, acct("pika", &rabbit.url(), "own")).unwrap();

    for mut command in [state(dir.path()), exec(dir.path())] {
        command
            .env("EVBUS_SOCK_DIR", host.sock_dir())
            .arg("--acct-file")
            .arg(&own);
        ran(&mut command);
    }
    // When Idem has ended, both have sent everything, but the host may still be delivering.
    let (code, log) = host.stop();
    assert!(code.success(), "{log}");

    let take = |prefix: &str, queue: &str| -> Vec<Value> {
        runtime.block_on(drain(&channel, &format!("{prefix}-{queue}")))
    };
    let mut count = 0;
    for profile in PROFILES {
        let own = sorted(take("own", profile));
        assert!(!own.is_empty(), "nothing was fired under {profile}");
        assert_eq!(sorted(take("host", profile)), own, "{profile}");
        count += own.len();
    }
    let all = sorted(take("own", "all"));
    assert_eq!(sorted(take("host", "all")), all);
    assert_eq!(all.len(), count, "a profile is missing in the test's list");
    assert!(count > 30, "{count}");
}

async fn declare(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("RabbitMQ lets the test in");
    let channel = connection.create_channel().await.unwrap();
    for prefix in ["own", "host"] {
        for queue in PROFILES.iter().chain(&["all"]) {
            let options = QueueDeclareOptions {
                durable: true,
                ..QueueDeclareOptions::default()
            };
            channel
                .queue_declare(
                    format!("{prefix}-{queue}").into(),
                    options,
                    lapin::types::FieldTable::default(),
                )
                .await
                .unwrap();
        }
    }
    (connection, channel)
}

/// Takes all messages off a queue.
async fn drain(channel: &Channel, queue: &str) -> Vec<Value> {
    let mut bodies = Vec::new();
    loop {
        let options = BasicGetOptions { no_ack: true };
        match channel.basic_get(queue.into(), options).await.unwrap() {
            Some(message) => bodies.push(serde_json::from_slice(&message.data).unwrap()),
            None => return bodies,
        }
    }
}

fn sorted(mut bodies: Vec<Value>) -> Vec<Value> {
    bodies.sort_by_key(Value::to_string);
    bodies
}

const TO_FILE: &str = "file: {'*': {path: '{dir}/out.jsonl'}}";

fn file_host() -> (RunningHost, tempfile::TempDir) {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    (RunningHost::start(TO_FILE, plugins.path(), &[]), plugins)
}

#[test]
fn a_run_without_providers_of_its_own_sends_everything_and_one_without_a_host_is_the_same_run() {
    let (host, _plugins) = file_host();
    let dir = tempfile::tempdir().unwrap();
    let start = |sock_dir: Option<&str>, name: &str| {
        let dir = dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        let mut command = state(&dir);
        if let Some(sock_dir) = sock_dir {
            command.env("EVBUS_SOCK_DIR", sock_dir);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("Idem can be started")
    };
    // In parallel, because a run mostly waits for Python's imports.
    let with = start(Some(&host.sock_dir()), "with");
    let gone = start(Some("/nonexistent"), "gone");
    let unset = start(None, "unset");
    let [with, gone, unset] = [with, gone, unset].map(|run| run.wait_with_output().unwrap());

    assert_eq!(lines_of(&host.path("out.jsonl")).len(), 32);
    assert!(!text(&with).contains("evbus host"), "{}", text(&with));
    for (other, warning) in [
        (&gone, "cannot connect to the event socket"),
        (&unset, "EVBUS_SOCK_DIR is not set"),
    ] {
        let said = text(other);
        assert_eq!(other.status, with.status, "{said}");
        assert_eq!(said.matches("to no evbus host").count(), 1, "{said}");
        assert!(said.contains(warning), "{said}");
        for outcome in [
            "run: 2 successful",
            "sleep: 1 successful",
            "Expected failure",
        ] {
            let there = [text(&with), said.clone()].map(|said| said.contains(outcome));
            assert_eq!(there, [true; 2], "{outcome}: {said}");
        }
    }
}

#[test]
fn a_host_that_reads_nothing_costs_the_end_of_a_run_five_seconds_at_most() {
    let (host, _plugins) = file_host();
    let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let start = Instant::now();
    let output = ran(exec(dir.path()).env("EVBUS_SOCK_DIR", host.sock_dir()));
    let took = start.elapsed();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("did not get 2 events"), "{said}");
    // Python starts slowly on a busy machine, hence the upper limit.
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_mins(1),
        "{took:?}"
    );
    kill_process(pid, Signal::CONT).unwrap();
}

#[test]
fn events_wait_for_a_host_that_ended_and_reach_the_next_one() {
    let (host, plugins) = file_host();
    let mut script = Script::start(&beside_the_test("bridge.py"), &[&host.sock_dir()]);
    assert_eq!(script.line(), "sent");
    wait_for("the first events", || {
        (lines_of(&host.path("out.jsonl")).len() == 3).then_some(())
    });
    let dir = host.kill();
    script.go();
    assert_eq!(script.line(), "waiting");
    let host = RunningHost::start_in(dir, TO_FILE, plugins.path(), &[]);
    script.go();
    script.finish();
    let bodies: Vec<Value> = lines_of(&host.path("out.jsonl"))
        .iter()
        .map(|line| line["body"].clone())
        .collect();
    let expected = ["1", "\"ü\"", "[\"NaN\"]", "10", "11", "12"];
    let expected = expected.map(|text| serde_json::from_str::<Value>(text).unwrap());
    assert_eq!(bodies, expected);
}

#[test]
fn a_full_queue_drops_what_is_new_and_says_so_once() {
    let (host, _plugins) = file_host();
    let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let mut script = Script::start(&beside_the_test("full.py"), &[&host.sock_dir()]);
    let queued: usize = script.line().parse().unwrap();
    assert!(queued >= 10_000, "{queued}");
    kill_process(pid, Signal::CONT).unwrap();
    script.go();
    script.finish();
    let path = host.path("out.jsonl");
    wait_for("what was queued", || {
        (lines_of(&path).len() >= queued).then_some(())
    });
    let numbers: Vec<Value> = lines_of(&path)
        .iter()
        .map(|it| it["body"].clone())
        .collect();
    assert_eq!(numbers, (0..queued).map(Value::from).collect::<Vec<_>>());
}
