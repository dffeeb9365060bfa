//! Changes to the state directory by somebody else are reported, and nothing waits for them.

use std::fs;

use crate::support::{RunningHost, evbus, run, stderr};
use evbus_testkit::{named_pipe, plugin_dir};

const ACCT: &str = "fixture-good: {'*': {path: '{dir}/out'}}\n";

#[test]
fn a_state_directory_that_is_removed_under_an_idle_host_is_named() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let flags = ["--state-dir", state.to_str().unwrap()];
    let host = RunningHost::start_in(home, ACCT, plugins.path(), &flags);
    fs::rename(&state, state.with_extension("away")).unwrap();
    host.wait_for_log("or its lock was removed or replaced while the host was running");
}

#[test]
fn a_named_pipe_in_the_place_of_a_store_is_refused_by_check_and_run_alike() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let flags = ["--state-dir", state.to_str().unwrap()];
    let host = RunningHost::start_in(home, ACCT, plugins.path(), &flags);
    let (_, _, home) = host.stop_and_keep();
    let queues = fs::read_dir(state.join("queues")).unwrap();
    let mut files = queues.map(|entry| entry.unwrap().path());
    let store = files
        .find(|file| file.extension().is_some_and(|it| it == "db"))
        .unwrap();
    fs::remove_file(&store).unwrap();
    named_pipe(&store);
    let expected = format!(
        "{store:?} is a named pipe, expected a file of a store; move it out of the state directory"
    );
    for command in ["check", "run"] {
        let output = run(
            evbus(home.path())
                .args([command, "--acct-file"])
                .arg(home.path().join("acct.yml"))
                .arg("--plugin-dir")
                .arg(plugins.path())
                .args(flags),
            b"",
        );
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(&expected), "{command}: {said}");
    }
}
