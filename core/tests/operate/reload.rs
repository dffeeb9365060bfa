//! The acct file changes while the host runs.
mod ending;
mod readme;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::Output;
use std::time::Duration;

use crate::support::{RunningHost, default_state_dir, evbus, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn plugins() -> TempDir {
    plugin_dir(&["plugin-glob", "fixture-good", "fixture-hanging"])
}

fn write(host: &RunningHost, acct: &str) {
    let text = acct.replace("{dir}", &host.dir.path().to_string_lossy());
    // Replaced atomically, as an editor does.
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
    host.wait_for_log("reloaded");
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
    host.wait_for_log("WARN destination fixture-good[0] *: removed");
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
    host.wait_for_log("configuration changed, reconnecting");
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
            "match plugin \"nothing\"",
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
    host.wait_for_log("reloaded");
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
    host.wait_for_log("WARN destination fixture-good[1] down: removed");
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
        let read = count(&host, "acct file reloaded");
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
            (count(&host, "acct file reloaded") > read).then_some(())
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

/// `evbus reload`, which answers when the host is done.
fn reload(host: &RunningHost) -> Output {
    let mut command = evbus(host.dir.path());
    run(
        command.args(["reload", "--sock-dir"]).arg(host.path("s")),
        b"",
    )
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Numbered events of a profile.
fn events(profile: &str, numbers: std::ops::Range<usize>) -> String {
    let mut lines = String::new();
    for number in numbers {
        writeln!(lines, "{{\"profile\": \"{profile}\", \"body\": {number}}}").unwrap();
    }
    lines
}

/// The bodies that are in a file.
fn bodies(host: &RunningHost, name: &str) -> BTreeSet<String> {
    let lines = lines_of(&host.path(name));
    (lines.iter())
        .map(|line| line["body"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_reload_that_fails_half_way_leaves_every_queue_as_it_was() {
    const EVENTS: usize = 300;
    const SLOW: &str =
        "  - slow: {path: '{dir}/slow.jsonl', delay_ms: 20, evbus: {batch: {events: 1}}}\n";
    const STAYING: &str = "fixture-good:\n  - idem-*: {path: '{dir}/one.jsonl'}\n";
    const NEWER: &str = "  - newer: {path: '{dir}/newer.jsonl'}\n";
    let plugins = plugins();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let options = [
        "--state-dir",
        state.to_str().unwrap(),
        "--drain-timeout",
        "60",
    ];
    // A destination's store, as left by a newer version of evbus.
    let host = RunningHost::start_in(home, &format!("{STAYING}{NEWER}"), plugins.path(), &options);
    let (status, log, home) = host.stop_and_keep();
    assert_eq!(status.code(), Some(0), "{log}");
    let stores = fs::read_dir(state.join("queues")).unwrap();
    let newer = stores
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.contains("newer") && path.extension().is_some_and(|ending| ending == "db")
        })
        .unwrap();
    let store = Connection::open(newer).unwrap();
    store.pragma_update(None, "user_version", 99).unwrap();
    drop(store);

    let host = RunningHost::start_in(home, &format!("{STAYING}{SLOW}"), plugins.path(), &options);
    host.put_events(&events("slow", 0..EVENTS));
    write(&host, STAYING);
    let removed = reload(&host);
    assert_eq!(
        stdout(&removed),
        "removed fixture-good[1] slow\n0 added, 1 removed, 0 changed, 1 unchanged\n"
    );

    // It would be added again if the other one had no fault.
    write(&host, &format!("{STAYING}{SLOW}{NEWER}"));
    for _ in 0..3 {
        let failed = reload(&host);
        assert_eq!(failed.status.code(), Some(1), "{}", stdout(&failed));
        let said = stderr(&failed);
        assert!(said.contains("nothing was changed: the store"), "{said}");
        assert!(said.contains("has format 99"), "{said}");
    }
    assert_eq!(host.status()["destinations"].as_array().unwrap().len(), 1);
    let before = lines_of(&host.path("slow.jsonl")).len();
    wait_for("the removed one to go on delivering", || {
        (lines_of(&host.path("slow.jsonl")).len() > before).then_some(())
    });

    write(&host, &format!("{STAYING}{SLOW}"));
    let back = reload(&host);
    assert!(
        stdout(&back).starts_with("added fixture-good[1] slow\n"),
        "{}",
        stderr(&back)
    );
    wait_for("all events of the one that came back", || {
        (bodies(&host, "slow.jsonl").len() == EVENTS).then_some(())
    });
    let status = host.status();
    let slow = &status["destinations"][1];
    assert_eq!(
        (&slow["received"], &slow["queued"]),
        (&EVENTS.into(), &0.into()),
        "{status}"
    );
}

#[test]
fn a_destination_removed_and_renamed_a_hundred_times_loses_no_event() {
    const ROUNDS: usize = 120;
    let plugins = plugins();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    // The removed destination is stopped at about the time when it is added again.
    let options = [
        "--state-dir",
        state.to_str().unwrap(),
        "--drain-timeout",
        "0.02",
    ];
    let entry = |pattern: &str| {
        format!(
            "  - '{pattern}': {{path: '{{dir}}/out.jsonl', delay_ms: 5, evbus: {{batch: {{events: 3}}}}}}\n"
        )
    };
    let fixed = "fixture-good:\n  - always: {path: '{dir}/always.jsonl'}\n";
    let host = RunningHost::start_in(home, fixed, plugins.path(), &options);
    let mut sent = 0;
    for round in 0..ROUNDS {
        let acct = match round % 4 {
            0 | 2 => format!("{fixed}{}", entry("t*")),
            1 => format!("{fixed}{}", entry("t?")),
            _ => fixed.to_owned(),
        };
        write(&host, &acct);
        let reloaded = reload(&host);
        assert!(reloaded.status.success(), "{}", stderr(&reloaded));
        if round % 4 != 3 {
            host.put_events(&events("t1", sent..sent + 10));
            sent += 10;
        }
    }
    write(&host, &format!("{fixed}{}{}", entry("t*"), entry("t?")));
    assert!(reload(&host).status.success());
    wait_for(&format!("{sent} events: {}", host.log()), || {
        (bodies(&host, "out.jsonl").len() == sent).then_some(())
    });
    let status = host.status();
    for destination in status["destinations"].as_array().unwrap() {
        for number in ["dropped", "damaged", "lost", "dead_lettered"] {
            assert_eq!(destination[number], 0, "{destination}");
        }
    }
}

#[test]
fn an_acct_file_that_is_being_written_is_used_when_it_is_complete() {
    let plugins = plugins();
    let host = RunningHost::start(TWO, plugins.path(), &[]);
    let text = fs::read_to_string(host.path("acct.yml")).unwrap();
    let whole = format!(
        "{text}  - more: {{path: '{}'}}\n",
        host.path("more.jsonl").display()
    );
    let half = text.find("  - idem-*").unwrap();
    let mut file = fs::File::create(host.path("acct.yml")).unwrap();
    // Longer than the host waits for a file to settle; half of the file is valid and lacks a destination.
    for (number, part) in [&whole[..half], ""].into_iter().enumerate() {
        file.write_all(part.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        host.put("idem-run", &number.to_string());
    }
    file.write_all(&whole.as_bytes()[half..]).unwrap();
    drop(file);
    host.wait_for_log("1 added, 0 removed, 0 changed, 2 unchanged");
    wait_for_lines(&host, "one.jsonl", 2);
    assert_eq!(count(&host, "removed;"), 0, "{}", host.log());
    host.put("more", "3");
    wait_for_lines(&host, "more.jsonl", 1);
}

#[test]
fn an_acct_file_that_became_empty_is_refused_until_it_is_asked_for() {
    let plugins = plugins();
    let host = RunningHost::start(TWO, plugins.path(), &[]);
    for (number, text) in ["", "match_plugin: glob\nfixture-good:\n"]
        .into_iter()
        .enumerate()
    {
        fs::write(host.path("acct.yml"), text).unwrap();
        wait_for("the refusal", || {
            let refusals = count(
                &host,
                "contains no destinations; keeping the previous configuration with 2 of them; run `evbus reload`",
            );
            (refusals == number + 1).then_some(())
        });
        host.put("idem-run", "1");
        wait_for_lines(&host, "one.jsonl", number + 1);
    }
    let emptied = reload(&host);
    assert_eq!(
        stdout(&emptied),
        "removed fixture-good[0] *\nremoved fixture-good[1] idem-*\n0 added, 2 removed, 0 changed, 0 unchanged\n"
    );
    for removed in ["fixture-good[0] *", "fixture-good[1] idem-*"] {
        let line = format!("WARN destination {removed}: removed;");
        assert_eq!(count(&host, &line), 1, "{}", host.log());
    }
    assert_eq!(host.status()["destinations"], serde_json::json!([]));
}

#[test]
fn a_reload_that_is_asked_for_says_why_nothing_was_changed() {
    let plugins = plugins();
    let host = RunningHost::start(ONE, plugins.path(), &[]);
    write(
        &host,
        "fixture-good:\n  a: {path: x, one: 1}\n  b: {path: 7}\n",
    );
    let refused = reload(&host);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    // Each fault has its own line, in the log too.
    let file = host.path("acct.yml").display().to_string();
    for fault in ["2:16: fixture-good.a.one", "3:7: fixture-good.b.path"] {
        let fault = format!("{file}:{fault}");
        assert!(
            said.contains(&format!("error: nothing was changed: {fault}")),
            "{said}"
        );
        host.wait_for_log(&format!(
            "ERROR the acct file is invalid; keeping the previous configuration: {fault}"
        ));
    }
    host.put("idem-run", "1");
    wait_for_lines(&host, "one.jsonl", 1);

    let home = tempfile::tempdir().unwrap();
    let nobody = run(evbus(home.path()).arg("reload"), b"");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        stderr(&nobody).contains("default-state"),
        "{}",
        stderr(&nobody)
    );
}
