//! Encrypted acct files and secrets by reference, as hosts and the other commands use them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::{RunningHost, evbus, json_lines, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, kill_process};

#[track_caller]
fn check(output: &Output, code: i32, sentence: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(sentence), "expected {sentence:?} in:\n{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// The acct file of a host, encrypted, with its key in a file.
fn encrypted_in(dir: &Path, text: &str) {
    fs::write(dir.join("plain.yml"), text).unwrap();
    let output = run(
        evbus(dir)
            .args(["acct", "encrypt", "plain.yml", "--output-file", "acct.yml"])
            .current_dir(dir),
        b"",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    fs::write(dir.join("key"), output.stdout).unwrap();
    fs::set_permissions(dir.join("key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(dir.join("plain.yml")).unwrap();
}

#[test]
fn check_route_and_put_read_encrypted_files() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let out = dir.path().join("out.jsonl");
    encrypted_in(
        dir.path(),
        &format!("fixture-good:\n  idem-*: {{path: {}}}\n", out.display()),
    );
    let evbus = |args: &[&str]| {
        run(
            evbus(dir.path())
                .args(args)
                .args([
                    "--acct-file",
                    "acct.yml",
                    "--acct-key-file",
                    "key",
                    "--plugin-dir",
                ])
                .arg(plugins.path())
                .current_dir(dir.path()),
            b"",
        )
    };
    for args in [
        &["check", "--json"][..],
        &["route", "idem-run"],
        &["put", "idem-run", "1"],
    ] {
        let output = evbus(args);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(lines_of(&out).len(), 1);
    let output = evbus(&[
        "route",
        "idem-run",
        "--overrides",
        "{\"fixture-good\": {\"other\": {\"path\": \"/tmp/x\"}}}",
    ]);
    assert_eq!(
        json_lines(&output)[0]["destinations"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let output = evbus(&[
        "check",
        "--overrides",
        "{\"fixture-good\": {\"idem-*\": {\"pathh\": 1}}}",
    ]);
    check(&output, 78, "--overrides: fixture-good.idem-*.pathh: ");
}

#[test]
fn a_changed_secret_makes_a_changed_destination_on_reload() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let secret = dir.path().join("secret");
    let target = |name: &str| dir.path().join(format!("hunter2-{name}.jsonl"));
    let set = |name: &str| fs::write(&secret, format!("{}\n", target(name).display())).unwrap();
    set("one");
    let acct = format!(
        "fixture-good:\n  \"*\":\n    path: {{$file: {}}}\n",
        secret.display()
    );
    let host = RunningHost::start(&acct, plugins.path(), &[]);
    host.put("a", "1");
    wait_for("the first file", || {
        (lines_of(&target("one")).len() == 1).then_some(())
    });
    set("two");
    kill_process(
        Pid::from_raw(host.pid().try_into().unwrap()).unwrap(),
        Signal::HUP,
    )
    .unwrap();
    host.wait_for_log("configuration changed, reconnecting");
    host.put("a", "2");
    wait_for("the second file", || {
        (lines_of(&target("two")).len() == 1).then_some(())
    });

    // A missing secret changes nothing and is reported.
    fs::remove_file(&secret).unwrap();
    kill_process(
        Pid::from_raw(host.pid().try_into().unwrap()).unwrap(),
        Signal::HUP,
    )
    .unwrap();
    host.wait_for_log("fixture-good.*.path: cannot read the secret from file");
    host.put("a", "3");
    wait_for("the second event", || {
        (lines_of(&target("two")).len() == 2).then_some(())
    });

    // Secrets in the plugin's error are hidden in the status and in the log.
    fs::write(
        &secret,
        dir.path().join("none/hunter2").display().to_string(),
    )
    .unwrap();
    kill_process(
        Pid::from_raw(host.pid().try_into().unwrap()).unwrap(),
        Signal::HUP,
    )
    .unwrap();
    let error = wait_for("the fault", || {
        let status = host.status();
        status["destinations"][0]["last_error"]
            .as_str()
            .map(str::to_owned)
    });
    assert!(!error.contains("hunter2"), "{error}");
    let (_, log) = host.stop();
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn a_file_that_others_can_write_is_refused_and_a_running_host_goes_on_with_what_it_has() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.jsonl");
    let acct = format!("fixture-good:\n  \"*\":\n    path: {}\n", out.display());
    let host = RunningHost::start(&acct, plugins.path(), &[]);
    let file = host.path("acct.yml");
    fs::write(&file, acct.replace("out.jsonl", "other.jsonl")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o646)).unwrap();
    let pid = Pid::from_raw(host.pid().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    host.wait_for_log("has mode 0646: every user can write to it");
    host.put("a", "1");
    wait_for("the event", || (lines_of(&out).len() == 1).then_some(()));

    let output = run(
        evbus(dir.path())
            .args(["put", "a", "2", "--plugin-dir"])
            .arg(plugins.path())
            .arg("--acct-file")
            .arg(&file),
        b"",
    );
    check(&output, 78, "`chmod o-w ");
}

#[test]
fn an_acct_file_from_a_command_is_read_and_a_named_pipe_is_not_waited_for() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    encrypted_in(dir.path(), "fixture-good:\n  \"*\": {path: out.jsonl}\n");
    // The shell passes the names of its pipes.
    let command = evbus(dir.path());
    let line =
        "\"$0\" check --plugin-dir \"$1\" --acct-file <(cat acct.yml) --acct-key-file <(cat key)";
    let mut shell = Command::new("bash");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.args(["-c", line]).arg(command.get_program());
    let output = run(shell.arg(plugins.path()).current_dir(dir.path()), b"");
    check(&output, 0, "");

    let mut mkfifo = Command::new("mkfifo");
    let made = mkfifo.arg(dir.path().join("pipe")).status();
    assert!(made.unwrap().success());
    for (acct, key) in [("pipe", "key"), ("acct.yml", "pipe")] {
        let mut command = evbus(dir.path());
        let command = command.args(["check", "--acct-file", acct, "--acct-key-file", key]);
        let output = run(command.current_dir(dir.path()), b"");
        check(&output, 78, "a named pipe");
    }
}

/// A daemon in its own session keeps the output of the command that started it open, whatever is killed.
#[test]
fn a_secret_command_that_leaves_a_daemon_behind_costs_a_host_nothing() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let good = "fixture-good: {p: {path: '{dir}/out'}}\n";
    let host = RunningHost::start(good, plugins.path(), &[]);
    let path = host.path("path");
    let command = format!("setsid sleep 4 & echo {}", path.display());
    let text = format!("fixture-good: {{p: {{path: {{$exec: [sh, -c, '{command}']}}}}}}\n");
    fs::write(host.path("acct.yml"), text).unwrap();
    let open_files = || {
        let open = fs::read_dir(format!("/proc/{}/fd", host.pid())).unwrap();
        let to = open.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
        to.collect::<Vec<_>>()
    };
    let reload = || {
        let output = run(
            evbus(host.dir.path()).args(["reload", "--sock-dir", &host.sock_dir()]),
            b"",
        );
        check(&output, 1, "keeps its standard output open");
    };
    reload();
    let before = open_files();
    reload();
    reload();
    // The connection of `evbus reload` may be open for a moment longer than its answer takes. The daemons last longer
    // than this.
    let until = Instant::now() + Duration::from_secs(2);
    while open_files().len() > before.len() {
        let after = open_files();
        assert!(
            Instant::now() < until,
            "before: {before:?}, after: {after:?}"
        );
        std::thread::yield_now();
    }
}
