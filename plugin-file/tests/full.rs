//! Disks and devices that are full, and files that may not become larger.
//!
//! A small file system of its own needs a mount, which a child process in namespaces of its own can
//! make: such a test runs itself in one.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evbus_testkit::{Link, Outcome, TestEvent};
use serde_json::json;
use support::{accepted, connect, numbered, numbers};

const CHILD: &str = "EVBUS_TEST_SMALL_DISK";

/// Runs a test once more in a child process with an empty file system of 256 KiB, whose path the child gets; the
/// parent then has nothing left to do.
fn on_a_small_disk(test: &str) -> Option<PathBuf> {
    if let Some(disk) = std::env::var_os(CHILD) {
        return Some(disk.into());
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mount = format!("mount -t tmpfs -o size=256k none \"${CHILD}\" && exec \"$0\" \"$@\"");
    in_a_child(
        test,
        &["unshare", "--map-root-user", "--mount"],
        &mount,
        dir.path(),
    );
    None
}

fn in_a_child(test: &str, before: &[&str], script: &str, dir: &Path) {
    let child = Command::new(before[0])
        .args(&before[1..])
        .args(["sh", "-c", script])
        .arg(std::env::current_exe().expect("the test has a path"))
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, dir)
        .output()
        .expect("the command is there");
    assert!(
        child.status.success(),
        "{}{}",
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr)
    );
}

/// The numbers of the accepted events; the others had to be retried.
#[track_caller]
fn accepted_of(outcomes: &[Outcome], first: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    for (number, outcome) in (first..).zip(outcomes) {
        match outcome {
            Outcome::Accepted => numbers.push(number),
            Outcome::Retry { .. } => {}
            other => panic!("event {number}: {other:?}"),
        }
    }
    numbers
}

/// Blocks of a file on its file system, in bytes.
fn occupied(path: &Path) -> u64 {
    fs::metadata(path).expect("it exists").blocks() * 512
}

#[tokio::test]
async fn a_full_device_means_retry() {
    let instance = connect(json!({"path": "/dev/full"})).await;
    for _ in 0..2 {
        let outcomes = instance.publish(numbered(0..2)).await;
        for outcome in outcomes {
            assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
            let expected = "cannot write to /dev/full: No space left on device (os error 28); \
                            free some space on its disk";
            assert_eq!(outcome.reason(), expected);
        }
    }
}

#[tokio::test]
async fn what_fits_on_a_full_disk_is_accepted_and_the_rest_is_waited_for() {
    let Some(disk) =
        on_a_small_disk("what_fits_on_a_full_disk_is_accepted_and_the_rest_is_waited_for")
    else {
        return;
    };
    let [path, ballast] = ["events", "ballast"].map(|name| disk.join(name));
    fs::write(&ballast, vec![0; 128 * 1024]).expect("the disk has room");
    let instance = connect(json!({"path": path})).await;
    accepted(&instance, numbered(0..300)).await;

    // A reader that polls never sees a line that is truncated later.
    let end = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (path, end) = (path.clone(), Arc::clone(&end));
        move || {
            let mut longest = 0;
            while !end.load(Ordering::Acquire) {
                let len = fs::metadata(&path).expect("it exists").len();
                assert!(len >= longest, "it has become shorter: {longest}, {len}");
                longest = len;
            }
        }
    });
    // The disk becomes full within this batch: a part of it fits.
    let outcomes = instance.publish(numbered(300..2000)).await;
    let mut expected: Vec<u64> = (0..300).collect();
    let fitted = accepted_of(&outcomes, 300);
    assert!(fitted.len() > 300, "{} fitted", fitted.len());
    expected.extend(&fitted);
    assert_eq!(numbers(&path), expected);
    assert!(instance.seen().links.iter().any(|link| matches!(
        link, Link::Down(reason) if reason.contains("No space left on device")
    )));

    // A line that does not fit costs no room, however often it is retried.
    let before = fs::metadata(&path).expect("it exists");
    let next = expected.len();
    for _ in 0..20 {
        let outcomes = instance.publish(numbered(next..next + 1000)).await;
        let fitted = accepted_of(&outcomes, next as u64);
        assert!(fitted.len() < 100, "{} fitted", fitted.len());
        expected.extend(fitted);
        if expected.len() > next {
            break;
        }
    }
    let grown = fs::metadata(&path).expect("it exists").len() - before.len();
    assert!(grown < 4096 && occupied(&path) <= 128 * 1024, "{grown}");
    end.store(true, Ordering::Release);
    reader.join().expect("the file only grows");

    fs::remove_file(&ballast).expect("the disk is the test's");
    let next = expected.len();
    accepted(&instance, numbered(next..1200)).await;
    assert_eq!(numbers(&path), (0..1200).collect::<Vec<u64>>());
    assert_eq!(instance.seen().links.last(), Some(&Link::Up));
}

#[tokio::test]
async fn an_event_larger_than_what_is_left_holds_up_its_successors_and_is_not_written_in_part() {
    let Some(disk) = on_a_small_disk(
        "an_event_larger_than_what_is_left_holds_up_its_successors_and_is_not_written_in_part",
    ) else {
        return;
    };
    let [path, ballast] = ["events", "ballast"].map(|name| disk.join(name));
    fs::write(&ballast, vec![0; 200 * 1024]).expect("the disk has room");
    let instance = connect(json!({"path": path})).await;
    let large = TestEvent::text("p", &"x".repeat(100_000));
    let mut events = numbered(0..2);
    events.push(large);
    events.extend(numbered(3..5));
    let outcomes = instance.publish(events.clone()).await;
    assert_eq!(accepted_of(&outcomes, 0), [0, 1], "in order, and whole");
    let outcomes = instance.publish(events[2..].to_vec()).await;
    assert_eq!(accepted_of(&outcomes, 2), [0; 0]);
    assert_eq!(numbers(&path), [0, 1]);
    fs::remove_file(&ballast).expect("the disk is the test's");
    accepted(&instance, events[2..].to_vec()).await;
    assert_eq!(support::lines(&path).len(), 5);
}

#[tokio::test]
async fn a_limit_of_file_size_is_met_line_by_line_and_ends_nothing() {
    const TEST: &str = "a_limit_of_file_size_is_met_line_by_line_and_ends_nothing";
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // In blocks of 512 bytes. Writing beyond the limit sends a signal that ends the process.
        let script = "ulimit -f 64 && exec \"$0\" \"$@\"";
        return in_a_child(TEST, &["env"], script, dir.path());
    };
    let path = dir.join("events");
    let instance = connect(json!({"path": path})).await;
    let outcomes = instance.publish(numbered(0..1000)).await;
    let fitted = accepted_of(&outcomes, 0);
    assert!((100..1000).contains(&fitted.len()), "{}", fitted.len());
    assert_eq!(numbers(&path), fitted);
    let last = outcomes.last().expect("there are outcomes");
    let expected = format!("cannot write to {}: File too large", path.display());
    assert!(last.reason().starts_with(&expected), "{last:?}");
    assert!(last.reason().contains("ulimit -f"), "{last:?}");
}
