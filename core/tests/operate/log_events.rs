//! Log events: what a host logs becomes `idem-logger` events, and never feeds itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus::idem::{Checked, Checker, LoggerEvent};
use evbus_testkit::plugin_dir;
use serde_json::Value;

/// The log events in a file of the fixture, each in the documented format.
fn log_events(file: &Path) -> Vec<LoggerEvent> {
    let checker = Checker::new();
    lines_of(file)
        .iter()
        .filter(|line| line["profile"] == "idem-logger")
        .map(|line| {
            let body: Value = serde_json::from_str(line["body"].as_str().unwrap()).unwrap();
            let found = checker.check("idem-logger", &body);
            assert_eq!(found, Checked::Documented(Vec::new()), "{body}");
            serde_json::from_value(body).unwrap()
        })
        .collect()
}

#[test]
fn the_hosts_log_is_fired_from_its_first_line_to_its_last() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let acct = "fixture-good:\n- idem-logger: {path: '{dir}/log.jsonl'}\n- other: {path: '{dir}/other.jsonl'}\n";
    let more = ["--log-plugin", "event", "--run-name", "nightly"];
    let host = RunningHost::start(acct, plugins.path(), &more);
    let file = host.path("log.jsonl");
    let event = |text: &str| {
        wait_for(&format!("the event {text:?}"), || {
            let events = log_events(&file);
            events
                .into_iter()
                .find(|event| event.message.contains(text))
        })
    };
    // Logged before there was a bus.
    let loaded = event(" loaded");
    assert_eq!(loaded.tags.level, "INFO");
    assert_eq!(loaded.tags.module, "evbus::plugin::candidate");
    assert_eq!(
        loaded.tags.reference.as_deref(),
        Some("evbus.plugin.candidate")
    );
    assert_eq!(loaded.run_name, "nightly");
    let stamp = loaded.tags.timestamp.as_bytes();
    assert_eq!(
        (stamp.len(), stamp[10], stamp[19]),
        (23, b' ', b','),
        "{}",
        loaded.tags.timestamp
    );
    // Logged by another destination's plugin, with its own module.
    let opened = event("opened");
    assert_eq!(opened.tags.module, "fixture_good");
    assert!(
        opened.message.contains("profile=\"other\""),
        "{}",
        opened.message
    );
    event("destination fixture-good[1] other: connected");

    let (status, log, dir) = host.stop_and_keep();
    assert!(status.success(), "{log}");
    let events = log_events(&dir.path().join("log.jsonl"));
    let said = |text: &str| events.iter().any(|event| event.message.contains(text));
    assert!(said("shutting down: delivering queued events"), "{log}");
    // Lines about the destination that receives log events go only to standard error.
    assert!(
        log.contains("destination fixture-good[0] idem-logger: connected"),
        "{log}"
    );
    assert!(!said("[0] idem-logger: connected"));
}

#[test]
fn without_the_flag_nothing_is_fired_and_the_level_holds_with_it() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let acct = "fixture-good:\n- idem-logger: {path: '{dir}/log.jsonl'}\n- other: {path: '{dir}/other.jsonl', reject_containing: '\"bad\"'}\n";
    let silent = RunningHost::start(acct, plugins.path(), &[]);
    silent.put("other", "\"bad\"");
    silent.wait_for_log("rejected");
    assert_eq!(silent.status()["destinations"][0]["received"], 0);

    let more = ["--log-plugin", "event", "--log-level", "error"];
    let host = RunningHost::start(acct, plugins.path(), &more);
    host.put("other", "\"bad\"");
    let file = host.path("log.jsonl");
    wait_for("the event", || {
        (!log_events(&file).is_empty()).then_some(())
    });
    for event in log_events(&file) {
        assert_eq!(event.tags.level, "ERROR", "{}", event.message);
    }
}

#[test]
fn a_destination_that_fails_is_told_of_elsewhere_and_never_feeds_on_itself() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    // Both refuse every log event, and each refusal logs an error.
    let acct = r#"
