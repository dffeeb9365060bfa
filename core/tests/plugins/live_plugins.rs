//! Plugin files that are added and changed while the host runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::{RunningHost, lines_of, wait_for};
use evbus_testkit::{built, plugin_dir};

const ACCT: &str = "
fixture-good:
  idem-*:
    path: {dir}/good.jsonl
fixture-null:
  idem-*:
";

/// Fires events until one arrives, because a new file is noticed only after a moment.
fn wait_until_served(host: &RunningHost, out: &Path) {
    wait_for("an event to arrive", || {
        host.put("idem-run", "\"probe\"");
        (!lines_of(out).is_empty()).then_some(())
    });
}

fn put_in(dir: &Path, package: &str, name: &str) {
    // As `cp` writes it: directly, in several writes.
    let target = dir.join(name);
    fs::copy(built(package), &target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn a_plugin_dropped_into_the_directory_serves_entries_that_waited_for_it() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-null"]);
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    host.wait_for_log("no plugin serves provider fixture-good of the acct file");
    host.put("idem-run", "\"too early\"");
    let out = host.path("good.jsonl");
    assert!(!out.exists());

    put_in(plugins.path(), "fixture-good", "libfixture_good.so");
    wait_until_served(&host, &out);
    host.put("idem-run", "\"after\"");
    wait_for("the event fired after it", || {
        lines_of(&out)
            .iter()
            .any(|line| line["body"] == "\"after\"")
            .then_some(())
    });
    assert!(
        lines_of(&out)
            .iter()
            .all(|line| line["body"] != "\"too early\"")
    );
    let (status, log) = host.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_plugin_that_comes_while_the_acct_file_is_gone_serves_it_when_it_is_back() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-null"]);
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let (acct, kept) = (host.path("acct.yml"), host.path("kept.yml"));
    fs::rename(&acct, &kept).unwrap();
    put_in(plugins.path(), "fixture-good", "libfixture_good.so");
    host.wait_for_log("new plugins will serve their destinations after it is reloaded");
    host.put("idem-run", "\"too early\"");
    fs::copy(&kept, &acct).unwrap();
    wait_until_served(&host, &host.path("good.jsonl"));
}

#[test]
fn a_plugin_overwritten_in_place_is_used_and_the_host_lives_on() {
    let plugins = plugin_dir(&["plugin-glob"]);
    // Another plugin is already in use under the file name of the new one.
    put_in(plugins.path(), "fixture-null", "provider.so");
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    host.put("idem-run", "1");

    put_in(plugins.path(), "fixture-good", "provider.so");
    let out = host.path("good.jsonl");
    wait_until_served(&host, &out);

    // Truncated, as by a copy that failed: it is refused, and the loaded plugin stays in use.
    let whole = fs::read(plugins.path().join("provider.so")).unwrap();
    fs::write(
        plugins.path().join("provider.so"),
        &whole[..whole.len() / 2],
    )
    .unwrap();
    host.wait_for_log("it is damaged or truncated");
    host.wait_for_log("fixture-good is still served by the loaded plugin fixture-good 0.1.0");
    host.put("idem-run", "\"meanwhile\"");
    wait_for("the event fired meanwhile", || {
        let lines = lines_of(&out);
        lines
            .iter()
            .any(|line| line["body"] == "\"meanwhile\"")
            .then_some(())
    });
    let (status, log) = host.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_second_file_with_the_id_of_a_plugin_at_work_is_reported_once_and_changes_nothing() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-null"]);
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let out = host.path("good.jsonl");
    wait_until_served(&host, &out);
    put_in(plugins.path(), "fixture-namesake", "namesake.so");
    let sentence = "namesake.so: not used: it has the same plugin id fixture-good as";
    host.wait_for_log(sentence);
    host.wait_for_log("libfixture_good.so: not used: it has the same plugin id fixture-good as");
    // Makes the host scan the directory again.
    put_in(plugins.path(), "fixture-null", "znull.so");
    host.wait_for_log("znull.so: not used: it is identical to");
    host.put("idem-run", "\"afterwards\"");
    wait_for("the event fired afterwards", || {
        let lines = lines_of(&out);
        let is_there = lines.iter().any(|line| line["body"] == "\"afterwards\"");
        is_there.then_some(())
    });
    assert_eq!(host.log().matches(sentence).count(), 1, "{}", host.log());
    let (status, log) = host.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_file_that_has_the_content_of_another_is_that_plugin_once_more() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-null"]);
    put_in(plugins.path(), "fixture-good", "a-copy.so");
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    host.wait_for_log("libfixture_good.so: not used: it is identical to");
    wait_until_served(&host, &host.path("good.jsonl"));
}

#[test]
fn plugins_that_cannot_be_used_are_told_of_once_and_secrets_are_read_when_something_changed() {
    /// More than two of the periods in which the host scans its plugins anyway.
    const ROUNDS_S: f64 = 11.5;

    let plugins = plugin_dir(&["plugin-glob", "fixture-null", "fixture-good"]);
    let acct = "
fixture-good: {p: {path: {$exec: [sh, -c, 'echo read >> {dir}/reads; echo {dir}/out']}}}
fixture-null: {p: {}}
";
    let host = RunningHost::start(acct, plugins.path(), &[]);
    let good = fs::read(plugins.path().join("libfixture_good.so")).unwrap();
    // Damaged from the beginning, damaged while in use, and one that others may write to.
    fs::write(plugins.path().join("cut.so"), &good[..20_000]).unwrap();
    fs::write(plugins.path().join("libfixture_null.so"), "garbage").unwrap();
    let open = plugins.path().join("open.so");
    fs::write(&open, &good).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).unwrap();
    for name in ["cut.so", "libfixture_null.so", "open.so"] {
        host.wait_for_log(&format!("/{name}: not used: "));
    }
    host.wait_for_log("fixture-null is still served by the loaded plugin fixture-null 0.1.0");
    let reads = || fs::read_to_string(host.path("reads")).unwrap();
    let uptime = || host.status()["host"]["uptime_s"].as_f64().unwrap();
    // Changes are noticed within one round.
    let since = uptime();
    wait_for("a round", || {
        (uptime() > since + ROUNDS_S / 2.0).then_some(())
    });
    let (log, before) = (host.log(), reads());
    let since = uptime();
    wait_for("more rounds", || {
        (uptime() > since + ROUNDS_S).then_some(())
    });
    assert_eq!(host.log(), log);
    assert_eq!(reads(), before);
}
