//! The demo as its users run it: a process with an exit code that leaves nothing behind.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const LIMIT: Duration = Duration::from_mins(10);

/// The demo with its temporary files in `dir`.
fn demo(dir: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("demo")
        .env("TMPDIR", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts")
}

fn wait(demo: &mut Child) -> ExitStatus {
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        if let Some(status) = demo.try_wait().expect("can be waited for") {
            return status;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = demo.kill();
    panic!("the demo did not end");
}

/// Every process of the demo has its directory in its environment.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().expect("is text");
    fs::read_dir("/proc")
        .expect("lists")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|process| {
            fs::read(process.join("environ"))
                .is_ok_and(|variables| String::from_utf8_lossy(&variables).contains(dir))
        })
        .map(|process| process.display().to_string())
        .collect()
}

fn left_in(dir: &Path) -> usize {
    fs::read_dir(dir).expect("lists").count()
}

#[test]
fn it_delivers_every_event_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("makes");
    let mut demo = demo(dir.path());
    let mut text = String::new();
    let mut stdout = demo.stdout.take().expect("is piped");
    stdout.read_to_string(&mut text).expect("is text");
    let status = wait(&mut demo);
    assert!(status.success(), "{status}: {text}");
    let verdict = "All 33 events arrived everywhere they should: 41 deliveries in ";
    assert!(text.contains(verdict), "{text}");
    // Introduction, readiness, header, the events, and the summary.
    assert_eq!(text.lines().count(), 3 + 41 + 9, "{text}");
    assert!(!text.contains('\x1b'), "no colours in a pipe: {text}");
    assert_eq!(left_in(dir.path()), 0);
    assert_eq!(processes_of(dir.path()), [""; 0]);
}

/// Sends a signal when the demo has printed this many lines.
fn interrupted(lines: usize, signal: Signal) -> (ExitStatus, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("makes");
    let mut demo = demo(dir.path());
    let mut stdout = BufReader::new(demo.stdout.take().expect("is piped"));
    for _ in 0..lines {
        stdout.read_line(&mut String::new()).expect("is text");
    }
    kill_process(Pid::from_child(&demo), signal).expect("runs");
    let status = wait(&mut demo);
    (status, dir)
}

#[test]
fn a_signal_during_the_build_ends_it_without_remains() {
    let (status, dir) = interrupted(1, Signal::INT);
    assert_eq!(status.code(), Some(130));
    assert_eq!(left_in(dir.path()), 0);
    assert_eq!(processes_of(dir.path()), [""; 0]);
}

#[test]
fn a_signal_while_the_host_runs_ends_it_without_remains() {
    let (status, dir) = interrupted(2, Signal::TERM);
    // On a busy machine, the demo may finish before the signal is sent.
    assert!(matches!(status.code(), Some(130 | 0)), "{status}");
    assert_eq!(left_in(dir.path()), 0);
    assert_eq!(processes_of(dir.path()), [""; 0]);
}

#[test]
fn being_killed_leaves_nothing_behind_either() {
    let (status, dir) = interrupted(2, Signal::KILL);
    assert!(!status.success());
    // The keeper cleans up by itself after the demo's end.
    let begin = Instant::now();
    while left_in(dir.path()) > 0 || !processes_of(dir.path()).is_empty() {
        assert!(begin.elapsed() < LIMIT, "something stays");
        thread::sleep(Duration::from_millis(20));
    }
}