fixture-good:
- idem-*: {path: '{dir}/1.jsonl', reject_containing: timestamp}
- idem-logger: {path: '{dir}/2.jsonl', reject_containing: timestamp}
- other: {path: '{dir}/3.jsonl', reject_containing: '"bad"'}
"#;
    let more = ["--log-plugin", "event", "--log-level", "debug"];
    let host = RunningHost::start(acct, plugins.path(), &more);
    let mut listener = listener(&host);
    // From here on, only this event causes log lines: one refusal at `other`, which is reported to both others; their
    // refusals are reported to nobody.
    wait_for("both to refuse what the start logged", || settled(&host));
    let before = numbers(&host);
    host.put("other", "\"bad\"");
    let mut heard = Vec::new();
    wait_for("all three refusals to be heard of", || {
        // There may be nothing to read yet.
        let _ = listener.read_to_end(&mut heard);
        let text = String::from_utf8_lossy(&heard);
        let refused = |n: u32| text.contains(&format!("destination fixture-good[{n}]"));
        (0..3).all(refused).then_some(())
    });
    wait_for("an end", || settled(&host));
    let after = numbers(&host);
    for lane in 0..2 {
        // The event of the line about `other`, and the error event of the other destination that refused it.
        assert_eq!(after[lane].0 - before[lane].0, 2, "{before:?} {after:?}");
    }
    // The probe arrives after everything that could still be on its way.
    host.put("other", "\"good\"");
    let others = host.path("3.jsonl");
    wait_for("the probe", || {
        let arrived = |line: &Value| line["body"] == "\"good\"";
        lines_of(&others).iter().any(arrived).then_some(())
    });
    assert_eq!(numbers(&host)[..2], after[..2]);
}

/// Received and dead-lettered, by destination.
fn numbers(host: &RunningHost) -> Vec<(u64, u64)> {
    let status = host.status();
    let lanes = status["destinations"].as_array().unwrap();
    let number = |lane: &Value, name: &str| lane[name].as_u64().unwrap();
    lanes
        .iter()
        .map(|lane| (number(lane, "received"), number(lane, "dead_lettered")))
        .collect()
}

/// Whether every destination has connected, and settled all it has received.
fn settled(host: &RunningHost) -> Option<()> {
    let status = host.status();
    let lanes = status["destinations"].as_array().unwrap();
    let all = lanes
        .iter()
        .all(|lane| lane["state"] == "connected" && lane["queued"] == 0);
    all.then_some(())
}

#[test]
fn what_finds_no_room_is_counted_and_told_once() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    // The first cannot connect until there is a directory, and its queue holds two events.
    let acct = r#"
fixture-good:
- idem-logger:
    path: '{dir}/later/log.jsonl'
    evbus: {queue: {events: 2}, when_full: block, retry: {first_delay: 0.05, max_delay: 0.05}}
- other: {path: '{dir}/other.jsonl', reject_containing: '"bad"'}
"#;
    let host = RunningHost::start(acct, plugins.path(), &["--log-plugin", "event"]);
    let mut listener = listener(&host);
    for _ in 0..20 {
        host.put("other", "\"bad\"");
    }
    let mut heard = Vec::new();
    wait_for("the refusals to be fired", || {
        // There may be nothing to read yet.
        let _ = listener.read_to_end(&mut heard);
        (refused_events(&heard).len() == 20).then_some(())
    });
    fs::create_dir(host.path("later")).unwrap();
    let file = host.path("later/log.jsonl");
    let room = || {
        let first = &host.status()["destinations"][0];
        (first["accepted"].as_u64() >= Some(2) && first["queued"] == 0).then_some(())
    };
    wait_for("room", room);
    let lost = |event: &LoggerEvent| {
        let text = "log lines were not sent as events to every destination";
        event.message.contains(text)
    };
    host.put("other", "\"bad\"");
    let event = wait_for("the loss to be told", || {
        log_events(&file).into_iter().find(lost)
    });
    assert_eq!(event.tags.level, "WARNING");
    let number = event.message.split(' ').next().unwrap();
    assert!(number.parse::<u64>().unwrap() >= 18, "{}", event.message);
    host.wait_for_log(&event.message);
    wait_for("room", room);
    let before = log_events(&file).len();
    host.put("other", "\"bad\"");
    wait_for("another line", || {
        (log_events(&file).len() > before).then_some(())
    });
    assert_eq!(
        log_events(&file).iter().filter(|event| lost(event)).count(),
        1
    );
}

/// The ids of the events that, according to log lines in these frames, were not delivered.
fn refused_events(frames: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(frames);
    let ids = text.split(" event=").skip(1);
    ids.map(|rest| rest.chars().take(36).collect()).collect()
}

/// A listener for everything published from now on; it never waits for it.
fn listener(host: &RunningHost) -> UnixStream {
    let listener = UnixStream::connect(host.path("s/master_event_pub.ipc")).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

#[test]
fn there_is_one_log_plugin() {
    let home = tempfile::tempdir().unwrap();
    let output = run(evbus(home.path()).args(["run", "--log-plugin", "odd"]), b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("possible values: event"),
        "{}",
        stderr(&output)
    );
}
