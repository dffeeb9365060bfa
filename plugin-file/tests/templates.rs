//! A path that is another one for each event.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use evbus_testkit::{ConnectFailure, Outcome, TestEvent};
use serde_json::json;
use support::{WITHIN, accepted, connect, harness, numbers};

/// A directory and the template `DIRECTORY/${ body.to }`.
fn directory() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let template = format!("{}/${{ body.to }}", dir.path().display());
    (dir, template)
}

/// An event for a file, with a number.
fn to(name: &str, n: usize) -> TestEvent {
    TestEvent::json("p", json!({"to": name, "n": n}))
}

#[track_caller]
fn assert_rejected(outcome: &Outcome, text: &str) {
    assert!(
        matches!(outcome, Outcome::Rejected { reason } if reason.contains(text)),
        "{outcome:?} is not a rejection for `{text}`"
    );
}

/// How many files below a directory this process has open.
fn open_below(dir: &Path) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").expect("Linux lists them");
    let target = |entry: std::io::Result<fs::DirEntry>| fs::read_link(entry.ok()?.path()).ok();
    descriptors
        .filter_map(target)
        .filter(|target| target.starts_with(dir) && target != dir)
        .count()
}

#[test]
fn a_path_that_no_event_can_have_is_a_fault() {
    for (config, path, text) in [
        (
            json!({"path": "/v/${ nonesuch }"}),
            "path",
            "unknown name `nonesuch`",
        ),
        (json!({"path": "/v/${ id"}), "path", "without a `}`"),
        (json!({"path": "/${ profile }"}), "path", "root directory"),
        (
            json!({"path": "/../v-${ profile }"}),
            "path",
            "root directory",
        ),
        (json!({"path": "/v\0/${ profile }"}), "path", "NUL"),
        (
            json!({"path": "a", "max_open": 0}),
            "max_open",
            "from 1 to 1024",
        ),
        (
            json!({"path": "a", "max_open": 1025}),
            "max_open",
            "from 1 to 1024",
        ),
    ] {
        let faults = harness().check(config);
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(
            faults.len() == 1
                && faults[0].starts_with(&format!("{path}: "))
                && faults[0].contains(text),
            "{faults:?} is not one fault at {path} about `{text}`"
        );
    }
    assert_eq!(harness().schema()["properties"]["path"]["x-template"], true);
}

#[tokio::test]
async fn profile_tags_and_body_choose_the_file_and_each_keeps_its_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = format!(
        "{}/jobs/${{ parts[1] }}-${{ tags.k }}.${{ body.n % 2 }}",
        dir.path().display()
    );
    let instance = connect(json!({"path": path, "create_dirs": true})).await;
    let event = |n: usize| TestEvent::json("jobs/a", json!({"n": n, "tags": {"k": "v"}}));
    accepted(&instance, (0..1000).map(event).collect()).await;
    for rest in [0, 1] {
        let found = numbers(&dir.path().join(format!("jobs/a-v.{rest}")));
        assert_eq!(found, (rest..1000).step_by(2).collect::<Vec<u64>>());
    }
}

#[tokio::test]
async fn a_template_without_a_directory_stays_in_the_working_directory() {
    let dir = tempfile::tempdir_in(".").expect("a temporary directory");
    let name = dir.path().file_name().expect("a name").to_string_lossy();
    let instance = connect(json!({"path": "${ body.to }"})).await;
    let events = vec![to(&format!("{name}/a"), 7), to(&format!("../{name}"), 8)];
    let outcomes = instance.publish_all(events, WITHIN).await;
    assert_eq!(outcomes[0], Outcome::Accepted);
    assert_rejected(&outcomes[1], "`..`");
    assert_eq!(numbers(&dir.path().join("a")), [7]);
}

