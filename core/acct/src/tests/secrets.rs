//! Secrets by reference: found, missing, and never shown.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{AcctSource, Entry, SECRET_TIMEOUT};

fn entries(dir: &Path, text: &str) -> Result<Vec<Entry>, Vec<String>> {
    let file = dir.join("acct.yml");
    fs::write(&file, text).unwrap();
    let acct = AcctSource::new(&file).load().unwrap();
    acct.sections()[0]
        .entries()
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn script(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn references_become_text_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("password"), " s3cret pass \r\n").unwrap();
    fs::write(dir.path().join("two"), "a\nb\n\n").unwrap();
    script(
        dir.path(),
        "give",
        "echo \"$1-$ACCT_KEY-end\"; echo hidden >&2",
    );
    let text = "\
p:
  a:
    user: {$env: CARGO_PKG_NAME}
    connection:
      password: {$file: password}
      list: [1, {$exec: [./give, one]}, {$exec: [echo, '-n', x]}]
    two: {$file: two}
    other: {$key: kept, b: {}}
    more: [{env: A}, {$files: a, b: 1}]
";
    let read = entries(dir.path(), text).unwrap();
    let expected: Value = json!({
        "user": "evbus-acct",
        "connection": {"password": " s3cret pass ", "list": [1, "one--end", "x"]},
        "two": "a\nb\n",
        "other": {"$key": "kept", "b": {}},
        "more": [{"env": "A"}, {"$files": "a", "b": 1}],
    });
    assert_eq!(*read[0].config, expected);
    assert_eq!(read[0].config.text().as_str(), expected.to_string());
    assert_eq!(format!("{:?}", read[0].config), "Config(..)");
}

#[test]
fn they_are_read_anew_each_time() {
    let dir = tempfile::tempdir().unwrap();
    for secret in ["one", "two"] {
        fs::write(dir.path().join("s"), secret).unwrap();
        let read = entries(dir.path(), "p: {a: {k: {$file: s}}}").unwrap();
        assert_eq!(read[0].config["k"], secret);
    }
}

#[test]
fn a_missing_one_is_named_and_all_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(dir.path().join("empty"), "\n").unwrap();
    fs::write(dir.path().join("large"), "x".repeat(70_000)).unwrap();
    fs::write(dir.path().join("latin1"), b"\xe9").unwrap();
    script(
        dir.path(),
        "fails",
        "echo hunter2; echo hunter3 >&2; exit 3",
    );
    script(
        dir.path(),
        "floods",
        "while :; do echo hunter2hunter2hunter2; done",
    );
    script(dir.path(), "quiet", "exit 0");
    for (reference, sentence) in [
        ("{$env: EVBUS_NONE}".to_owned(), "environment variable \"EVBUS_NONE\" is not set; set it to the secret where the host is started".to_owned()),
        ("{$env: 5}".to_owned(), "found a number under `$env`, expected the name of an environment variable; write one".to_owned()),
        ("{$file: gone}".to_owned(), format!("cannot read the secret from file {}: no such file; check the path and the file", path("gone"))),
        ("{$file: .}".to_owned(), format!("cannot read the secret from file {}: it is a directory; check the path and the file", path("."))),
        ("{$file: empty}".to_owned(), format!("cannot read the secret from file {}: it is empty; check the path and the file", path("empty"))),
        ("{$file: large}".to_owned(), format!("cannot read the secret from file {}: it is larger than 64 KiB; check the path and the file", path("large"))),
        ("{$file: latin1}".to_owned(), format!("cannot read the secret from file {}: it is not UTF-8; check the path and the file", path("latin1"))),
        ("{$exec: ls}".to_owned(), "found text under `$exec`, expected a list of the program and its arguments; write [PROGRAM, ARGUMENT]".to_owned()),
        ("{$exec: [ls, 5]}".to_owned(), "found a list under `$exec` that is not a command, expected a program and its arguments, all text; put numbers and the like in quotes".to_owned()),
        ("{$exec: [evbus-none, hunter2]}".to_owned(), "cannot get the secret from \"evbus-none\": no such program; check its name, and the PATH of the host".to_owned()),
        ("{$exec: [./fails]}".to_owned(), "cannot get the secret from \"./fails\": it ended with exit status: 3; run it by hand to see its messages".to_owned()),
        ("{$exec: [./floods]}".to_owned(), "cannot get the secret from \"./floods\": its output is larger than 64 KiB; run it by hand to see its messages".to_owned()),
        ("{$exec: [./quiet]}".to_owned(), "cannot get the secret from \"./quiet\": its output is empty; run it by hand to see its messages".to_owned()),
        ("{$exe: [ls]}".to_owned(), "found `$exe`, which is not a reference, expected `$env`, `$file` or `$exec`; did you mean `$exec`?".to_owned()),
        ("{$ENV: A}".to_owned(), "found `$ENV`, which is not a reference, expected `$env`, `$file` or `$exec`; did you mean `$env`?".to_owned()),
        ("{$flie: a}".to_owned(), "found `$flie`, which is not a reference, expected `$env`, `$file` or `$exec`; did you mean `$file`?".to_owned()),
        ("{$env: A, b: 1}".to_owned(), "found `$env` next to other keys, expected it as the only key; move the others out or remove it".to_owned()),
    ] {
        // Beside a fault that needs no command, nothing is run.
        let other = if sentence.starts_with("cannot get") {
            "{$exec: ['false']}"
        } else {
            "{$env: EVBUS_NONE2}"
        };
        let text = format!("p:\n  idem-*:\n    a: 1\n    conn: [{reference}]\n    x: {other}\n");
        let faults = entries(dir.path(), &text).unwrap_err();
        let file = dir.path().join("acct.yml").display().to_string();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert_eq!(faults[0], format!("{file}:4:12: p.idem-*.conn[0]: {sentence}"));
        assert!(faults[1].contains("p.idem-*.x: "), "{}", faults[1]);
        assert!(!faults[0].contains("hunter"), "{}", faults[0]);
    }
}

