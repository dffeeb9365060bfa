//! `evbus exec`: a command's life, its output, its signals, its event.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus::idem::{Checked, Checker};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory with an acct file for `evbus exec`, and the plugins that serve it.
struct Desk {
    dir: TempDir,
    plugins: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            dir: tempfile::tempdir().unwrap(),
            plugins: plugin_dir(&["plugin-glob", "fixture-good"]),
        };
        let events = desk.dir.path().join("events.jsonl");
        let acct = format!(
            "fixture-good: {{idem-exec: {{path: {}}}}}",
            events.display()
        );
        fs::write(desk.dir.path().join("acct.yml"), acct).unwrap();
        desk
    }

    /// `evbus exec` with this desk's destination and some flags.
    fn exec(&self, flags: &[&str]) -> Command {
        let mut command = evbus(self.dir.path());
        command
            .arg("exec")
            .arg("--acct-file")
            .arg(self.dir.path().join("acct.yml"))
            .arg("--plugin-dir")
            .arg(self.plugins.path())
            .args(flags);
        command
    }

    /// The same for a shell's script.
    fn script(&self, flags: &[&str], script: &str) -> Command {
        let mut command = self.exec(flags);
        command.args(["--", "sh", "-c", script]);
        command
    }

    /// The bodies that arrived, each in the documented format.
    fn bodies(&self) -> Vec<Value> {
        bodies(&self.dir.path().join("events.jsonl"))
    }

    /// The only body that arrived.
    fn body(&self) -> Value {
        let mut bodies = self.bodies();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        bodies.remove(0)
    }
}

fn bodies(file: &Path) -> Vec<Value> {
    let checker = Checker::new();
    lines_of(file)
        .iter()
        .map(|line| {
            let body = serde_json::from_str(line["body"].as_str().unwrap()).unwrap();
            let found = checker.check(line["profile"].as_str().unwrap(), &body);
            assert_eq!(found, Checked::Documented(Vec::new()), "{body}");
            body
        })
        .collect()
}

