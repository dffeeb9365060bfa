//! What an entry gives for an event is shown before there is a host.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::{evbus, json_lines, run, stderr};
use evbus_testkit::plugin_dir;
use serde_json::{Value, json};

const ACCT: &str = "
fixture-good:
- salt/*:
    path: /dev/null
    evbus:
      when: message.retcode != 0
      body: \"{'minion': parts[4], 'password': message.password | default('none')}\"
      dedup: {key: message.jid, within: 5m}
- plain: {path: /dev/null}
";

const EVENTS: &str = r#"{"profile": "salt/job/20/ret/web1", "body": {"retcode": 1, "jid": "20"}}
{"profile": "salt/job/20/ret/web1", "body": {"jid": "20"}}

{"profile": "salt/job/20/ret/web1", "body": {"retcode": 0, "jid": "20"}}
{"profile": "plain", "body": 1}
"#;

fn evbus_with(dir: &Path, command: &str, flags: &[&str], events: &str) -> Output {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    fs::write(dir.join("acct.yml"), ACCT).unwrap();
    fs::write(dir.join("events.jsonl"), events).unwrap();
    run(
        evbus(dir)
            .current_dir(dir)
            .args([command, "--acct-file", "acct.yml"])
            .args(flags)
            .arg("--plugin-dir")
            .arg(plugins.path()),
        events.as_bytes(),
    )
}

#[test]
fn what_each_expression_gives_for_an_event_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let shown = evbus_with(
        dir.path(),
        "check",
        &["--show", "events.jsonl", "--json"],
        EVENTS,
    );
    assert!(shown.status.success(), "{}", stderr(&shown));
    let lines = json_lines(&shown);
    assert_eq!(lines.len(), 8);
    assert_eq!(
        lines[0]["given"],
        json!([
            {"key": "evbus.when", "value": "true"},
            {"key": "evbus.dedup.key", "value": "\"20\""},
            {"key": "evbus.body", "value": "{\"minion\":\"web1\",\"password\":\"none\"}"},
        ])
    );
    assert_eq!(lines[1]["matches"], false);
    assert_eq!(
        lines[2]["given"][0],
        json!({"key": "evbus.when", "fault": "undefined value; use the filter `default`, or the test `is defined`"})
    );
    let table = evbus_with(dir.path(), "check", &["--show", "-"], EVENTS);
    let text = String::from_utf8(table.stdout).unwrap();
    for line in [
        "salt/job/20/ret/web1  fixture-good[0] salt/*  evbus.when       true\n",
        "salt/job/20/ret/web1  fixture-good[1] plain   -                the pattern does not match\n",
        "plain                 fixture-good[1] plain   -                the same for every event\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn where_an_event_goes_is_explained_with_its_filter() {
    let dir = tempfile::tempdir().unwrap();
    let shown = evbus_with(dir.path(), "route", &["--event", "-"], EVENTS);
    assert!(shown.status.success(), "{}", stderr(&shown));
    let first: Vec<Value> = (json_lines(&shown).iter())
        .map(|line| {
            let first = &line["destinations"][0];
            json!([
                first["matches"],
                first["when"],
                first["goes"],
                first["fault"].is_string()
            ])
        })
        .collect();
    assert_eq!(
        first,
        [
            json!([true, "true", true, false]),
            json!([true, "failed", true, true]),
            json!([true, "false", false, false]),
            json!([false, null, false, false]),
        ]
    );
}

#[test]
fn an_event_that_cannot_be_read_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    for (command, flag) in [("check", "--show"), ("route", "--event")] {
        let events = "{\"profile\": \"plain\", \"body\": 1}\n{\"profile\": 1}\n";
        let shown = evbus_with(dir.path(), command, &[flag, "events.jsonl"], events);
        assert_eq!(shown.status.code(), Some(1), "{command}");
        let said = stderr(&shown);
        assert!(said.contains("events.jsonl, line 2: expected {"), "{said}");
        let missing = evbus_with(dir.path(), command, &[flag, "none.jsonl"], "");
        assert_eq!(missing.status.code(), Some(1), "{command}");
        assert!(
            stderr(&missing).contains("cannot read none.jsonl"),
            "{command}"
        );
    }
}

#[test]
fn a_name_that_does_not_exist_is_found_with_its_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let acct = ACCT.replace("message.jid", "mesage.jid");
    fs::write(dir.path().join("acct.yml"), acct).unwrap();
    let checked = run(
        evbus(dir.path())
            .current_dir(dir.path())
            .args(["check", "--acct-file", "acct.yml", "--plugin-dir"])
            .arg(plugins.path()),
        b"",
    );
    assert_eq!(checked.status.code(), Some(78));
    let expected = "acct.yml:8:15: fixture-good.salt/*.evbus.dedup.key: line 1, column 1: unknown name `mesage`, expected one of: body, env, host, id, message, parts, profile, run_name, tag, tags, time; did you mean `message`?";
    assert!(stderr(&checked).contains(expected), "{}", stderr(&checked));
}
