//! Which files are opened, how, and what is reported about the others.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use evbus_testkit::{ConnectFailure, TestEvent};
use serde_json::{Value, json};
use support::{accepted, connect, harness, numbered, numbers};

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("the file exists");
    metadata.permissions().mode() & 0o777
}

/// The one permanent sentence about a configuration.
async fn permanent(config: Value) -> String {
    match harness().connect(config).await {
        Err(ConnectFailure::Permanent(reason)) => reason,
        other => panic!("expected a permanent failure, found {other:?}"),
    }
}

#[tokio::test]
async fn a_new_file_is_for_its_owner_unless_the_mode_says_more() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [private, shared] = ["private", "shared"].map(|name| dir.path().join(name));
    connect(json!({"path": private})).await;
    connect(json!({"path": shared, "mode": "0666"})).await;
    assert_eq!(mode(&private), 0o600);
    assert_eq!(mode(&shared), 0o666, "whatever the umask is");
}

#[tokio::test]
async fn an_existing_file_keeps_its_mode_and_its_lines() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    fs::write(&path, "{\"body\": {\"n\": 100}}\n").expect("the directory is the test's");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is the test's");
    let instance = connect(json!({"path": path})).await;
    accepted(&instance, numbered(0..2)).await;
    assert_eq!(numbers(&path), [100, 0, 1]);
    assert_eq!(mode(&path), 0o640);
}

#[tokio::test]
async fn a_missing_directory_is_named_or_created() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a/b/events");
    let reason = permanent(json!({"path": path})).await;
    let expected = format!("cannot open {}: No such file or directory", path.display());
    assert!(reason.starts_with(&expected), "{reason}");
    assert!(
        reason.ends_with("; create its directory, or set `create_dirs: true`"),
        "{reason}"
    );

    let instance = connect(json!({"path": path, "create_dirs": true})).await;
    accepted(&instance, numbered(0..1)).await;
    assert_eq!(numbers(&path), [0]);
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let reason = permanent(json!({"path": dir.path()})).await;
    assert!(
        reason.ends_with(": it is a directory; expected a file path"),
        "{reason}"
    );

    let pipe = dir.path().join("pipe");
    let made = Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .expect("mkfifo is there");
    assert!(made.success());
    let reason = permanent(json!({"path": pipe})).await;
    assert!(reason.contains("it is a named pipe"), "{reason}");

    let file = dir.path().join("file");
    fs::write(&file, "").expect("the directory is the test's");
    let reason = permanent(json!({"path": file.join("below")})).await;
    assert!(
        reason.contains("part of its path is a file, not a directory"),
        "{reason}"
    );

    let reason = permanent(json!({"path": dir.path().join("x".repeat(300))})).await;
    assert!(reason.contains("name too long"), "{reason}");
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_named_with_what_to_do() {
    // Not even root may write to it.
    let reason = permanent(json!({"path": "/proc/sys/kernel/ostype"})).await;
    let expected = "cannot open /proc/sys/kernel/ostype: Permission denied (os error 13); allow the host's user to write there, or choose another path";
    assert_eq!(reason, expected);
}

#[tokio::test]
async fn a_relative_path_is_shown_in_full() {
    let here = std::env::current_dir().expect("the test runs somewhere");
    let reason = permanent(json!({"path": "no-such-directory/events"})).await;
    let full = here.join("no-such-directory/events");
    assert!(
        reason.contains(full.to_str().expect("a path of text")),
        "{reason}"
    );
}

#[tokio::test]
async fn a_file_has_one_writer_at_a_time() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let harness = harness();
    let first = harness
        .connect(json!({"path": path}))
        .await
        .expect("it opens");
    let failure = harness
        .connect(json!({"path": path}))
        .await
        .expect_err("it is locked");
    assert!(matches!(failure, ConnectFailure::Retry(_)), "{failure}");
    let expected = "another destination or program, such as a running host, is writing to it; give each destination its own path";
    assert!(failure.reason().ends_with(expected), "{failure}");

    assert!(first.close().await);
    drop(first);
    // The first instance's thread closes its file when it ends.
    harness
        .all_given_back(support::WITHIN)
        .await
        .expect("the instance ends");
    // A process started by another test has the file open too, until it calls exec.
    let free = async {
        loop {
            match harness.connect(json!({"path": path})).await {
                Ok(second) => return second,
                Err(ConnectFailure::Retry(_)) => tokio::task::yield_now().await,
                Err(failure) => panic!("it is free, but {failure}"),
            }
        }
    };
    let second = tokio::time::timeout(support::WITHIN, free)
        .await
        .expect("it is free");
    accepted(&second, numbered(0..1)).await;
}

