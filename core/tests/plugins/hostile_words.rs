//! Excessive or false messages of plugins: limited, counted, and never mistaken for the host's own.

use std::fs;

use crate::beside::{delivers, ends_at_once, ends_at_once_with};
use crate::support::{RunningHost, evbus, json_lines, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;

const GOOD: &str = "fixture-good:\n  idem-*: {path: {dir}/good.jsonl}\n";

/// The line that a text of the hostile plugin would forge.
const FORGED: &str = "2026-01-01T00:00:00Z ERROR forged";

fn start(hostile: &str, flags: &[&str]) -> (RunningHost, tempfile::TempDir) {
    let plugins = plugin_dir(&[
        "plugin-glob",
        "fixture-good",
        "fixture-hostile",
        "fixture-drops-completion",
    ]);
    let host = RunningHost::start(&format!("{GOOD}{hostile}"), plugins.path(), flags);
    (host, plugins)
}

/// Fires events until the log says something.
fn fires_until_the_log_says(host: &RunningHost, sentence: &str) {
    wait_for(&format!("the log to say {sentence:?}"), || {
        delivers(host, "again");
        host.log().contains(sentence).then_some(())
    });
}

fn assert_not_forged(log: &str) {
    assert!(!log.contains('\u{1b}'), "a control character is in the log");
    for line in log.lines() {
        assert!(!line.starts_with(FORGED), "forged: {line}");
        assert!(line.len() < 20_000, "{} bytes: {line:.200}", line.len());
    }
}

#[test]
fn a_link_that_flaps_and_a_plugin_that_floods_the_log_are_cut_short_and_counted() {
    for isolate in ["none", "process"] {
        let hostile = format!(
            "fixture-hostile:\n- idem-*: {{x: flap, evbus: {{isolate: {isolate}}}}}\n- idem-*: {{x: flood, evbus: {{isolate: {isolate}}}}}\n"
        );
        let (host, _plugins) = start(&hostile, &[]);
        delivers(&host, "first");
        host.wait_for_log("line 0 of a flood");
        host.wait_for_log("destination fixture-hostile[0] idem-*: connection lost: flapping");
        let sentence = if isolate == "none" {
            fires_until_the_log_says(
                &host,
                "before this one not logged: the link changes too often)",
            );
            "dropped: the plugin logs too much"
        } else {
            // If the host reads too slowly, it gets only the newest state of the link.
            ": the plugin logs "
        };
        fires_until_the_log_says(&host, sentence);
        wait_for("all to be accepted, over a link that is up", || {
            let status = host.status();
            let mut lanes = status["destinations"].as_array().unwrap().iter();
            lanes
                .all(|lane| {
                    assert!(lane["last_error"].to_string().len() < 4096, "{lane}");
                    lane["state"] == "connected" && lane["queued"] == 0
                })
                .then_some(())
        });
        let log = ends_at_once(host);
        assert_not_forged(&log);
        let fired = log.matches("line 0 of a flood").count();
        let lines = log.lines().count();
        assert!(
            lines < 600 * (fired + 1),
            "{lines} lines for {fired} events"
        );
    }
}

#[test]
fn a_reason_of_a_megabyte_is_one_short_line_wherever_it_is_shown() {
    let hostile = "fixture-hostile:\n- idem-*: {x: reject-long}\n- idem-*: {x: reject-long, evbus: {isolate: process}}\n";
    let (host, _plugins) = start(hostile, &[RunningHost::DEFAULT_STATE]);
    host.put("idem-run", "1");
    let letters = wait_for("the dead letters", || {
        let mut list = evbus(host.dir.path());
        list.args(["deadletters", "list", "--json"]);
        let output = run(&mut list, b"");
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(output.stdout.len() < 20_000, "{}", output.stdout.len());
        let letters = json_lines(&output);
        // For the event, and for the error event that the other destination fired.
        (letters.len() == 4).then_some(letters)
    });
    for letter in letters {
        let error = letter["error"].as_str().unwrap();
        assert!(error.starts_with("rejected: "), "{error}");
        assert!(!error.contains(['\n', '\r', '\u{1b}']), "{error}");
    }
    let mut list = evbus(host.dir.path());
    let output = run(list.args(["deadletters", "list"]), b"");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(shown.lines().count(), 5, "a head and four letters: {shown}");
    assert_not_forged(&shown);
    // The error events at the other destinations.
    wait_for("the error events", || {
        (lines_of(&host.path("good.jsonl")).len() >= 3).then_some(())
    });
    for line in lines_of(&host.path("good.jsonl")) {
        assert!(line.to_string().len() < 20_000, "{line:.200}");
    }
    let log = ends_at_once(host);
    assert_not_forged(&log);
}

#[test]
fn numbers_that_cannot_be_lose_no_event_and_count_none_twice() {
    let hostile = "match_plugin: fixture-hostile
fixture-hostile:
- a: {x: beyond}
- b: {x: limits-zero}
- c: {x: limits-huge}
- d: {x: beyond, evbus: {isolate: process}}
- e: {x: limits-zero, evbus: {isolate: process}}
- f: {x: limits-huge, evbus: {isolate: process}}
fixture-drops-completion:
- g: {evbus: {retry: {max_attempts: 2, first_delay: 0.001}}}
- h: {evbus: {isolate: process, retry: {max_attempts: 2, first_delay: 0.001}}}
";
    let (host, _plugins) = start(hostile, &[]);
    // The match plugin returns positions that do not exist, and one valid position three times.
    host.put_events(&"{\"profile\": \"beyond\", \"body\": 1}\n".repeat(50));
    let settled = wait_for("all events to be settled", || {
        let status = host.status();
        let lanes = status["destinations"].as_array().unwrap().clone();
        lanes
            .iter()
            .all(|lane| lane["queued"] == 0)
            .then_some(lanes)
    });
    assert_eq!(settled.len(), 9);
    for lane in settled {
        let number = |key: &str| lane[key].as_u64().unwrap();
        // A destination receives the error events of the others, but none about itself.
        let is_dropping = lane["provider"] == "fixture-drops-completion";
        assert!(number("received") >= 50, "{lane}");
        assert_eq!(
            number("accepted") + number("dead_lettered"),
            number("received"),
            "{lane}"
        );
        let expected = if is_dropping { 0 } else { number("received") };
        assert_eq!(number("accepted"), expected, "{lane}");
    }
    let bodies = lines_of(&host.path("good.jsonl"));
    let fired = (bodies.iter()).filter(|line| line["body"] == "1").count();
    assert_eq!(fired, 50, "each event once");

    // It is unknown which pattern the plugin meant, so the event is refused.
    let mut put = evbus(host.dir.path());
    put.args(["put", "doubt", "1", "--sock-dir"])
        .arg(host.sock_dir());
    let output = run(&mut put, b"");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.len() < 4096, "{} bytes", said.len());
    assert_not_forged(&said);
    // Without a state directory, the dead letters are lost.
    let log = ends_at_once_with(host, 1);
    assert_not_forged(&log);
}

