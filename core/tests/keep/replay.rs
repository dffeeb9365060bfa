//! Dead letters of a running host: kept, shown while it runs, replayed by it and without it.

use std::path::Path;
use std::process::Output;

use crate::support::{RunningHost, evbus, json_lines, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use serde_json::{Value, json};

const REFUSING: &str = "
fixture-good:
  idem-*: {path: '{dir}/out.jsonl', reject_containing: '\"poison\"'}
";

const WILLING: &str = "
fixture-good:
  idem-*: {path: '{dir}/out.jsonl'}
";

fn deadletters(state: &Path, args: &[&str]) -> Output {
    run(
        evbus(state)
            .arg("deadletters")
            .args(args)
            .arg("--state-dir")
            .arg(state),
        b"",
    )
}

fn listed(state: &Path) -> Vec<Value> {
    let output = deadletters(state, &["list", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    json_lines(&output)
}

#[track_caller]
fn replay(state: &Path, expected: &Value) -> String {
    let output = deadletters(state, &["replay", "--provider", "fixture-good", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(json_lines(&output), [json!({ "replayed": expected })]);
    stderr(&output)
}

#[test]
fn a_dead_letter_is_tried_again_by_the_host_that_runs_and_delivered_by_one_that_takes_it() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("state");
    let more = ["--state-dir", state.to_str().unwrap()];
    let host = RunningHost::start(REFUSING, plugins.path(), &more);
    host.put("idem-run", "\"poison\"");
    host.put("idem-run", "1");
    let first = wait_for("the dead letter", || listed(&state).pop());
    assert_eq!(first["profile"], "idem-run");
    let id = first["id"].as_str().unwrap();
    let output = deadletters(&state, &["show", id, "--body"]);
    assert_eq!(output.stdout, b"\"poison\"");

    // The host refuses it again, later.
    let said = replay(&state, &json!(1));
    assert!(!said.contains("no host"), "{said}");
    let second = wait_for("the dead letter again", || {
        let letter = listed(&state).pop()?;
        (letter["last_attempt"] != first["last_attempt"]).then_some(letter)
    });
    assert_eq!(second["id"], first["id"]);

    let output = run(
        evbus(&state)
            .args(["status", "--json", "--state-dir"])
            .arg(&state),
        b"",
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let status = &json_lines(&output)[0];
    assert_eq!(status["host"]["state_dir"]["path"], json!(state));
    // The other event. A destination does not get error events about itself.
    assert_eq!(status["destinations"][0]["accepted"], 1);

    let (ended, log) = host.stop();
    assert!(ended.success(), "{log}");
    let said = replay(&state, &json!(1));
    assert!(said.contains("will be delivered when one starts"), "{said}");
    let host = RunningHost::start(WILLING, plugins.path(), &more);
    let lines = wait_for("the event", || {
        let lines = lines_of(&host.path("out.jsonl"));
        (!lines.is_empty()).then_some(lines)
    });
    assert_eq!(lines[0]["body"], "\"poison\"");
    assert_eq!(listed(&state), [] as [Value; 0]);
}

#[test]
fn purging_beside_a_host_leaves_it_working() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("state");
    let more = ["--state-dir", state.to_str().unwrap()];
    let host = RunningHost::start(REFUSING, plugins.path(), &more);
    for round in 1..=3 {
        host.put("idem-run", "\"poison\"");
        wait_for("the dead letter", || listed(&state).pop());
        let output = deadletters(&state, &["purge", "--all", "--json"]);
        assert_eq!(
            json_lines(&output),
            [json!({"purged": 1})],
            "{round}: {}",
            stderr(&output)
        );
        assert_eq!(listed(&state), [] as [Value; 0]);
    }
}
