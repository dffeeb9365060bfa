//! The acct file changes while the host runs.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;
use std::fs;

use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, kill_process};
use support::{RunningHost, lines_of, wait_for};
use tempfile::TempDir;

fn plugins() -> TempDir {
    plugin_dir(&["plugin-glob", "fixture-good", "fixture-hanging"])
}

fn write(host: &RunningHost, acct: &str) {
    let text = acct.replace("{dir}", &host.dir.path().to_string_lossy());
    // Whole or not at all, as an operator's editor does.
    fs::write(host.path("acct.new"), text).unwrap();
    fs::rename(host.path("acct.new"), host.path("acct.yml")).unwrap();
}

fn hang_up(host: &RunningHost) {
    let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
}

fn count(host: &RunningHost, text: &str) -> usize {
    host.log().matches(text).count()
}

fn wait_for_lines(host: &RunningHost, name: &str, lines: usize) {
    let path = host.path(name);
    wait_for(&format!("{lines} lines in {name}: {}", host.log()), || {
        (lines_of(&path).len() == lines).then_some(())
    });
}

const ONE: &str = "
fixture-good:
  idem-*: {path: '{dir}/one.jsonl'}
";

const TWO: &str = "
fixture-good:
  - '*': {path: '{dir}/two.jsonl'}
  - idem-*: {path: '{dir}/one.jsonl'}
";

#[test]
fn a_destination_comes_and_goes_and_the_others_keep_their_connections() {
    let plugins = plugins();
    let host = RunningHost::start(ONE, plugins.path(), &[]);
    host.put("idem-run", "1");
    wait_for_lines(&host, "one.jsonl", 1);
    write(&host, TWO);
    host.wait_for_log("the acct file was read again");
    host.put("idem-run", "2");
    wait_for_lines(&host, "one.jsonl", 2);
    wait_for_lines(&host, "two.jsonl", 1);
    assert_eq!(count(&host, "fixture-good[0] idem-*: connected"), 1);
    assert_eq!(
        count(&host, "fixture-good[1] idem-*: connected"),
        0,
        "it is the same one"
    );
    write(&host, ONE);
    host.wait_for_log("fixture-good[0] *: taken away");
    host.put("idem-run", "3");
    wait_for_lines(&host, "one.jsonl", 3);
    wait_for_lines(&host, "two.jsonl", 1);
}

#[test]
fn a_changed_destination_switches_without_loss() {
    let plugins = plugins();
    let host = RunningHost::start(
        "fixture-good: {'*': {path: '{dir}/one.jsonl', delay_ms: 20}}",
        plugins.path(),
        &[],
    );
    let mut lines = String::new();
    for number in 0..5000 {
        writeln!(lines, "{{\"profile\": \"p\", \"body\": {number}}}").unwrap();
    }
    host.put_events(&lines);
    write(&host, "fixture-good: {'*': {path: '{dir}/two.jsonl'}}");
    host.wait_for_log("changes over");
    host.put_events(&lines);
    wait_for("all events in one of the files", || {
        let all = lines_of(&host.path("one.jsonl")).len() + lines_of(&host.path("two.jsonl")).len();
        (all == 10_000).then_some(())
    });
}