/// The table in the README.
#[tokio::test]
async fn an_event_with_a_bad_path_is_rejected_alone_and_reaches_no_file() {
    let outer = tempfile::tempdir().expect("a temporary directory");
    let dir = outer.path().join("inner");
    fs::create_dir_all(dir.join("directory")).expect("it is the test's");
    fs::write(dir.join("file"), "").expect("it is the test's");
    let path = format!("{}/${{ body.to }}", dir.display());
    let instance = connect(json!({"path": path, "rotate": {"max_bytes": 1_000_000}})).await;
    let long = "x".repeat(256);
    let deep = "x/".repeat(2048);
    let huge = "x".repeat(1024 * 1024 - 200);
    let bad = [
        ("", "gives no file name"),
        ("/etc/passwd", "`/` at its beginning"),
        ("a//b", "`/` at its beginning or twice"),
        ("../escaped", "`.` or `..`"),
        ("a/../../escaped", "`.` or `..`"),
        ("..", "`.` or `..`"),
        (".", "`.` or `..`"),
        ("a/", "ends in `/`"),
        ("a\nb", "a control character"),
        ("a\0b", "a control character"),
        ("a\u{1b}[2J", "a control character"),
        (&long, "more than 255 bytes"),
        (&huge, "more than 255 bytes"),
        (&format!("{deep}x"), "more than 4095 bytes"),
        ("other.1", "the name of a file that `rotate` keeps"),
        ("directory", "it is a directory"),
        ("missing/a", "create_dirs"),
        ("file/a", "not a directory"),
    ];
    let mut events = vec![to("good", 1)];
    events.extend(bad.iter().map(|(name, _)| to(name, 0)));
    events.push(TestEvent::json("p", json!({"to": ["good"]})));
    events.push(TestEvent::json("p", json!({})));
    events.push(to("good", 2));
    let outcomes = instance.publish_all(events, WITHIN).await;
    for ((name, why), outcome) in bad.iter().zip(&outcomes[1..]) {
        assert_rejected(outcome, why);
        let is_shown = why.starts_with('`') && format!("{outcome:?}").contains("escaped");
        assert!(!is_shown, "{name:.20}");
    }
    let [before @ .., list, nothing, after] = &outcomes[..] else {
        panic!("there are more events");
    };
    assert_rejected(list, "the template of `path` fails: found a list");
    assert_rejected(nothing, "the template of `path` fails: undefined name");
    assert_eq!([&before[0], after], [&Outcome::Accepted; 2]);
    assert_eq!(numbers(&dir.join("good")), [1, 2]);
    let mut names: Vec<_> = fs::read_dir(&dir)
        .expect("it is there")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["directory", "file", "good"]);
    assert_eq!(fs::read_dir(outer.path()).expect("it is there").count(), 1);
    assert_eq!(instance.seen().links, [evbus_testkit::Link::Up]);
}

#[tokio::test]
async fn a_link_may_lead_to_another_place_inside_and_not_out() {
    let (dir, path) = directory();
    let outside = tempfile::tempdir().expect("a temporary directory");
    let inside = dir.path();
    fs::create_dir_all(inside.join("a/b")).expect("it is the test's");
    for (target, link) in [
        (Path::new("a/b"), "relative"),
        (&inside.join("a"), "absolute"),
        (Path::new("../b/../../a"), "a/b/up-and-down"),
        (outside.path(), "out"),
        (&outside.path().join("new"), "out-file"),
        (Path::new("../.."), "a/up"),
        (Path::new("nowhere/new"), "dangling"),
    ] {
        symlink(target, inside.join(link)).expect("it is the test's");
    }
    let instance = connect(json!({"path": path, "create_dirs": true})).await;
    let good = [
        "relative/f1",
        "absolute/f2",
        "a/b/up-and-down/f3",
        "absolute/new/f4",
    ];
    let bad = ["out/f", "out-file", "a/up/f", "out/new/f", "a/up/new/f"];
    let events = good.iter().chain(&bad).map(|name| to(name, 5)).collect();
    let outcomes = instance.publish_all(events, WITHIN).await;
    for (name, outcome) in good.iter().zip(&outcomes) {
        assert_eq!(*outcome, Outcome::Accepted, "{name}");
    }
    for outcome in &outcomes[good.len()..] {
        assert_rejected(outcome, "a link leads out of");
    }
    for file in ["a/b/f1", "a/f2", "a/f3", "a/new/f4"] {
        assert_eq!(numbers(&inside.join(file)), [5], "{file}");
    }
    assert_eq!(
        fs::read_dir(outside.path()).expect("it is there").count(),
        0
    );
}

