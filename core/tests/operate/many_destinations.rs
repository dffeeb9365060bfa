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
    let sentence = "100 destinations need at least 532 open files, but this process is limited to 256; raise the limit";
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
            "100 destinations need at least 532 open files, but this process is limited to 256; raise the limit"
        ),
        "{said}"
    );
}
