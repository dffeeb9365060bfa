//! Dead letters have a bound of their own: a destination that refuses everything neither fills the state
//! directory nor is in another destination's way.

use std::fmt::Write as _;
use std::fs;

use crate::support::{RunningHost, evbus, json_lines, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use serde_json::Value;

const ACCT: &str = "
fixture-good:
  - bad-*:
      path: /dev/null
      reject_containing: number
      evbus: {dead_letters: {events: 10}}
  - good-*:
      path: '{dir}/good.jsonl'
      evbus: {durable: true}
";

fn host(dir: tempfile::TempDir, acct: &str, plugins: &std::path::Path) -> RunningHost {
    let state = dir.path().join("state");
    RunningHost::start_in(
        dir,
        acct,
        plugins,
        &[
            "--state-dir",
            state.to_str().unwrap(),
            "--state-limit",
            "4 MiB",
        ],
    )
}

fn fire(host: &RunningHost, from: u32, to: u32) {
    let mut lines = String::new();
    for number in from..=to {
        for profile in ["bad-run", "good-run"] {
            let body = format!("{{\"number\": {number}}}");
            writeln!(lines, "{{\"profile\": \"{profile}\", \"body\": {body}}}").unwrap();
        }
    }
    host.put_events(&lines);
}

/// The numbers of the dead letters that `evbus deadletters` shows, in its order.
fn letters(host: &RunningHost) -> Vec<u64> {
    let deadletters = |args: &[&str]| {
        let output = run(
            evbus(host.dir.path())
                .arg("deadletters")
                .args(args)
                .arg("--state-dir")
                .arg(host.path("state")),
            b"",
        );
        assert!(output.status.success(), "{}", stderr(&output));
        json_lines(&output)
    };
    let number = |letter: &Value| {
        let shown = deadletters(&["show", letter["id"].as_str().unwrap()]);
        let text = shown[0]["body"].to_string();
        let (_, rest) = text.split_once("number\":").unwrap();
        rest.trim_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .unwrap()
    };
    deadletters(&["list", "--json"])
        .iter()
        .map(number)
        .collect()
}

/// Numbers of the destination that refuses everything: kept, dropped, dead-lettered.
fn numbers(host: &RunningHost) -> (u64, u64, u64) {
    let status = host.status();
    let lane = &status["destinations"][0];
    let number = |key: &str| lane[key].as_u64().unwrap();
    let sum = [
        "accepted",
        "dead_lettered",
        "dropped",
        "damaged",
        "lost",
        "queued",
    ];
    assert_eq!(
        sum.iter().map(|key| number(key)).sum::<u64>(),
        number("received"),
        "{lane}"
    );
    assert!(number("dead_letter_bytes") >= 100 * number("dead_letters"));
    (
        number("dead_letters"),
        number("dead_letters_dropped"),
        number("dead_lettered"),
    )
}

#[test]
fn the_newest_dead_letters_are_kept_the_others_counted_and_other_destinations_go_on() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let first = host(tempfile::tempdir().unwrap(), ACCT, plugins.path());
    fire(&first, 1, 40);
    wait_for("30 to be dropped", || {
        (numbers(&first) == (10, 30, 40)).then_some(())
    });
    assert_eq!(letters(&first), (31..=40).collect::<Vec<u64>>());
    first.wait_for_log(
        "destination fixture-good bad-*: its dead letters have reached their limit (10 kept,",
    );
    let table = run(
        evbus(first.dir.path())
            .args(["status", "--sock-dir"])
            .arg(first.path("s")),
        b"",
    );
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("DEAD DROPPED"), "{table}");

    let (_, log, dir) = first.stop_and_keep();
    assert_eq!(
        log.matches("its dead letters have reached their limit")
            .count(),
        1,
        "{log}"
    );
    let second = host(dir, ACCT, plugins.path());
    assert_eq!(numbers(&second), (10, 30, 0));
    assert_eq!(letters(&second), (31..=40).collect::<Vec<u64>>());
    fire(&second, 41, 45);
    wait_for("5 more to be dropped", || {
        (numbers(&second) == (10, 35, 5)).then_some(())
    });
    assert_eq!(letters(&second), (36..=45).collect::<Vec<u64>>());
    wait_for("the other destination's events", || {
        (lines_of(&second.path("good.jsonl")).len() == 45).then_some(())
    });
}

#[test]
fn a_reload_bounds_the_dead_letters_that_are_there() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let host = host(tempfile::tempdir().unwrap(), ACCT, plugins.path());
    fire(&host, 1, 40);
    wait_for("30 to be dropped", || {
        (numbers(&host) == (10, 30, 40)).then_some(())
    });
    let dir = host.dir.path().display().to_string();
    let acct = ACCT
        .replace("{dir}", &dir)
        .replace("{events: 10}", "{events: 4, when_full: drop_newest}");
    fs::write(host.path("acct.yml"), acct).unwrap();
    wait_for("6 more to be dropped", || {
        (numbers(&host) == (4, 36, 40)).then_some(())
    });
    fire(&host, 41, 42);
    wait_for("the new ones to be dropped", || {
        (numbers(&host) == (4, 38, 42)).then_some(())
    });
    assert_eq!(letters(&host), (31..=34).collect::<Vec<u64>>());
}

#[test]
fn dead_letters_that_fill_their_part_of_the_limit_keep_no_durable_event_from_being_written() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let acct = ACCT.replace("{events: 10}", "{when_full: drop_newest}");
    let host = host(tempfile::tempdir().unwrap(), &acct, plugins.path());
    let fill = "x".repeat(200_000);
    // Twice the limit.
    let mut lines = String::new();
    for number in 0..40 {
        let body = format!("{{\"number\": {number}, \"fill\": \"{fill}\"}}");
        writeln!(lines, "{{\"profile\": \"bad-run\", \"body\": {body}}}").unwrap();
    }
    host.put_events(&lines);
    // An error event contains the event's text, so it is dropped or fits into the rest.
    wait_for("all to be refused", || {
        let (kept, dropped, dead_lettered) = numbers(&host);
        (dead_lettered == 40 && kept + dropped == 40 && kept <= 5).then_some(())
    });
    let status = host.status();
    let bytes = status["destinations"][0]["dead_letter_bytes"]
        .as_u64()
        .unwrap();
    assert!((800_000..=1024 * 1024).contains(&bytes), "{bytes}");
    fire(&host, 1, 20);
    wait_for("the durable events", || {
        (lines_of(&host.path("good.jsonl")).len() == 20).then_some(())
    });
}
