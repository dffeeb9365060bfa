//! `evbus check` shows what the host does for a destination.

use std::fs;

use crate::support::{evbus, json_lines, run, stderr};
use evbus_testkit::plugin_dir;
use serde_json::{Value, json};

#[test]
fn a_file_without_any_destination_is_named() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let acct = dir.path().join("acct.yml");
    for text in ["", "{}", "fixture-good:\n", "match_plugin: glob\n"] {
        fs::write(&acct, text).unwrap();
        for (flags, code, kind) in [(&[][..], 0, "note"), (&["--strict"], 1, "error")] {
            let output = run(
                evbus(dir.path())
                    .args(["check", "--acct-file"])
                    .arg(&acct)
                    .args(flags)
                    .arg("--plugin-dir")
                    .arg(plugins.path()),
                b"",
            );
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(code), "{text:?}: {said}");
            let expected = format!(
                "{kind}: the acct file {} has no destination",
                acct.display()
            );
            assert!(said.contains(&expected), "{text:?}: {said}");
        }
    }
}

#[test]
fn every_default_of_a_destination_is_shown_as_json() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let acct = dir.path().join("acct.yml");
    let text = "
fixture-good:
  - plain: {path: /dev/null}
  - other: {path: /dev/null, evbus: {durable: true, when_full: block, retry: {max_attempts: 5}}}
";
    fs::write(&acct, text).unwrap();
    let output = run(
        evbus(dir.path())
            .args(["check", "--json", "--connect", "--acct-file"])
            .arg(&acct)
            .arg("--plugin-dir")
            .arg(plugins.path()),
        b"",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let mut lines = json_lines(&output);
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines[0],
        json!({
            "provider": "fixture-good", "index": 0, "pattern": "plain", "plugin": "fixture-good",
            "link": "connected",
            "evbus": {
                "queue": {"events": 10_000, "bytes": 67_108_864},
                "disk": {"bytes": 10_737_418_240_u64},
                "dead_letters": {
                    "events": 100_000,
                    "bytes": 1_073_741_824,
                    "when_full": "drop_oldest",
                },
                "when_full": "spill",
                "durable": false,
                "retry": {
                    "first_delay": 0.1, "max_delay": 30.0, "max_attempts": null, "max_age": null,
                    "max_crashes": 3,
                },
                "batch": {"events": null, "bytes": null},
                "ordered": false,
                "deadline": 60.0,
                "required": false,
                "isolate": "none",
                "when": null,
                "body": null,
                "rate": null,
                "dedup": null,
            },
        })
    );
    let other = lines[1]["evbus"].take();
    assert_eq!(
        (&other["durable"], &other["when_full"]),
        (&json!(true), &json!("block"))
    );
    assert_eq!(other["retry"]["max_attempts"], 5);
}

#[test]
fn what_a_full_queue_does_depends_on_the_host_where_the_file_does_not_say() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let acct = dir.path().join("acct.yml");
    let text = "
fixture-good:
  - plain: {path: /dev/null}
  - other: {path: /dev/null, evbus: {when_full: drop_newest}}
";
    fs::write(&acct, text).unwrap();
    let state = dir.path().join("state").display().to_string();
    for (flags, expected) in [
        (&[][..], "spill"),
        (&["--state-dir", &state], "spill"),
        (&["--no-state-dir"], "block"),
    ] {
        let check = |more: &[&str]| {
            let mut command = evbus(dir.path());
            command.args(["check", "--acct-file"]).arg(&acct);
            command.arg("--plugin-dir").arg(plugins.path());
            let output = run(command.args(flags).args(more), b"");
            assert!(output.status.success(), "{}", stderr(&output));
            output
        };
        let said: Vec<Value> = json_lines(&check(&["--json"]))
            .iter()
            .map(|line| line["evbus"]["when_full"].clone())
            .collect();
        assert_eq!(said, [expected, "drop_newest"], "{flags:?}");
        let table = String::from_utf8(check(&[]).stdout).unwrap();
        let shown = format!("  {expected}  ");
        assert!(table.lines().nth(1).unwrap().contains(&shown), "{table}");
    }
}

