//! Many destinations: up to the process's limit of open files, and a clear message beyond it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{RunningHost, evbus, program, run, stderr, wait_for};
use evbus_testkit::plugin_dir;

fn acct(destinations: usize) -> String {
    let mut acct = "fixture-good:\n".to_owned();
    for number in 0..destinations {
        writeln!(acct, "  p{number}: {{path: {{dir}}/out}}").unwrap();
    }
    acct
}

#[test]
fn a_host_with_some_hundred_stores_starts_and_starts_again() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let mut host = RunningHost::start(&acct(300), plugins.path(), &[RunningHost::DEFAULT_STATE]);
    for round in 0..2 {
        wait_for("all to be connected", || {
            let status = host.status();
            let all = status["destinations"].as_array().unwrap();
            let is_up = |destination: &&serde_json::Value| destination["state"] == "connected";
            (all.iter().filter(is_up).count() == 300).then_some(())
        });
        host.put("p299", "1");
        let (status, log, dir) = host.stop_and_keep();
        assert_eq!(status.code(), Some(0), "{round}: {log}");
        host = RunningHost::start_in(
            dir,
            &acct(300),
            plugins.path(),
            &[RunningHost::DEFAULT_STATE],
        );
    }
}

#[test]
fn a_reload_to_more_destinations_than_open_files_is_refused_and_changes_nothing() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let mut launcher = Command::new("sh");
    launcher.args(["-c", "ulimit -n 256; exec \"$@\"", "sh"]);
    let dir = tempfile::tempdir().unwrap();
    let host = RunningHost::start_through(
        launcher,
        dir,
        &acct(5),
        plugins.path(),
        &[RunningHost::DEFAULT_STATE],
    );
    let names = |host: &RunningHost| -> Vec<String> {
        let status = host.status();
        let all = status["destinations"].as_array().unwrap().iter();
        all.map(|lane| lane["pattern"].to_string()).collect()
    };
    let before = names(&host);
    let text = acct(100).replace("{dir}", &host.dir.path().to_string_lossy());
    fs::write(host.path("acct.yml"), text).unwrap();
    let mut reload = evbus(host.dir.path());
    let output = run(reload.args(["reload", "--sock-dir", &host.sock_dir()]), b"");
    let said = stderr(&output);
    assert!(!output.status.success(), "{said}");
    let sentence = "100 destinations need at least 432 open files, but this process is limited to 256; raise the limit";
    assert!(said.contains(sentence), "{said}");
    assert_eq!(names(&host), before);
    host.put("p4", "1");
    let (status, log) = host.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Runs a command on `acct.yml` with this limit of open files.
fn limited(files: u64, command: &str, dir: &Path, plugins: &Path) -> Output {
    let host = evbus(dir);
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {files}; exec \"$@\""), "sh"]);
    limited.arg(program()).args([command, "--sock-dir", "s"]);
    limited.args(["--acct-file", "acct.yml", "--plugin-dir"]);
    limited.arg(plugins).current_dir(dir);
    limited.envs(
        host.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    run(&mut limited, b"")
}

#[test]
fn a_limit_that_no_host_can_do_with_is_named_and_no_file_is_blamed() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("acct.yml"), acct(1)).unwrap();
    for files in [16, 31] {
        for command in ["run", "check"] {
            let output = limited(files, command, dir.path(), plugins.path());
            assert_eq!(output.status.code(), Some(78), "{command}");
            let expected = format!(
                "error: a host needs at least 32 open files, but this process is limited to {files}; raise the limit (`ulimit -n`, or LimitNOFILE= of the unit)\n"
            );
            assert_eq!(stderr(&output), expected, "{command}");
        }
    }
}

#[test]
fn more_destinations_than_open_files_are_refused_with_the_limit_to_raise() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let text = acct(100).replace("{dir}", &dir.path().to_string_lossy());
    fs::write(dir.path().join("acct.yml"), text).unwrap();
    let output = limited(256, "run", dir.path(), plugins.path());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains(
            "100 destinations need at least 432 open files, but this process is limited to 256; raise the limit"
        ),
        "{said}"
    );
}

/// The processor time that a process or thread has used so far, in ticks of the kernel, from its `stat`.
fn ticks(stat: &str) -> u64 {
    let stat = fs::read_to_string(stat).unwrap();
    // The name of the program, in parentheses, may have anything in it.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<u64> = rest
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    // In user mode and in the kernel.
    fields[11] + fields[12]
}

/// Makes databases like the stores of a host, by `SQLite` alone.
fn make_databases(count: usize, dir: &Path) {
    for number in 0..count {
        let database = rusqlite::Connection::open(dir.join(format!("{number}.db"))).unwrap();
        database
            .execute_batch(
                "PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF;
                 BEGIN;
                 CREATE TABLE destination (provider TEXT NOT NULL, pattern TEXT NOT NULL, nth INTEGER NOT NULL) STRICT;
                 CREATE TABLE queue (seq INTEGER PRIMARY KEY, event BLOB NOT NULL) STRICT;
                 CREATE TABLE dead_letters (seq INTEGER PRIMARY KEY, event BLOB NOT NULL) STRICT;
                 CREATE TABLE counts (queued INTEGER NOT NULL, dead INTEGER NOT NULL) STRICT;
                 INSERT INTO destination VALUES ('fixture-good', 'p', 0);
                 COMMIT;
                 PRAGMA journal_mode = WAL;",
            )
            .unwrap();
        drop(database);
    }
}

/// A release build starts this many in one to two seconds; the aim is three. A test cannot measure seconds: on a machine
/// that does other things too, they are of any length. So the bound is for processor time, without
/// that of other programs, and its unit is what every host has to do: making as many databases, in the same run and by
/// the same build of `SQLite`. Ten units are about three seconds for a release build. A debug build takes six or seven,
/// and may take twenty.
#[test]
fn a_thousand_destinations_start_at_the_cost_of_some_thousand_databases() {
    const COUNT: usize = 1000;
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let before = ticks("/proc/thread-self/stat");
    make_databases(COUNT, dir.path());
    let databases = ticks("/proc/thread-self/stat") - before;
    let host = RunningHost::start(&acct(COUNT), plugins.path(), &[RunningHost::DEFAULT_STATE]);
    let start = ticks(&format!("/proc/{}/stat", host.pid()));
    println!("{databases} ticks for the databases, {start} for the start");
    let is_release = program().iter().any(|part| part == "release");
    let most = if is_release { 10 } else { 20 };
    assert!(
        start < most * databases,
        "{start} ticks, and {databases} for the databases"
    );
    let (status, log) = host.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}
