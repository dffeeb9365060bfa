//! The host as a service that somebody starts and stops: signals are obeyed at once whatever hangs, and nobody
//! has to read what it says.

use std::fmt::Write as _;
use std::fs;
use std::io::{PipeReader, Read as _, Write as _, pipe};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process, test_kill_process_group};

/// How soon a host with nothing to deliver ends; one second on an idle machine.
const AT_ONCE: Duration = Duration::from_secs(4);

/// A full pipe that nobody reads.
fn full_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'\n'; 512]).is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    (reader, Stdio::from(writer))
}

fn end(child: &mut Child, signal: Signal) -> Option<i32> {
    let began = Instant::now();
    kill_process(Pid::from_child(child), signal).unwrap();
    let status = wait_for("the host to end", || child.try_wait().unwrap());
    let took = began.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
    status.code()
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.jsonl");
    let acct = format!("fixture-good: {{p*: {{path: {}}}}}\n", out.display());
    fs::write(dir.path().join("acct.yml"), acct).unwrap();
    let (mut reader, standard_error) = full_pipe();
    let mut host = evbus(dir.path())
        .args(["run", "--no-state-dir", "--log-level", "trace"])
        .args(["--acct-file", "acct.yml", "--sock-dir", "s", "--plugin-dir"])
        .arg(plugins.path())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(standard_error)
        .spawn()
        .unwrap();
    let evbus = |args: &[&str]| {
        let mut command = evbus(dir.path());
        command.args(args).args(["--sock-dir", "s"]);
        command.current_dir(dir.path());
        command
    };
    wait_for("the host to be there", || {
        let status = run(&mut evbus(&["status"]), b"");
        status.status.success().then_some(())
    });
    let events = 2_000;
    // At the level trace, each event logs a line with its own name.
    let mut lines = String::new();
    for number in 0..events {
        let name = "x".repeat(4_000);
        writeln!(lines, "{{\"profile\": \"p{number}{name}\", \"body\": 1}}").unwrap();
    }
    let put = run(&mut evbus(&["put", "--events"]), lines.as_bytes());
    assert!(put.status.success(), "{}", stderr(&put));
    wait_for("every event at the destination", || {
        (lines_of(&out).len() == events).then_some(())
    });
    let status = run(&mut evbus(&["status"]), b"");
    assert!(status.status.success(), "{}", stderr(&status));
    assert_eq!(end(&mut host, Signal::TERM), Some(0));
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    assert!(!log.contains("ready"), "nothing was read: {log}");
}

#[test]
fn a_second_signal_ends_a_host_that_waits_for_a_destination() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-hanging"]);
    let host = RunningHost::start(
        "fixture-hanging: {p: {at: publish}}\n",
        plugins.path(),
        &["--drain-timeout", "600"],
    );
    host.put("p", "1");
    kill_process(
        Pid::from_raw(host.pid().try_into().unwrap()).unwrap(),
        Signal::TERM,
    )
    .unwrap();
    host.wait_for_log("shutting down: delivering queued events");
    let began = Instant::now();
    let (status, log, _dir) = host.end(Signal::INT);
    assert!(began.elapsed() < AT_ONCE, "{log}");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("ended at once by a second signal"), "{log}");
}

/// An acct file whose password comes from a command that never ends, and that shows when it runs.
fn slow_secret(dir: &std::path::Path) -> String {
    format!(
        "fixture-good: {{p: {{path: {{$exec: [sh, -c, 'echo $$ > {}/pid; sleep 600 & wait']}}}}}}\n",
        dir.display()
    )
}

/// The process group of that command.
fn group(dir: &std::path::Path) -> Pid {
    let text = wait_for("the command to run", || {
        let text = fs::read_to_string(dir.join("pid")).unwrap_or_default();
        text.ends_with('\n').then_some(text)
    });
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

fn wait_for_end_of_group(group: Pid) {
    wait_for("the command and what it started to end", || {
        test_kill_process_group(group).is_err().then_some(())
    });
}

#[test]
fn a_host_that_waits_for_a_secret_at_its_start_ends_at_once_and_the_command_with_it() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("acct.yml"), slow_secret(dir.path())).unwrap();
    let mut host = evbus(dir.path())
        .args(["run", "--no-state-dir", "--acct-file", "acct.yml"])
        .args(["--sock-dir", "s", "--plugin-dir"])
        .arg(plugins.path())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let group = group(dir.path());
    assert_eq!(end(&mut host, Signal::TERM), Some(0));
    wait_for_end_of_group(group);
}

#[test]
fn a_host_that_waits_for_a_secret_while_it_reloads_ends_at_once_and_the_command_with_it() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    for second in [false, true] {
        let host = RunningHost::start(
            "fixture-good: {p: {path: {dir}/out}}\n",
            plugins.path(),
            &[],
        );
        fs::write(host.path("acct.yml"), slow_secret(host.dir.path())).unwrap();
        let pid = Pid::from_raw(host.pid().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        let group = group(host.dir.path());
        if second {
            kill_process(pid, Signal::TERM).unwrap();
        }
        let began = Instant::now();
        let (status, log, _dir) = host.end(Signal::TERM);
        assert!(began.elapsed() < AT_ONCE, "{log}");
        assert!(matches!(status.code(), Some(0 | 1)), "{status}: {log}");
        wait_for_end_of_group(group);
    }
}

#[test]
fn standard_output_that_nobody_reads_holds_up_no_other_destination() {
    let pipe = tempfile::tempdir().unwrap();
    let path = pipe.path().join("out");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    // Open, but never read.
    let _reader = fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut launcher = Command::new("sh");
    launcher.args(["-c", r#"exec "$@" >"$0""#]).arg(&path);
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let acct = "file:\n  out-*: {path: '-'}\n  kept-*: {path: '{dir}/kept'}\n";
    let dir = tempfile::tempdir().unwrap();
    let more = ["--drain-timeout", "0"];
    let host = RunningHost::start_through(launcher, dir, acct, plugins.path(), &more);
    // More than a pipe holds.
    host.put("out-1", &format!("\"{}\"", "x".repeat(100_000)));
    let destination = |index: usize| host.status()["destinations"][index].clone();
    wait_for("the event to be on its way", || {
        (destination(0)["in_flight"] == 1).then_some(())
    });
    host.put("kept-1", "{}");
    wait_for("the other destination to have its event", || {
        (destination(1)["accepted"] == 1).then_some(())
    });
    assert_eq!(destination(0)["in_flight"], 1);
    let (_, log) = host.stop();
    assert!(log.contains("not delivered in time"), "{log}");
}