#[test]
fn a_change_reaches_a_destination_that_has_no_connection() {
    let plugins = plugins();
    let host = RunningHost::start(
        "fixture-good: {'*': {path: '{dir}/missing/one.jsonl'}}",
        plugins.path(),
        &[],
    );
    host.wait_for_log("cannot open");
    host.put("p", "1");
    write(&host, "fixture-good: {'*': {path: '{dir}/two.jsonl'}}");
    wait_for_lines(&host, "two.jsonl", 1);
    assert_eq!(count(&host, "INFO opened"), 1, "{}", host.log());
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_is_explained() {
    let plugins = plugins();
    let host = RunningHost::start(ONE, plugins.path(), &[]);
    for (number, (acct, reason)) in [
        ("fixture-good: {idem-*: {pth: x}}", "missing field `path`"),
        ("fixture-good: [", "acct.yml:"),
        (
            "match_plugin: nothing\nfixture-good: {'*': {path: x}}",
            "found \"nothing\"",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(host.path("acct.yml"), acct).unwrap();
        hang_up(&host);
        host.wait_for_log(reason);
        let body = number.to_string();
        host.put("idem-run", &body);
        wait_for_lines(&host, "one.jsonl", number + 1);
    }
    write(&host, ONE);
    hang_up(&host);
    host.wait_for_log("the acct file was read again");
}

#[test]
fn what_a_removed_destination_could_not_deliver_waits_for_its_return() {
    let plugins = plugins();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let acct = "
fixture-good:
  - idem-*: {path: '{dir}/one.jsonl'}
  - down: {path: '{dir}/later/out.jsonl', }
";
    let host = RunningHost::start_in(
        home,
        acct,
        plugins.path(),
        &[
            "--state-dir",
            state.to_str().unwrap(),
            "--drain-timeout",
            "0.2",
        ],
    );
    for number in 0..10 {
        host.put("down", &number.to_string());
    }
    write(&host, ONE);
    host.wait_for_log("fixture-good[1] down: taken away");
    host.put("down", "99");
    fs::create_dir(host.path("later")).unwrap();
    write(&host, acct);
    wait_for_lines(&host, "later/out.jsonl", 10);
}

/// Threads and open files of the host.
fn resources(host: &RunningHost) -> (usize, usize) {
    let count = |what: &str| {
        fs::read_dir(format!("/proc/{}/{what}", host.pid()))
            .unwrap()
            .count()
    };
    (count("task"), count("fd"))
}

#[test]
fn a_thousand_reloads_under_load_with_one_down_and_one_hanging_lose_nothing() {
    const RELOADS: usize = 1000;
    let plugins = plugins();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let fixed = "
fixture-hanging:
  idem-*: {how: await, evbus: {deadline: 0.3}}
fixture-good:
  - idem-*: {path: '{dir}/one.jsonl'}
  - idem-run: {path: '{dir}/missing/out.jsonl', evbus: {retry: {max_delay: 0.5}}}
";
    let host = RunningHost::start_in(
        home,
        fixed,
        plugins.path(),
        &[
            "--state-dir",
            state.to_str().unwrap(),
            "--drain-timeout",
            "0.2",
        ],
    );
    let changing = [
        "  - changing: {path: '{dir}/a.jsonl'}\n",
        "  - changing: {path: '{dir}/a.jsonl', delay_ms: 1}\n",
        "",
        "  - other: {path: '{dir}/b.jsonl'}\n",
    ];
    let (mut sent, mut before) = (0, (0, 0));
    for reload in 0..RELOADS {
        write(
            &host,
            &format!("{fixed}{}", changing[reload % changing.len()]),
        );
        let read = count(&host, "the acct file was read again");
        hang_up(&host);
        if reload % 25 == 0 {
            let mut lines = String::new();
            for _ in 0..100 {
                writeln!(lines, "{{\"profile\": \"idem-run\", \"body\": {sent}}}").unwrap();
                sent += 1;
            }
            host.put_events(&lines);
        }
        wait_for("the reload", || {
            (count(&host, "the acct file was read again") > read).then_some(())
        });
        if reload == 100 {
            before = resources(&host);
        }
    }
    let after = resources(&host);
    assert!(
        after.0 <= before.0 + 20 && after.1 <= before.1 + 40,
        "threads and files: {before:?} after 100 reloads, {after:?} after {RELOADS}"
    );
    wait_for_lines(&host, "one.jsonl", sent);
    fs::create_dir(host.path("missing")).unwrap();
    wait_for_lines(&host, "missing/out.jsonl", sent);
    let (code, log) = host.stop();
    assert_eq!(code.code(), Some(0), "what hangs is kept on disk: {log}");
}