#[tokio::test]
async fn half_a_line_of_ours_is_removed() {
    let torn = [
        "{\"id\":\"half".to_owned(),
        "{\"i".to_owned(),
        "\0\0\0\0".to_owned(),
        // Longer than one block.
        format!("{{\"id\":\"x\",\"body\":\"{}", "x".repeat(3_000_000)),
    ];
    for tail in torn {
        assert_eq!(with_tail(&tail).await, format!("{FIRST}\n"), "{tail:.40}");
    }
}

#[tokio::test]
async fn a_last_line_of_others_is_kept_and_ended() {
    for tail in [
        "{\"body\": {\"n\": 100}}",
        "{\"body\":\"half",
        "half a line",
        // A whole line whose line break was removed by an editor.
        "{\"id\":\"x\",\"body\":{\"n\":1}}",
        // Zeros before something else are not a hole.
        "\0\0\0\0x\0\0\0\0",
    ] {
        assert_eq!(with_tail(tail).await, format!("{FIRST}\n{tail}\n"));
    }
}

/// A line that is already in a file.
const FIRST: &str = "a line";

/// What a file contains before the next event, if this was the file's last line.
async fn with_tail(tail: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    fs::write(&path, format!("{FIRST}\n{tail}")).expect("the directory is the test's");
    let instance = connect(json!({"path": path})).await;
    accepted(&instance, vec![TestEvent::text("p", "next")]).await;
    let text = fs::read_to_string(&path).expect("the file is text");
    let next = text.rfind("{\"id\":").expect("the event stands there");
    assert!(text[next..].contains("\"next\""), "{text:.200}");
    text[..next].to_owned()
}

#[tokio::test]
async fn a_link_is_followed_to_a_file_that_does_not_exist_yet() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [link, file] = ["link", "file"].map(|name| dir.path().join(name));
    symlink(&file, &link).expect("the directory is the test's");
    let instance = connect(json!({"path": link})).await;
    accepted(&instance, numbered(0..1)).await;
    assert_eq!(numbers(&file), [0]);
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn faults_of_a_configuration_are_named_with_their_keys() {
    let faults = |config: Value| -> Vec<String> {
        let faults = harness().check(config);
        faults.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        faults(json!({"path": ""})),
        ["path: it is empty; expected a file path, or - for standard output"]
    );
    assert_eq!(faults(json!({})), ["missing field `path`"]);
    let octal = "expected three or four octal digits in quotes that let the owner read and write, such as \"0640\"";
    for (mode, found) in [
        (json!(416), "a number"),
        (json!("rw-r-----"), "text"),
        (json!("0o640"), "text"),
        (json!("1640"), "text"),
        (json!("689"), "text"),
    ] {
        let expected = format!("mode: found {found}, {octal}");
        assert_eq!(faults(json!({"path": "x", "mode": mode})), [expected]);
    }
    assert_eq!(
        faults(json!({
            "path": "-",
            "mode": "0400",
            "fsync": {"interval": 0},
            "rotate": {"max_bytes": 0, "keep": 0},
        })),
        [
            format!("mode: found text, {octal}"),
            "fsync.interval: found a number, expected a number of seconds from 1 to 315360000, or a duration with units such as 30s, 5m, 7d".into(),
            "rotate.max_bytes: found a number, expected a whole number of bytes of at least 1".into(),
            "rotate.keep: found a number, expected a whole number from 1 to 1000".into(),
            "rotate: standard output cannot be rotated; remove this key, or set `path` to a file"
                .into(),
        ]
    );
    // A missing key does not hide them either.
    assert_eq!(
        faults(json!({"mode": "0400", "fsync": {"interval": 0}, "rotate": {"keep": 0}})),
        [
            format!("mode: found text, {octal}"),
            "rotate: missing field `max_bytes`".into(),
            "missing field `path`".into(),
            "fsync.interval: found a number, expected a number of seconds from 1 to 315360000, or a duration with units such as 30s, 5m, 7d".into(),
            "rotate.keep: found a number, expected a whole number from 1 to 1000".into(),
        ]
    );
    let units = json!({
        "path": "x", "rotate": {"max_bytes": "100 MB"}, "fsync": {"interval": "999ms"}
    });
    assert_eq!(
        faults(units),
        [
            "rotate.max_bytes: found text, expected a whole number of bytes of at least 1, without a unit",
            "fsync.interval: found text, expected a number of seconds from 1 to 315360000, or a duration with units such as 30s, 5m, 7d",
        ]
    );
    for mode in ["0000", "0044", "0400", "0200", "044"] {
        let found = faults(json!({"path": "x", "mode": mode}));
        assert_eq!(found, [format!("mode: found text, {octal}")]);
    }
    for fsync in [
        json!("batch"),
        json!("never"),
        json!({"interval": 5}),
        json!({"interval": "1s"}),
        json!({"interval": "5m"}),
    ] {
        assert_eq!(faults(json!({"path": "x", "fsync": fsync})), [""; 0]);
    }
}
