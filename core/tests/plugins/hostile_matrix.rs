//! Every call of a plugin that does every harm, in a running host: what is contained, and what only
//! `isolate: process` contains.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use crate::beside::{delivers, ends_at_once, ends_at_once_with};
use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use serde_json::Value;

/// More than most runtimes have threads.
const EACH: usize = 4;

/// An acct file with a good destination, and `each` of every deed.
fn acct(deeds: &[&str], each: usize, policy: &str) -> String {
    let mut acct =
        "fixture-good:\n  idem-*: {path: {dir}/good.jsonl}\nfixture-hostile:\n".to_owned();
    for deed in deeds {
        for _ in 0..each {
            writeln!(acct, "- idem-*: {{x: {deed}, evbus: {{{policy}}}}}").unwrap();
        }
    }
    acct
}

/// The status of the hostile destinations.
fn hostile(host: &RunningHost) -> Vec<Value> {
    let status = host.status();
    let all = status["destinations"].as_array().unwrap().iter();
    all.filter(|lane| lane["provider"] == "fixture-hostile")
        .cloned()
        .collect()
}

#[test]
fn calls_of_an_instance_that_hang_or_panic_are_contained_in_the_hosts_own_process() {
    let deeds = [
        ("connect-hang", "the plugin did not connect within 0.5 s"),
        ("publish-hang", "the plugin did not answer within 0.5 s"),
        (
            "publish-panic",
            "the plugin dropped the batch without an answer",
        ),
        // These show at a reload and at the end.
        ("close-hang", ": connected"),
        ("close-panic", ": connected"),
        ("drop-hang", ": connected"),
        ("drop-panic", ": connected"),
    ];
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-hostile"]);
    let harmful = acct(&deeds.map(|(deed, _)| deed), EACH, "deadline: 0.5");
    let host = RunningHost::start(&harmful, plugins.path(), &["--drain-timeout", "0"]);
    delivers(&host, "before");
    for (row, (deed, sentence)) in deeds.iter().enumerate() {
        for nth in 0..EACH {
            let who = format!("destination fixture-hostile[{}] idem-*: ", row * EACH + nth);
            wait_for(&format!("{who}{sentence} ({deed})\n{}", host.log()), || {
                let log = host.log();
                let said = |line: &&str| {
                    line.contains(&who) && format!("{line}: connected").contains(sentence)
                };
                log.lines().find(said).map(|_| ())
            });
        }
    }
    delivers(&host, "meanwhile");

    // The harmful instances are released, and others serve.
    let tame = acct(&["nothing"; 7], EACH, "deadline: 5");
    let tame = tame.replace("{dir}", &host.dir.path().to_string_lossy());
    fs::write(host.path("acct.new"), tame).unwrap();
    fs::rename(host.path("acct.new"), host.path("acct.yml")).unwrap();
    delivers(&host, "afterwards");
    wait_for("all events to be accepted", || {
        let lanes = hostile(&host);
        assert_eq!(lanes.len(), 7 * EACH);
        (lanes.iter().all(|lane| lane["accepted"] == 3)).then_some(())
    });
    ends_at_once(host);

    // If the plugins stay harmful, the host ends just as fast.
    let host = RunningHost::start(&harmful, plugins.path(), &["--drain-timeout", "0"]);
    delivers(&host, "before the end");
    let log = ends_at_once_with(host, 1);
    assert!(log.contains("neither delivered nor kept"), "{log}");
}

#[test]
fn a_plugin_that_calls_exit_in_the_hosts_own_process_is_named_with_what_it_was_doing() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-hostile"]);
    std::thread::scope(|scope| {
        for (deed, doing) in [
            ("connect-exit", "it was asked to connect"),
            ("publish-exit", "it was given a batch"),
            ("close-exit", "it was asked to close"),
            ("match-exit", "it matched a profile"),
        ] {
            let plugins = plugins.path();
            scope.spawn(move || {
                let dir = tempfile::tempdir().unwrap();
                let acct = if deed.starts_with("match") {
                    "match_plugin: fixture-hostile\nfixture-hostile: {p: }\n".to_owned()
                } else {
                    format!("fixture-hostile: {{'*': {{x: {deed}}}}}\n")
                };
                fs::write(dir.path().join("acct.yml"), acct).unwrap();
                let mut put = evbus(dir.path());
                put.args(["put", deed, "1", "--acct-file", "acct.yml", "--plugin-dir"])
                    .arg(plugins)
                    .current_dir(dir.path());
                let output = run(&mut put, b"");
                let said = stderr(&output);
                assert_eq!(output.status.code(), Some(70), "{deed}: {said}");
                let expected = format!("plugin fixture-hostile called exit while {doing}: ");
                assert!(said.contains(&expected), "{deed}: {said}");
            });
        }
    });
}