#[test]
fn a_variable_that_is_set_to_nothing_counts_as_one_that_is_not_set() {
    let dir = tempfile::tempdir().unwrap();
    let missing = |output: &std::process::Output| {
        assert_eq!(output.status.code(), Some(2), "{}", stderr(output));
        stderr(output)
    };
    for arguments in [&["check"][..], &["route", "a"], &["acct", "decrypt"]] {
        let unset = run(evbus(dir.path()).args(arguments), b"");
        let empty = run(evbus(dir.path()).args(arguments).env("ACCT_FILE", ""), b"");
        assert_eq!(missing(&empty), missing(&unset), "{arguments:?}");
    }
}

#[test]
fn no_fault_of_a_file_hides_another_and_all_are_in_its_order() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let acct = dir.path().join("acct.yml");
    fs::write(
        &acct,
        "file:
  a:
    fsync: {interval: 0}
    rotate: {keep: 0}
    evbus: {durable: maybe}
    rotate: {max_bytes: 0}
  b:
    path: {$env: EVBUS_NONE}
    fsync: {interval: 0}
    pth: x
fixture-good:
  c:
    path: {$exec: ['false']}
    retry_first: -1
  c:
    delay_ms: x
file:
  d: {path: x, mode: '0400'}
",
    )
    .unwrap();
    let output = run(
        evbus(dir.path())
            .args(["check", "--acct-file"])
            .arg(&acct)
            .arg("--plugin-dir")
            .arg(plugins.path()),
        b"",
    );
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let mut rest = said.as_str();
    for sentence in [
        "acct.yml:2:3: file.a: missing field `path`",
        "acct.yml:3:13: file.a.fsync.interval: found a number, expected a number of seconds from 1",
        "acct.yml:4:5: file.a.rotate: missing field `max_bytes`",
        "acct.yml:4:14: file.a.rotate.keep: found a number, expected a whole number from 1",
        "acct.yml:5:13: file.a.evbus.durable: found text, expected true or false",
        "acct.yml:6:5: file.a.rotate: duplicate key, first on line 4",
        "acct.yml:6:14: file.a.rotate.max_bytes: found a number, expected a whole number of bytes of at least 1",
        "acct.yml:8:11: file.b.path: environment variable \"EVBUS_NONE\" is not set",
        "acct.yml:9:13: file.b.fsync.interval: found a number, expected a number of seconds from 1",
        "acct.yml:10:5: file.b.pth: found an unknown key",
        "acct.yml:14:5: fixture-good.c.retry_first: found a number, expected a whole number from 0",
        "acct.yml:15:3: fixture-good.c: duplicate key, first on line 12",
        "acct.yml:16:5: fixture-good.c.delay_ms: found text, expected a whole number",
        "acct.yml:17:1: file: duplicate key, first on line 1",
        "acct.yml:18:16: file.d.mode: found text, expected three or four octal digits",
        "acct.yml: 1 `$exec` command was not run because of the faults above; mend those first",
    ] {
        let (_, after) = rest
            .split_once(sentence)
            .unwrap_or_else(|| panic!("expected {sentence:?} in:\n{rest}\nof:\n{said}"));
        rest = after;
    }
    assert!(!said.contains("file.b: missing field"), "{said}");
    // An entry that has a key twice is read twice, and what is wrong with both readings is said once.
    for sentence in ["file.a: missing field `path`", "file.a.evbus.durable: "] {
        assert_eq!(said.matches(sentence).count(), 1, "{said}");
    }
}