#[test]
fn no_command_of_a_file_with_another_fault_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acct.yml").display().to_string();
    let text = "\
p:
  a: {k: {$exec: [./runs]}, l: [{$exec: [./runs, again]}]}
  b: {k: {$exec: [./runs]}, m: {$env: EVBUS_NONE}}
";
    script(dir.path(), "runs", "touch \"${0%/*}/ran\"; echo x");
    assert_eq!(
        entries(dir.path(), text).unwrap_err(),
        [
            format!(
                "{file}:3:32: p.b.m: environment variable \"EVBUS_NONE\" is not set; set it to the secret where the host is started"
            ),
            format!(
                "{file}: 2 `$exec` commands were not run because of the faults above; mend those first"
            ),
        ]
    );
    assert!(!dir.path().join("ran").exists());
    let mended = entries(dir.path(), &text.replace("EVBUS_NONE", "CARGO_PKG_NAME")).unwrap();
    assert!(dir.path().join("ran").exists());
    assert_eq!(*mended[0].config, json!({"k": "x", "l": ["x"]}));
}

#[test]
fn a_command_that_does_not_end_is_ended_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    script(
        dir.path(),
        "hangs",
        "sleep 600 & echo $! > pid; echo $$ >> pid; wait",
    );
    let cd = format!("cd {} && exec ./hangs", dir.path().display());
    let text = format!("p: {{a: {{k: {{$exec: [sh, -c, '{cd}']}}}}}}");
    let faults = entries(dir.path(), &text).unwrap_err();
    assert!(
        faults[0].contains("cannot get the secret from \"sh\": it did not end;"),
        "{faults:?}"
    );
    await_end_of_all(dir.path());
}

