//! The event library with a real host, and `evbus listen`, which uses it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::SystemTime;

use crate::support::{PATIENCE, RunningHost, evbus, lines_of, wait_for};
use evbus_client::blocking::{Client, Sender};
use evbus_client::{GetEvent, Incoming};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const ACCT: &str = "fixture-good:\n  web/*:\n    path: {dir}/out.jsonl\n";

fn plugins() -> TempDir {
    plugin_dir(&["plugin-glob", "fixture-good"])
}

/// Any event, for as long as a busy machine may need.
fn patient() -> GetEvent {
    GetEvent::new().wait(PATIENCE)
}

#[test]
fn an_event_that_a_client_fires_reaches_listeners_and_destinations() {
    let plugins = plugins();
    let prefixed = tempfile::tempdir().unwrap();
    let prefixed = prefixed.path().join("s");
    let more = ["--prefixed-sock-dir", prefixed.to_str().unwrap()];
    let host = RunningHost::start(ACCT, plugins.path(), &more);
    // A listener need not know the framing of a directory.
    let mut listeners = [host.path("s"), prefixed].map(|dir| Client::connect(dir).unwrap());
    let data = BTreeMap::from([("result", true)]);
    for framing in [
        evbus_client::PullFraming::Prefixed,
        evbus_client::PullFraming::Bare,
    ] {
        let builder = Client::builder(host.path("s")).pull_framing(framing);
        let client = builder.connect_blocking().unwrap();
        client.fire_event(&data, "web/deployed").unwrap();
        for listener in &mut listeners {
            let event = listener.get_event(patient()).unwrap().unwrap();
            assert_eq!(event.tag(), "web/deployed");
            let data: Value = event.decode().unwrap();
            assert_eq!(data["result"], true);
            assert_eq!(data["_stamp"].as_str().unwrap().len(), 26);
            assert_eq!(event.id(), None);
        }
    }
    let lines = wait_for("both events", || {
        Some(lines_of(&host.path("out.jsonl"))).filter(|lines| lines.len() == 2)
    });
    let body = lines[0]["body"].as_str().unwrap();
    assert!(body.starts_with("{\"result\":true,\"_stamp\":\""), "{body}");
}

#[test]
fn a_sender_is_answered_and_its_events_have_an_id_and_their_exact_body() {
    let plugins = plugins();
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let mut client = Client::connect(host.path("s")).unwrap();
    let mut sender = Sender::connect(&host.path("s")).unwrap();
    for n in 0..1000 {
        sender.fire("web/n", &n).unwrap();
    }
    sender.finish(PATIENCE).unwrap();
    for n in 0..1000 {
        let event = client.get_event(patient()).unwrap().unwrap();
        assert_eq!(event.body_json().unwrap(), n.to_string());
        assert!(event.id().is_some() && event.time_unix_ns().is_some());
    }
    // Without an event, there is nothing to acknowledge.
    let sender = Sender::connect(&host.path("s")).unwrap();
    sender.finish(PATIENCE).unwrap();
}