#[test]
fn a_schema_that_is_no_json_and_a_million_faults_of_a_configuration_are_borne() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-hostile"]);
    let dir = tempfile::tempdir().unwrap();
    let check = |config: &str, deed: &str| {
        let acct = format!("fixture-hostile:\n  p: {{x: {config}}}\n");
        fs::write(dir.path().join("acct.yml"), acct).unwrap();
        let mut check = evbus(dir.path());
        check
            .args(["check", "--acct-file", "acct.yml", "--plugin-dir"])
            .arg(plugins.path())
            .env("EVBUS_FIXTURE_HOSTILE", deed)
            .current_dir(dir.path());
        run(&mut check, b"")
    };
    let output = check("nothing", "schema-text");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let output = check("many-faults", "");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said:.2000}");
    let lines = said.lines().count();
    assert!((1..=1100).contains(&lines), "{lines} lines");
    for line in said.lines() {
        let is_whole = line.starts_with("error: ") || line.starts_with("note: ");
        assert!(is_whole, "a fault is one line: {line:?}");
    }
    let expected = "acct.yml:2:3: fixture-hostile.p";
    assert!(said.contains(expected), "{said:.2000}");
    let left_out: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("999000"))
        .collect();
    assert_eq!(
        left_out.len(),
        1,
        "it says how many are left out: {left_out:?}"
    );
}