#[tokio::test]
async fn five_hundred_files_take_turns_and_no_line_is_lost_or_torn() {
    const FILES: usize = 500;
    let (dir, path) = directory();
    for fsync in [json!("batch"), json!("never"), json!({"interval": 1})] {
        let dir = dir
            .path()
            .join(fsync.to_string().replace(['"', '{', '}', ':'], ""));
        let path = path.replace(
            "/${",
            &format!(
                "/{}/${{",
                dir.file_name().expect("a name").to_string_lossy()
            ),
        );
        let config = json!({"path": path, "max_open": 8, "create_dirs": true, "fsync": fsync});
        let instance = connect(config).await;
        // Some of them again and again, the others now and then.
        let event = |n: usize| match n % 3 {
            0 => to(&format!("hot-{}", n % 4), n),
            _ => to(&format!("f{}", n % FILES), n),
        };
        for batch in 0..4 {
            let events = (batch * 1000..(batch + 1) * 1000).map(event).collect();
            accepted(&instance, events).await;
            assert!(open_below(&dir) <= 8, "{} are open", open_below(&dir));
        }
        let mut all = Vec::new();
        for entry in fs::read_dir(&dir).expect("it is there") {
            let found = numbers(&entry.expect("it is there").path());
            assert!(found.is_sorted(), "{found:?}");
            all.extend(found);
        }
        all.sort_unstable();
        assert_eq!(all, (0..4000).collect::<Vec<u64>>());
        assert!(instance.close().await);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_holds_up_only_its_own_events() {
    let (dir, path) = directory();
    let instance = connect(json!({"path": path})).await;
    accepted(&instance, vec![to("before", 0)]).await;
    let held = File::create(dir.path().join("held")).expect("it is the test's");
    held.lock().expect("nobody else has it");
    let events = vec![to("free", 1), to("held", 2), to("before", 3), to("held", 4)];
    let outcomes = instance.publish(events).await;
    for n in [0, 2] {
        assert_eq!(outcomes[n], Outcome::Accepted);
    }
    for n in [1, 3] {
        assert!(
            matches!(&outcomes[n], Outcome::Retry { reason, .. } if reason.contains("is writing to it")),
            "{outcomes:?}"
        );
    }
    assert_eq!(instance.seen().links, [evbus_testkit::Link::Up]);
    drop(held);
    accepted(&instance, vec![to("held", 2), to("held", 4)]).await;
    assert_eq!(numbers(&dir.path().join("held")), [2, 4]);
}

#[tokio::test]
async fn each_file_is_locked_rotated_and_followed_by_itself() {
    let (dir, path) = directory();
    let at = |name: &str| dir.path().join(name);
    let config = json!({"path": path, "rotate": {"max_bytes": 100, "keep": 3}, "format": "body"});
    let instance = connect(config.clone()).await;
    for n in 0..30 {
        accepted(&instance, vec![to("full", n)]).await;
    }
    accepted(&instance, vec![to("small", 1)]).await;
    assert!(at("full.1").exists() && at("full.3").exists() && !at("full.4").exists());
    assert!(!at("small.1").exists());
    // Another destination may write to other files of the directory.
    let second = connect(config).await;
    let outcomes = second.publish(vec![to("small", 2), to("other", 3)]).await;
    assert!(matches!(outcomes[0], Outcome::Retry { .. }), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Accepted);

    fs::rename(at("small"), at("moved")).expect("it is the test's");
    accepted(&instance, vec![to("small", 4)]).await;
    assert_eq!(
        fs::read_to_string(at("small")).expect("it is text"),
        "{\"to\":\"small\",\"n\":4}\n"
    );
}

#[tokio::test]
async fn a_missing_directory_is_reported_while_connecting_and_never_costs_an_event() {
    let outer = tempfile::tempdir().expect("a temporary directory");
    let dir = outer.path().join("later");
    let path = format!("{}/${{ body.to }}", dir.display());
    match harness().connect(json!({"path": path})).await {
        Err(ConnectFailure::Permanent(reason)) => {
            assert!(reason.contains("create its directory"), "{reason}");
        }
        other => panic!("expected a permanent failure, found {other:?}"),
    }
    fs::create_dir(&dir).expect("it is the test's");
    let instance = connect(json!({"path": path})).await;
    fs::remove_dir(&dir).expect("it is the test's");
    let outcomes = instance.publish(vec![to("a", 1)]).await;
    assert!(matches!(outcomes[0], Outcome::Retry { .. }), "{outcomes:?}");
    fs::create_dir(&dir).expect("it is the test's");
    accepted(&instance, vec![to("a", 1)]).await;
    assert_eq!(numbers(&dir.join("a")), [1]);
}

#[tokio::test]
async fn a_line_break_in_a_body_is_rejected_and_opens_no_file() {
    let (dir, path) = directory();
    let path = path.replace("body.to", "tags.to");
    let instance = connect(json!({"path": path, "format": "body"})).await;
    let event = |text: &str| TestEvent::text("p", text).tag("to", text.get(..1).unwrap_or("x"));
    let outcomes = instance
        .publish_all(vec![event("a\nb"), event("c")], WITHIN)
        .await;
    assert_rejected(&outcomes[0], "line break");
    assert_eq!(outcomes[1], Outcome::Accepted);
    assert!(!dir.path().join("a").exists());
}
