//! Plugins that hang while a host starts, even if it has loaded them before.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::beside::{delivers, ends_at_once_with, ends_within};
use crate::hostile_plugins::{DEED, put_in};
use crate::support::{RunningHost, default_state_dir, evbus, run, stderr};
use evbus_testkit::{built, plugin_dir};
use tempfile::TempDir;

/// A constructor may take ten seconds, five of which have passed when the host is told to end.
const LIMIT: Duration = Duration::from_secs(9);

/// A directory with an acct file.
fn with_acct(acct: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let acct = acct.replace("{dir}", &dir.path().to_string_lossy());
    fs::write(dir.path().join("acct.yml"), acct).unwrap();
    dir
}

#[test]
fn a_configuration_that_a_plugin_hangs_over_is_refused_and_a_start_that_waits_for_it_can_be_ended()
{
    let plugins = plugin_dir(&["plugin-glob", "fixture-hostile"]);
    let acct = "fixture-hostile: {p: {x: check-hang}}\n";
    std::thread::scope(|scope| {
        for command in [&["check"][..], &["put", "p", "1"]] {
            let plugins = plugins.path();
            scope.spawn(move || {
                let dir = with_acct(acct);
                let mut evbus = evbus(dir.path());
                evbus
                    .args(command)
                    .args(["--acct-file", "acct.yml", "--plugin-dir"])
                    .arg(plugins)
                    .current_dir(dir.path());
                let output = run(&mut evbus, b"");
                let said = stderr(&output);
                assert_eq!(output.status.code(), Some(78), "{command:?}: {said}");
                let sentence =
                    "plugin fixture-hostile does not answer: it did not check the configuration within 10 s";
                assert!(said.contains(sentence), "{command:?}: {said}");
            });
        }
        let dir = with_acct(acct);
        let host = RunningHost::begin(evbus(dir.path()), dir, plugins.path(), &[]);
        host.wait_for_log(
            "plugin fixture-hostile has not answered for 5 s (while it checked a configuration)",
        );
        let log = ends_at_once_with(host, 0);
        assert!(!log.contains("\nready"), "{log}");
    });
}

/// Makes hosts with this home know the hostile plugin as probed and good.
fn know(home: &Path) {
    let plugins = plugin_dir(&["plugin-glob", "fixture-hostile"]);
    fs::create_dir(default_state_dir(home)).unwrap();
    let mut check = evbus(home);
    check
        .args(["check", "--acct-file"])
        .arg(home.join("acct.yml"))
        .arg("--plugin-dir")
        .arg(plugins.path());
    let output = run(&mut check, b"");
    let tried = fs::read_to_string(default_state_dir(home).join("plugins-tried"));
    assert!(
        tried.is_ok_and(|tried| tried.lines().count() == 3),
        "{}",
        stderr(&output)
    );
}

/// A host in whose environment the constructor of the hostile plugin hangs.
fn hanging(dir: &Path) -> Command {
    let mut host = evbus(dir);
    host.env(DEED, "load-hang");
    host
}

#[test]
fn a_host_whose_own_thread_hangs_in_a_constructor_ends_when_it_is_told_to() {
    let hangs = "libfixture_hostile.so has not answered for 5 s";
    std::thread::scope(|scope| {
        // At the start of a host.
        scope.spawn(|| {
            let dir = with_acct("fixture-hostile: {p: }\n");
            know(dir.path());
            let plugins = plugin_dir(&["plugin-glob", "fixture-hostile"]);
            let flags = [RunningHost::DEFAULT_STATE];
            let host = RunningHost::begin(hanging(dir.path()), dir, plugins.path(), &flags);
            host.wait_for_log(hangs);
            let log = ends_within(host, LIMIT, 1);
            let sentence = "error: forced to end: the host hung while starting";
            assert!(log.contains(sentence), "{log}");
        });
        // When the file appears in the directory of a running host.
        scope.spawn(|| {
            let acct =
                "fixture-good:\n  idem-*: {path: {dir}/good.jsonl}\nfixture-hostile: {p: }\n";
            let dir = with_acct("fixture-hostile: {p: }\n");
            know(dir.path());
            let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
            let mut launcher = Command::new("env");
            launcher.arg(format!("{DEED}=load-hang"));
            let flags = [RunningHost::DEFAULT_STATE];
            let host = RunningHost::start_through(launcher, dir, acct, plugins.path(), &flags);
            delivers(&host, "before");
            let library = fs::read(built("fixture-hostile")).unwrap();
            put_in(plugins.path(), "libfixture_hostile.so", &library);
            host.wait_for_log(hangs);
            let log = ends_within(host, LIMIT, 70);
            let sentence = "libfixture_hostile.so: its constructor did not return within 10 s";
            assert!(log.contains(sentence), "{log}");
        });
    });
}