#[test]
fn a_restart_of_the_host_is_a_gap_to_both_clients() {
    let plugins = plugins();
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let mut blocking = Client::connect(host.path("s")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connect = evbus_client::Client::connect(host.path("s"));
    let mut client = runtime.block_on(connect).unwrap();
    // Read before the host is killed, because what it has not written yet is lost.
    host.put("one", "{}");
    let event = runtime.block_on(client.get_event(patient())).unwrap();
    assert_eq!(event.unwrap().tag(), "one");
    assert!(blocking.get_event(patient()).unwrap().is_some());
    let host = RunningHost::start_in(host.kill(), ACCT, plugins.path(), &[]);

    let firing = Client::connect(host.path("s")).unwrap().firing();
    let check = |next: &mut dyn FnMut() -> Incoming, tag: &str| {
        let Incoming::Lost(lost) = next() else {
            panic!("the connection was lost");
        };
        let Incoming::Gap(gap) = next() else {
            panic!("the host is back");
        };
        assert!(gap.from <= lost.at && lost.at <= gap.until);
        assert_eq!(gap.connections_lost, 1);
        let data = BTreeMap::<&str, i32>::new();
        firing.fire_event(&data, tag).unwrap();
        assert_eq!(next().into_event().unwrap().tag(), tag);
    };
    let mut events = client.iter_events("two");
    check(
        &mut || runtime.block_on(events.next()).unwrap().unwrap(),
        "two",
    );
    let mut events = blocking.iter_events("three");
    check(&mut || events.next().unwrap().unwrap(), "three");
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_knows_since_when_events_are_missing() {
    let plugins = plugins();
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let mut client = Client::connect(host.path("s")).unwrap();
    assert!(
        client
            .get_event(GetEvent::new().no_block())
            .unwrap()
            .is_none()
    );
    let stalled = SystemTime::now();
    let mut sender = Sender::connect(&host.path("s")).unwrap();
    let body = "x".repeat(1 << 20);
    for _ in 0..40 {
        sender.fire("large", &body).unwrap();
    }
    sender.finish(PATIENCE).unwrap();
    wait_for("the listener to be cut off", || {
        (listeners(&host)["cut_off"] == 1).then_some(())
    });
    let mut events = 0;
    let lost = loop {
        match client.get_incoming(patient()).unwrap().unwrap() {
            Incoming::Event(_) => events += 1,
            Incoming::Lost(lost) => break lost,
            other => panic!("{other:?}"),
        }
    };
    assert!(events < 40, "{events}");
    assert!(lost.to_string().contains("too slowly"), "{lost}");
    let Some(Incoming::Gap(gap)) = client.get_incoming(patient()).unwrap() else {
        panic!("the client connects again");
    };
    assert!(gap.from <= stalled, "{gap:?}");
    sender = Sender::connect(&host.path("s")).unwrap();
    sender.fire("small", &1).unwrap();
    sender.finish(PATIENCE).unwrap();
    let event = client.get_event(patient()).unwrap().unwrap();
    assert_eq!(event.tag(), "small");
}

/// The host's status of its listeners.
fn listeners(host: &RunningHost) -> Value {
    host.status()["host"]["listeners"].clone()
}

/// `evbus listen`, killed when dropped.
struct Listening {
    child: Child,
    /// `None` once the output is no longer read.
    lines: Option<BufReader<ChildStdout>>,
    errors: BufReader<ChildStderr>,
}

impl Listening {
    /// Starts it and waits until the host has accepted it.
    fn start(host: &RunningHost, args: &[&str]) -> Self {
        let before = listeners(host)["listeners"].as_u64().unwrap();
        let mut child = command(&host.path("s"), args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("the listener", || {
            (listeners(host)["listeners"].as_u64().unwrap() > before).then_some(())
        });
        Self {
            lines: child.stdout.take().map(BufReader::new),
            errors: BufReader::new(child.stderr.take().unwrap()),
            child,
        }
    }

    fn json(&mut self) -> Value {
        let mut line = String::new();
        self.lines.as_mut().unwrap().read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn note(&mut self) -> String {
        let mut line = String::new();
        self.errors.read_line(&mut line).unwrap();
        line
    }

    fn end(&mut self) -> Option<i32> {
        wait_for("listen to end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(sock_dir: &Path, args: &[&str]) -> Command {
    let mut command = evbus(sock_dir);
    command.arg("listen").arg("--sock-dir").arg(sock_dir);
    command.args(args);
    command
}

#[test]
fn listen_takes_several_tags_and_prints_as_asked() {
    let plugins = plugins();
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let args = ["--tag", "b/", "--tag", "d", "--count", "2", "--full"];
    let mut plain = Listening::start(&host, &args);
    let mut pretty = Listening::start(&host, &["--pretty", "--count", "1"]);
    let regex = ["--tag", "b|a/$", "--match-type", "regex", "--count", "1"];
    let mut regex = Listening::start(&host, &regex);
    for tag in ["a/b/", "b/", "cd", "d/e"] {
        host.put(tag, "{\"n\": 1}");
    }
    assert_eq!(plain.json()["tag"], "b/");
    assert_eq!(plain.json()["tag"], "d/e");
    assert_eq!(plain.end(), Some(0));
    let mut text = String::new();
    pretty
        .lines
        .as_mut()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(
        text.starts_with("{\n  \"n\": 1,\n  \"_stamp\": \""),
        "{text}"
    );
    assert_eq!(pretty.end(), Some(0));
    assert_eq!(regex.json()["n"], 1);
    assert_eq!(regex.end(), Some(0));
}

#[test]
fn listen_outlives_a_restart_of_the_host_and_says_what_is_missing() {
    let plugins = plugins();
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let mut listening = Listening::start(&host, &["--full"]);
    let mut strict = Listening::start(&host, &["--no-reconnect"]);
    host.put("one", "{}");
    assert_eq!(listening.json()["tag"], "one");
    assert_eq!(strict.json().as_object().unwrap().len(), 1);
    let dir = host.kill();
    let note = listening.note();
    assert!(note.contains("waiting for it to return"), "{note}");
    assert_eq!(strict.end(), Some(1));
    let note = strict.note();
    assert!(note.contains("the host closed the connection"), "{note}");
    let host = RunningHost::start_in(dir, ACCT, plugins.path(), &[]);
    let note = listening.note();
    assert!(
        note.contains("connected again; events fired within"),
        "{note}"
    );
    host.put("two", "{}");
    let line = listening.json();
    assert_eq!(line["tag"], json!("two"));
}

#[test]
fn listen_ends_with_0_on_an_interrupt_even_while_nobody_reads_what_it_writes() {
    let plugins = plugins();
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let interrupt = |listening: &mut Listening| {
        kill_process(Pid::from_child(&listening.child), Signal::INT).unwrap();
        listening.end()
    };
    let mut idle = Listening::start(&host, &[]);
    // Its signal handler is installed once it has shown an event.
    host.put("one", "{}");
    idle.json();
    assert_eq!(interrupt(&mut idle), Some(0));
    let mut stalled = Listening::start(&host, &[]);
    let body = format!("\"{}\"", "x".repeat(1 << 20));
    host.put("large", &body);
    // The beginning of a line that a pipe does not hold.
    stalled.lines.as_mut().unwrap().fill_buf().unwrap();
    assert_eq!(interrupt(&mut stalled), Some(0));
}

#[test]
fn listen_ends_with_0_when_its_reader_has_gone() {
    let plugins = plugins();
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let mut listening = Listening::start(&host, &[]);
    listening.lines = None;
    host.put("one", "{}");
    assert_eq!(listening.end(), Some(0));
}

#[test]
fn listen_ends_with_1_when_the_wait_is_over_and_nothing_came_and_else_with_0() {
    let plugins = plugins();
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let mut none = Listening::start(&host, &["--tag", "x", "--wait", "0.3"]);
    assert_eq!(none.end(), Some(1));
    let mut some = Listening::start(&host, &["--wait", "20", "--count", "1"]);
    host.put("x", "{}");
    assert_eq!(some.end(), Some(0));
}
