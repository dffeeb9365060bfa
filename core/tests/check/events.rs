//! `evbus schema` and `evbus check --events`.

use std::fs;

use crate::support::{evbus, json_lines, run, stderr};
use evbus::idem::{schema, schemas};
use serde_json::{Value, json};

const REAL: &str = include_str!("../../../plugins/testkit/fixtures/idem-events.jsonl");

#[test]
fn the_command_shows_every_schema() {
    let home = tempfile::tempdir().unwrap();
    let output = run(evbus(home.path()).arg("schema"), b"");
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for known in schemas() {
        assert!(
            text.lines().any(|line| line.starts_with(known.name)),
            "{text}"
        );
        let output = run(evbus(home.path()).args(["schema", known.name]), b"");
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(shown, schema(known.name).unwrap().json());
    }
    let output = run(evbus(home.path()).args(["schema", "idem-runs"]), b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("idem-run,"), "{}", stderr(&output));
}

#[test]
fn check_finds_the_recorded_events_well() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("events.jsonl");
    fs::write(&file, REAL).unwrap();
    let output = run(
        evbus(home.path()).args(["check", "--events"]).arg(&file),
        b"",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(rows.contains(&vec!["idem-run", "yes", "4", "0"]), "{text}");
    assert!(
        rows.contains(&vec!["idem-custom", "no", "1", "-"]),
        "{text}"
    );
}

#[test]
fn check_names_line_profile_place_and_what_was_expected() {
    let home = tempfile::tempdir().unwrap();
    let lines = r#"{"profile": "idem-custom", "body": 1}

{"profile": "idem-exec", "body": {"tags": {"ref": "x", "type": "exec-post"}, "message": {"result": "yes", "ret": 1}, "run_name": ""}}
{"profile": "idem-exec"}
{"id": "1", "time": "2026-11-23T00:17:28Z", "profile": "idem-status", "tags": {}, "body": {"tags": {"ref": null, "type": "state-status"}, "message": "DONE", "run_name": "r"}}
"#;
    let output = run(
        evbus(home.path()).args(["check", "--events", "-"]),
        lines.as_bytes(),
    );
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for expected in [
        "standard input, line 3: idem-exec: /message/result: found the string \"yes\", expected boolean",
        "standard input, line 4: expected {\"profile\": ..., \"body\": ...} as JSON on one line, but missing field `body`",
        "standard input, line 5: idem-status: /message: found the string \"DONE\", expected one of \"FINISHED\"",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(said.lines().count(), 3, "{said}");

    let output = run(
        evbus(home.path()).args(["check", "--json", "--events", "-"]),
        lines.as_bytes(),
    );
    assert_eq!(output.status.code(), Some(1));
    let lines = json_lines(&output);
    assert_eq!(
        lines[0],
        json!({"line": 3, "profile": "idem-exec", "pointer": "/message/result",
               "found": "the string \"yes\"", "expected": "boolean"})
    );
    assert_eq!(
        lines.last().unwrap(),
        &json!({"events": 3, "undocumented": 1, "faults": 3})
    );
}