#[test]
fn whatever_a_call_of_an_instance_does_its_own_process_contains_it() {
    let mut deeds = Vec::new();
    for moment in ["connect", "publish", "close", "drop"] {
        for deed in ["hang", "panic", "abort", "exit"] {
            deeds.push(format!("{moment}-{deed}"));
        }
    }
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-hostile"]);
    let deeds: Vec<&str> = deeds.iter().map(String::as_str).collect();
    let acct = acct(&deeds, 1, "isolate: process, deadline: 2");
    let host = RunningHost::start(&acct, plugins.path(), &["--drain-timeout", "0"]);
    delivers(&host, "before");
    for (row, sentence) in [
        (0, "did not connect within 2 s"),
        (1, "was killed by signal 6 (SIGABRT)"),
        (2, "was killed by signal 6 (SIGABRT)"),
        (3, "ended with exit code 70"),
        (4, "the plugin did not answer within 2 s"),
        (5, "the plugin dropped the batch without an answer"),
        (6, "was killed by signal 6 (SIGABRT)"),
        (7, "ended with exit code 70"),
    ] {
        let who = format!("destination fixture-hostile[{row}] idem-*: ");
        wait_for(
            &format!("{who}{sentence} ({})\n{}", deeds[row], host.log()),
            || {
                let log = host.log();
                let said = |line: &&str| line.contains(&who) && line.contains(sentence);
                log.lines().find(said).map(|_| ())
            },
        );
    }
    delivers(&host, "meanwhile");
    assert_eq!(hostile(&host).len(), deeds.len());
    ends_at_once_with(host, 1);
}

#[test]
fn events_survive_a_plugin_that_ends_its_process_in_ways_of_its_own() {
    const EVENTS: usize = 60;
    let ways = [
        ("bus", "was killed by signal 7 (SIGBUS)"),
        ("ill", "was killed by signal 4 (SIGILL)"),
        ("twice", "was killed by signal 6 (SIGABRT)"),
    ];
    let mut acct =
        "fixture-good:\n  idem-*: {path: {dir}/good.jsonl}\nfixture-crashing:\n".to_owned();
    for (how, _) in ways {
        writeln!(
            acct,
            "- idem-*: {{path: '{{dir}}/{how}', how: {how}, every: 20, closing: true, evbus: {{isolate: process, batch: {{events: 10}}, retry: {{first_delay: 0.001, max_delay: 0.001}}}}}}"
        )
        .unwrap();
    }
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-crashing"]);
    let host = RunningHost::start(&acct, plugins.path(), &[]);
    let mut events = String::new();
    for number in 0..EVENTS {
        writeln!(events, "{{\"profile\": \"idem-run\", \"body\": {number}}}").unwrap();
    }
    host.put_events(&events);
    for (how, sentence) in ways {
        let out = host.path(how);
        wait_for(&format!("the events of {how}"), || {
            let lines = lines_of(&out);
            let bodies: BTreeSet<&str> = (lines.iter())
                .map(|line| line["body"].as_str().unwrap())
                .collect();
            (bodies.len() == EVENTS).then_some(())
        });
        host.wait_for_log(sentence);
    }
    delivers(&host, "afterwards");
    wait_for("all to be settled", || {
        let status = host.status();
        let all = status["destinations"].as_array().unwrap();
        all.iter().all(|lane| lane["queued"] == 0).then_some(())
    });
    // Each of them ends its process again when it is closed.
    ends_at_once(host);
}