#[test]
fn what_a_command_leaves_behind_with_its_output_is_named_at_once_and_ended() {
    let dir = tempfile::tempdir().unwrap();
    script(
        dir.path(),
        "leaves",
        "sleep 600 & echo $! > \"${0%/*}/pid\"; echo secret",
    );
    let start = Instant::now();
    let faults = entries(dir.path(), "p: {a: {k: {$exec: [./leaves]}}}").unwrap_err();
    assert!(start.elapsed() < SECRET_TIMEOUT, "{:?}", start.elapsed());
    let file = dir.path().join("acct.yml").display().to_string();
    assert_eq!(
        faults,
        [format!(
            "{file}:1:12: p.a.k: cannot get the secret from \"./leaves\": it ended, but a process that it started keeps its standard output open; redirect the output of background processes, for example to /dev/null"
        )]
    );
    await_end_of_all(dir.path());
    // A process with its own output is left running, and one that ends by itself is not an error.
    script(
        dir.path(),
        "agent",
        "sleep 600 >/dev/null & echo $! > \"${0%/*}/pid\"; echo sec; (sleep 0.2; echo ret) &",
    );
    let read = entries(dir.path(), "p: {a: {k: {$exec: [./agent]}}}").unwrap();
    assert_eq!(read[0].config["k"], "sec\nret");
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    let killed = Command::new("kill").arg(pid.trim()).status().unwrap();
    assert!(killed.success(), "the agent is left alone");
}

/// Waits until the processes listed in the file `pid` are gone.
fn await_end_of_all(dir: &Path) {
    let pids = fs::read_to_string(dir.join("pid")).unwrap();
    for pid in pids.lines() {
        // A signal takes effect when the process next runs, and a process that ended may wait for its new parent.
        let lives = || {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !state.is_empty() && !state.contains(") Z ") && !state.contains(") X ")
        };
        let start = Instant::now();
        while lives() {
            assert!(start.elapsed() < Duration::from_mins(1), "{pid} lives");
            std::thread::yield_now();
        }
    }
}

#[test]
fn providers_that_are_not_asked_run_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acct.yml");
    fs::write(&file, "aws: {a: {k: {$exec: [touch, ran]}}}\n").unwrap();
    AcctSource::new(&file).load().unwrap();
    assert!(!dir.path().join("ran").exists());
}

#[test]
fn what_a_plugin_says_of_a_secret_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("s"), "hunter2").unwrap();
    let read = entries(dir.path(), "p: {a: {k: {$file: s}}}").unwrap();
    let fault = read[0].fault("k", "found \"hunter2\", expected a number; write one");
    assert_eq!(
        fault.message(),
        "found \"(secret)\", expected a number; write one"
    );
    assert_eq!(
        read[0].secrets().hide("at hunter2hunter2."),
        "at (secret)(secret)."
    );
    assert_eq!(format!("{:?}", read[0].secrets()), "Secrets(1)");
}

#[test]
fn commands_that_hang_cost_one_deadline_all_together() {
    let dir = tempfile::tempdir().unwrap();
    let hanging: Vec<String> = (0..40)
        .map(|number| format!("  a{number}: {{k: {{$exec: [sleep, '600', '{number}']}}}}\n"))
        .collect();
    let hanging = hanging.concat();
    let start = Instant::now();
    let text = format!("p:\n  b: {{k: {{$exec: [echo, x]}}}}\n{hanging}");
    let faults = entries(dir.path(), &text).unwrap_err();
    let taken = start.elapsed();
    assert!(taken < SECRET_TIMEOUT + SECRET_TIMEOUT / 2, "{taken:?}");
    assert_eq!(faults.len(), 40, "{faults:?}");
    assert!(
        faults.iter().all(|fault| fault.contains("it did not end;")
            || fault.contains("it was not run, because the commands before it took 10 s")),
        "{faults:?}"
    );
}

#[test]
fn a_command_in_several_places_is_run_once() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path(), "gives", "echo x | tee -a \"${0%/*}/runs\"");
    let text = "p: {a: {k: {$exec: [./gives]}}, b: {k: [{$exec: [./gives]}]}}";
    let read = entries(dir.path(), text).unwrap();
    assert_eq!(read[0].config["k"], "x");
    assert_eq!(read[1].config["k"], json!(["x"]));
    let runs = fs::read_to_string(dir.path().join("runs")).unwrap();
    assert_eq!(runs, "x\n");
}
