//! A destination that hangs or panics does not affect the others.

use std::fmt::Write as _;

use crate::support::{RunningHost, lines_of, wait_for};
use evbus_testkit::plugin_dir;

/// One destination hangs forever, one panics on every batch; both drop events when their queue is full, so they never
/// delay the program that fires.
const ACCT: &str = "
fixture-good:
  idem-*:
    path: {dir}/out.jsonl
fixture-hanging:
  idem-*:
    how: HOW
    evbus: {when_full: drop_newest, deadline: 1}
fixture-panicking:
  idem-*:
    at: publish
    evbus: {when_full: drop_newest}
";

fn third_gets_everything_in_order(how: &str) {
    const EVENTS: usize = 100_000;
    let plugins = plugin_dir(&[
        "plugin-glob",
        "fixture-good",
        "fixture-hanging",
        "fixture-panicking",
    ]);
    let host = RunningHost::start(&ACCT.replace("HOW", how), plugins.path(), &[]);
    let mut lines = String::new();
    for number in 0..EVENTS {
        writeln!(lines, "{{\"profile\": \"idem-run\", \"body\": {number}}}").unwrap();
    }
    host.put_events(&lines);
    let out = host.path("out.jsonl");
    let last = format!("\"body\":\"{}\"", EVENTS - 1);
    wait_for("the last event", || {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        (text.contains(&last) && text.ends_with('\n')).then_some(())
    });
    let received: Vec<String> = lines_of(&out)
        .iter()
        .map(|line| line["body"].as_str().unwrap().to_owned())
        // An event that crashed the panicking destination too often becomes a dead letter there, and every destination
        // of its profile gets the error event.
        .filter(|body| !body.contains("publish_event_error_message"))
        .collect();
    let expected: Vec<String> = (0..EVENTS).map(|number| number.to_string()).collect();
    assert!(
        received == expected,
        "{} of {EVENTS} arrived in order",
        received.len()
    );

    let log = host.log();
    assert!(log.contains("the plugin panicked"), "{log}");
    assert!(log.contains("dropping new events"), "{log}");
    host.wait_for_log("the plugin did not answer within 1 s");
    let (status, log) = host.stop();
    assert_eq!(
        status.code(),
        Some(1),
        "events remained for the broken destinations: {log}"
    );
    assert!(
        log.contains("destination fixture-hanging[0] idem-*"),
        "{log}"
    );
    assert!(
        !log.contains("destination fixture-good[0] idem-*: 1"),
        "{log}"
    );
}

#[test]
fn a_destination_that_never_answers_and_one_that_panics_do_not_reach_a_third() {
    third_gets_everything_in_order("await");
}

#[test]
fn a_destination_that_blocks_its_thread_and_one_that_panics_do_not_reach_a_third() {
    third_gets_everything_in_order("block");
}