/// A command behind another one that runs it, such as `env`; in its environment.
fn behind(first: &[&str], command: &Command) -> Command {
    let mut both = Command::new(first[0]);
    both.args(&first[1..]);
    if first[0] != "script" {
        both.arg(command.get_program()).args(command.get_args());
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => both.env(name, value),
            None => both.env_remove(name),
        };
    }
    both
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_command_that_succeeds_is_told_of_with_its_output() {
    let desk = Desk::new();
    let flags = ["--ref", "cron.backup", "--run-name", "nightly"];
    let script = "cat; echo out; echo err >&2";
    let output = run(&mut desk.script(&flags, script), b"in\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "in\nout\n");
    assert_eq!(stderr(&output), "err\n");
    let mut body = desk.body();
    let duration = body["message"]["ret"]["duration"].take();
    assert!(duration.as_f64().unwrap() > 0.0);
    let comment = body["message"]["comment"].take();
    assert!(
        comment
            .as_str()
            .unwrap()
            .starts_with("sh ended with exit code 0 after "),
        "{comment}"
    );
    assert_eq!(
        body,
        json!({
            "tags": {"ref": "cron.backup", "type": "exec-post", "acct_details": null},
            "message": {
                "result": true,
                "ret": {
                    "command": "sh", "retcode": 0, "signal": null, "duration": null,
                    "stdout": "in\nout\n", "stdout_left_out": 0,
                    "stderr": "err\n", "stderr_left_out": 0, "stderr_in_stdout": false,
                },
                "comment": null,
            },
            "run_name": "nightly",
        })
    );
    assert!(
        !body.to_string().contains("echo"),
        "arguments are nobody's business"
    );
}

#[test]
fn a_command_that_fails_passes_its_exit_code_on() {
    let desk = Desk::new();
    let output = run(&mut desk.script(&[], "exit 42"), b"");
    assert_eq!(output.status.code(), Some(42), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let body = desk.body();
    assert_eq!(body["tags"]["ref"], "evbus.exec");
    assert_eq!(body["message"]["result"], false);
    assert_eq!(body["message"]["ret"]["retcode"], 42);
}

#[test]
fn a_command_that_is_not_there_or_cannot_be_executed_is_told_of_as_shells_do() {
    let desk = Desk::new();
    let plain = desk.dir.path().join("plain");
    fs::write(&plain, "text").unwrap();
    for (command, code, expected) in [
        ("no-such-command-at-all", 127, "was not found"),
        (
            plain.to_str().unwrap(),
            126,
            "could not be executed: Permission denied",
        ),
    ] {
        let output = run(desk.exec(&[]).args(["--", command]), b"");
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    let bodies = desk.bodies();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0]["message"]["ret"]["retcode"], 127);
    let comment = bodies[1]["message"]["comment"].as_str().unwrap();
    assert!(
        comment.starts_with("plain could not be executed: "),
        "{comment}"
    );
}

#[test]
fn a_command_that_a_signal_ended_gives_128_and_its_number() {
    let desk = Desk::new();
    let output = run(&mut desk.script(&[], "kill -KILL $$"), b"");
    assert_eq!(output.status.code(), Some(137), "{}", stderr(&output));
    let ret = &desk.body()["message"]["ret"];
    assert_eq!((&ret["retcode"], &ret["signal"]), (&json!(137), &json!(9)));
}

#[test]
fn signals_are_passed_on() {
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
    ] {
        let desk = Desk::new();
        let script = format!(
            "trap 'echo got {name}; exit 7' {name}; echo ready; while :; do read -r x || :; done"
        );
        // The test runner may ignore signals, as shells do for background jobs.
        let mut child = behind(&["env", "--default-signal"], &desk.script(&[], &script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = child.stdout.take().unwrap();
        let mut ready = [0; 6];
        said.read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let mut rest = String::new();
        // The shell reads again and again until its trap has run.
        let mut input = child.stdin.take().unwrap();
        let status = wait_for("the command to end", || {
            // The command may have ended already.
            let _ = input.write_all(b"\n");
            child.try_wait().unwrap()
        });
        said.read_to_string(&mut rest).unwrap();
        assert_eq!(status.code(), Some(7), "{name}");
        assert_eq!(rest, format!("got {name}\n"));
        assert_eq!(desk.body()["message"]["ret"]["retcode"], 7);
    }
}

#[test]
fn a_signal_that_is_ignored_stays_ignored_for_the_command() {
    let desk = Desk::new();
    let exec = desk.script(&[], "grep SigIgn /proc/self/status");
    // As nohup does it.
    let mut shell = behind(&["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"], &exec);
    let output = run(&mut shell, b"");
    let mask = stdout(&output);
    let mask = mask.trim().rsplit('\t').next().unwrap();
    assert_eq!(
        u64::from_str_radix(mask, 16).unwrap() & 1,
        1,
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_end_of_a_long_output_is_kept_and_all_of_it_passed_on() {
    let desk = Desk::new();
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    let output = run(&mut desk.script(&["--output-limit", "100"], script), b"");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let all = stdout(&output);
    assert_eq!(all.lines().count(), 20_000);
    let ret = &desk.body()["message"]["ret"];
    let kept = ret["stdout"].as_str().unwrap();
    assert_eq!(kept, &all[all.len() - 100..]);
    assert_eq!(ret["stdout_left_out"], json!(all.len() - 100));
}

#[test]
fn outputs_that_go_to_one_file_keep_their_order() {
    let desk = Desk::new();
    let log = desk.dir.path().join("log");
    let file = fs::File::create(&log).unwrap();
    let script = "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done";
    let status = desk
        .script(&[], script)
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .status()
        .unwrap();
    assert!(status.success());
    let expected = (1..=5)
        .map(|i| format!("out {i}\nerr {i}\n"))
        .collect::<Vec<_>>()
        .concat();
    assert_eq!(fs::read_to_string(&log).unwrap(), expected);
    let ret = &desk.body()["message"]["ret"];
    assert_eq!(ret["stdout"], expected);
    assert_eq!(
        (&ret["stderr"], &ret["stderr_in_stdout"]),
        (&json!(null), &json!(true))
    );
}

#[test]
fn without_capture_the_command_has_this_programs_own_output() {
    let desk = Desk::new();
    let script = "readlink /proc/self/fd/1";
    let log = desk.dir.path().join("log");
    let mut command = desk.script(&["--capture", "never"], script);
    let status = command
        .stdout(fs::File::create(&log).unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(
        fs::read_to_string(&log).unwrap().trim(),
        log.to_str().unwrap()
    );
    let ret = &desk.body()["message"]["ret"];
    assert_eq!(
        (&ret["stdout"], &ret["stdout_left_out"]),
        (&json!(null), &json!(null))
    );
}

#[test]
fn on_a_terminal_the_command_sees_the_terminal() {
    let desk = Desk::new();
    let script = "if [ -t 1 ] && [ -t 2 ]; then echo a terminal; else echo none; fi";
    // `script` of util-linux runs its command on a terminal of its own.
    let exec = desk.script(&[], script);
    let words = [exec.get_program()].into_iter().chain(exec.get_args());
    let quoted = |word: &std::ffi::OsStr| word.to_str().unwrap().replace('\'', "'\\''");
    let words: Vec<String> = words.map(|word| format!("'{}'", quoted(word))).collect();
    let line = format!("exec {}", words.join(" "));
    let mut terminal = behind(&["script", "-q", "-e", "-c", &line, "/dev/null"], &exec);
    let output = run(&mut terminal, b"");
    assert!(stdout(&output).contains("a terminal"), "{output:?}");
    assert_eq!(desk.body()["message"]["ret"]["stdout"], json!(null));
}

#[test]
fn a_reader_that_goes_away_ends_the_command_as_it_would_without_us() {
    let desk = Desk::new();
    let mut child = desk
        .script(&[], "while :; do echo y; done")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = [0; 2];
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut some).unwrap();
    drop(output);
    let status = wait_for("the command to end", || child.try_wait().unwrap());
    // SIGPIPE
    assert_eq!(status.code(), Some(128 + 13));
    assert_eq!(desk.body()["message"]["ret"]["signal"], 13);
}

#[test]
fn a_process_left_behind_does_not_hold_the_event_back_and_keeps_its_output() {
    let desk = Desk::new();
    let go = desk.dir.path().join("go");
    let script = format!(
        "(while [ ! -e '{}' ]; do sleep 0.05; done; echo late) & echo early",
        go.display()
    );
    let mut child = desk
        .script(&[], &script)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the event", || (desk.bodies().len() == 1).then_some(()));
    assert!(
        child.try_wait().unwrap().is_none(),
        "its output is still open"
    );
    fs::write(&go, "").unwrap();
    let mut output = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    assert_eq!(output, "early\nlate\n");
    assert!(wait_for("the end", || child.try_wait().unwrap()).success());
}

#[test]
fn through_a_running_host_the_event_is_there_when_the_command_is_over() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let acct = "fixture-good: {idem-exec: {path: '{dir}/events.jsonl'}}";
    let host = RunningHost::start(acct, plugins.path(), &[]);
    let output = run(
        evbus(host.dir.path())
            .args(["exec", "--ref", "job", "--sock-dir"])
            .arg(host.path("s"))
            .args(["--", "true"]),
        b"",
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(host.status()["destinations"][0]["received"], 1);
    let events = host.path("events.jsonl");
    let body = wait_for("the event", || bodies(&events).pop());
    assert_eq!(body["tags"]["ref"], "job");
}

#[test]
fn an_event_that_is_not_delivered_is_an_error_and_leaves_the_exit_code_alone() {
    let home = tempfile::tempdir().unwrap();
    let nowhere = home.path().join("none");
    for (flags, script, code) in [
        (&[][..], "echo done", 0),
        (&[], "exit 3", 3),
        (&["--require-event"], "true", 1),
        (&["--require-event"], "exit 3", 3),
    ] {
        let output = run(
            evbus(home.path())
                .args(["exec", "--sock-dir"])
                .arg(&nowhere)
                .args(flags)
                .args(["--", "sh", "-c", script]),
            b"",
        );
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(
            said.contains("cannot connect to the event socket"),
            "{said}"
        );
        assert!(said.contains("the delivery of the command's idem-exec event is not confirmed; the command itself ended with exit code"), "{said}");
    }
}

#[test]
fn an_event_that_no_destination_wants_is_no_success_where_it_is_required() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let home = tempfile::tempdir().unwrap();
    let acct = home.path().join("acct.yml");
    fs::write(&acct, "fixture-good: {other: {path: /dev/null}}\n").unwrap();
    for (flags, code) in [(&[][..], 0), (&["--require-event"], 1)] {
        let output = run(
            evbus(home.path())
                .args(["exec", "--acct-file"])
                .arg(&acct)
                .arg("--plugin-dir")
                .arg(plugins.path())
                .args(flags)
                .args(["--", "true"]),
            b"",
        );
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("no destination's pattern matches"), "{said}");
    }
}

#[test]
fn wrong_use_runs_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mark = home.path().join("ran");
    for arguments in [
        &["exec", "--", "touch"][..],
        &["exec", "--capture", "odd", "--", "touch"],
    ] {
        let output = run(evbus(home.path()).args(arguments).arg(&mark), b"");
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
    assert!(!mark.exists());
}
