//! Kept events that are lost nevertheless are reported at the end, and the exit code is not 0.

use super::*;

/// A host that keeps nothing on disk.
fn without_disk(acct: &str, plugins: &TempDir) -> RunningHost {
    let more = ["--no-state-dir", "--drain-timeout", "0.2"];
    RunningHost::start(acct, plugins.path(), &more)
}

#[track_caller]
fn assert_lost(host: RunningHost, destination: &str, number: &str) {
    let (status, log, _dir) = host.end(Signal::TERM);
    assert_eq!(status.code(), Some(1), "{log}");
    let expected = format!("error: destination {destination}: {number}");
    assert!(log.contains(&expected), "expected {expected:?} in:\n{log}");
}

const REFUSING: &str =
    "fixture-good: {'*': {path: '{dir}/out.jsonl', reject_containing: poison}}\n";

#[test]
fn what_a_removed_destination_had_in_memory_only() {
    let plugins = plugins();
    let host = without_disk(&away("*", "queue: {events: 10}"), &plugins);
    for number in 1..=3 {
        assert_kept(&put(&host, "p", &number.to_string()));
    }
    write_acct(
        &host,
        "fixture-good: {other: {path: '{dir}/other.jsonl'}}\n",
    );
    host.wait_for_log("removed, and 3 events are lost: not delivered in time");
    assert_lost(
        host,
        "fixture-good[0] *",
        "3 events are lost: 3 in memory only",
    );
}

#[test]
fn what_a_destination_lost_each_time_that_it_was_removed() {
    let plugins = plugins();
    let (there, gone) = (away("*", "queue: {events: 10}"), "fixture-good: {}\n");
    let host = without_disk(&there, &plugins);
    for round in 1..=2 {
        assert_kept(&put(&host, "p", "1"));
        write_acct(&host, gone);
        wait_for("the loss", || {
            let losses = host.log().matches("removed, and 1 event is lost").count();
            (losses == round).then_some(())
        });
        write_acct(&host, &there);
        wait_for("the destination", || {
            (lane(&host, 0)["state"] != Value::Null).then_some(())
        });
    }
    assert_lost(
        host,
        "fixture-good[0] *",
        "2 events are lost: 2 in memory only",
    );
}

#[test]
fn dead_letters_that_no_disk_keeps() {
    let plugins = plugins();
    let host = without_disk(REFUSING, &plugins);
    assert_kept(&put(&host, "p", "\"poison\""));
    wait_for("the dead letter", || {
        (lane(&host, 0)["dead_lettered"] == 1).then_some(())
    });
    assert_lost(
        host,
        "fixture-good[0] *",
        "1 event is lost: 1 as dead letters that could not be stored",
    );
}

#[test]
fn what_is_kept_on_disk_is_not_lost() {
    let plugins = plugins();
    let host = start(REFUSING, &plugins);
    assert_kept(&put(&host, "p", "\"poison\""));
    wait_for("the dead letter", || {
        (lane(&host, 0)["dead_lettered"] == 1).then_some(())
    });
    write_acct(&host, &away("q", "queue: {events: 10}"));
    host.wait_for_log("reloaded");
    assert_kept(&put(&host, "q", "1"));
    write_acct(&host, "fixture-good: {}\n");
    host.wait_for_log("will be delivered from disk");
    let (status, log, _dir) = host.end(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("lost"), "{log}");
}