#[test]
fn extras_that_no_section_takes_are_named() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let acct = dir.path().join("acct.yml");
    let told = |text: &str, extras: &str| {
        fs::write(&acct, text).unwrap();
        let mut check = evbus(dir.path());
        check.args(["check", "--extras", extras, "--acct-file"]);
        let output = run(
            check.arg(&acct).arg("--plugin-dir").arg(plugins.path()),
            b"",
        );
        let said = stderr(&output);
        let sentence = "it has no section `kafka`, so that --extras has no effect";
        said.lines().filter(|line| line.contains(sentence)).count()
    };
    let without = "fixture-good: {a: {path: /dev/null}}\n";
    let with = "kafka: {a: {}}\nfixture-good: {a: {path: /dev/null}}\n";
    let extras = r#"{"kafka": {"topics": ["t"]}}"#;
    assert_eq!(told(without, extras), 1);
    assert_eq!(told(with, extras), 0);
    assert_eq!(told(without, "{}"), 0);
}

#[test]
fn a_fault_that_depends_on_no_command_keeps_all_commands_from_running() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file", "plugin-kafka"]);
    let dir = tempfile::tempdir().unwrap();
    let acct = dir.path().join("acct.yml");
    let well = "\
kafka:
  a:
    connection:
      bootstrap_servers: {$exec: [sh, -c, 'touch ran; echo localhost:1']}
      security_protocol: {$exec: [echo, SASL_SSL]}
      sasl_mechanism: PLAIN
      sasl_plain_username: me
      sasl_plain_password: {$exec: [echo, hunter2]}
  b: {topics: [{$exec: [echo, t]}]}
file:
  c: {path: {$exec: [echo, out.jsonl]}}
";
    for (fault, sentence) in [
        (
            "  d: {path: x, pth: y}\n",
            "acct.yml:12:16: file.d.pth: found an unknown key",
        ),
        (
            "  d: {path: {$exec: [echo, y]}, pth: y}\n",
            "acct.yml:12:33: file.d.pth: found an unknown key",
        ),
        (
            "  d: {path: x, evbus: {when_full: spill}}\n",
            "acct.yml:12:24: file.d.evbus.when_full: `when_full: spill` needs a state directory",
        ),
        (
            "match_plugin: glbo\n",
            "acct.yml:12:1: match_plugin: no loaded plugin provides",
        ),
        (
            "flie: {d: {}}\n",
            "acct.yml:12:1: flie: no plugin serves it; did you mean `file`?",
        ),
        (
            "file: {d: {path: x}}\n",
            "acct.yml:12:1: file: duplicate key",
        ),
    ] {
        fs::write(&acct, format!("{well}{fault}")).unwrap();
        for command in [
            &["check"][..],
            &["run", "--sock-dir", "s"],
            &["put", "a", "1"],
        ] {
            if command[0] == "put" && sentence.contains("spill") {
                continue;
            }
            let mut command_line = evbus(dir.path());
            command_line.args(command).arg("--acct-file").arg(&acct);
            if command[0] != "put" {
                command_line.arg("--no-state-dir");
            }
            command_line
                .arg("--plugin-dir")
                .arg(plugins.path())
                .current_dir(dir.path());
            let output = run(&mut command_line, b"");
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(78), "{command:?} {said}");
            let lines: Vec<&str> = said
                .lines()
                .filter(|line| line.contains("acct.yml"))
                .collect();
            assert_eq!(lines.len(), 2, "{command:?} {said}");
            assert!(lines[0].contains(sentence), "{command:?} {said}");
            assert!(
                lines[1].contains("`$exec` commands were not run because of the faults above"),
                "{said}"
            );
            assert!(!dir.path().join("ran").exists(), "{command:?} {fault}");
        }
    }
    // A plugin's fault that the output of a command may mend is none before the commands have run.
    fs::write(&acct, well).unwrap();
    let mut command_line = evbus(dir.path());
    command_line.args(["check", "--acct-file"]).arg(&acct);
    command_line
        .arg("--plugin-dir")
        .arg(plugins.path())
        .current_dir(dir.path());
    let output = run(&mut command_line, b"");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(dir.path().join("ran").exists());
}
