//! Files that are rotated and written to, by the plugin and by others.

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use evbus_testkit::{Link, Outcome};
use serde_json::json;
use support::{accepted, connect, numbered, numbers};

/// Numbers of all files of a directory, oldest file first.
fn all_numbers(path: &Path, rotated: u32) -> Vec<u64> {
    let numbered = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
    (1..=rotated)
        .rev()
        .map(numbered)
        .filter(|path| path.exists())
        .chain([path.to_owned()])
        .flat_map(|path| numbers(&path))
        .collect()
}

#[tokio::test]
async fn rotation_under_load_loses_nothing_and_keeps_the_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let config = json!({
        "path": path, "rotate": {"max_bytes": 20_000, "keep": 1000}, "fsync": "never"
    });
    let instance = connect(config).await;
    accepted(&instance, numbered(0..20_000)).await;

    assert_eq!(all_numbers(&path, 1000), (0..20_000).collect::<Vec<u64>>());
    let files = fs::read_dir(dir.path()).expect("it is the test's").count();
    assert!(files > 10, "{files} files");
}

#[tokio::test]
async fn as_many_old_files_are_kept_as_configured() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let config = json!({"path": path, "rotate": {"max_bytes": 1, "keep": 2}});
    let instance = connect(config).await;
    for n in 0..5 {
        accepted(&instance, numbered(n..n + 1)).await;
    }
    assert_eq!(all_numbers(&path, 10), [2, 3, 4]);
}

#[tokio::test]
async fn a_file_is_no_larger_than_configured() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let config = json!({"path": path, "rotate": {"max_bytes": 1000, "keep": 100}});
    let instance = connect(config).await;
    for n in 0..50 {
        accepted(&instance, numbered(n..n + 1)).await;
    }
    assert_eq!(all_numbers(&path, 100), (0..50).collect::<Vec<u64>>());
    for file in fs::read_dir(dir.path()).expect("it is the test's") {
        let file = file.expect("it can be read");
        assert!(
            file.metadata().expect("it exists").len() <= 1000,
            "{file:?}"
        );
    }
}

#[tokio::test]
async fn rotation_goes_on_after_a_failure_and_over_gaps() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let [second, third] = ["events.2", "events.3"].map(|name| dir.path().join(name));
    let config = json!({"path": path, "rotate": {"max_bytes": 1, "keep": 3}});
    let instance = connect(config).await;
    for n in 0..3 {
        accepted(&instance, numbered(n..n + 1)).await;
    }
    // A file cannot be renamed over a directory.
    fs::create_dir(&third).expect("the directory is the test's");
    let outcomes = instance.publish(numbered(3..4)).await;
    let expected = format!("cannot rotate {}: Is a directory", path.display());
    assert!(outcomes[0].reason().starts_with(&expected), "{outcomes:?}");

    fs::remove_dir(&third).expect("the directory is the test's");
    accepted(&instance, numbered(3..4)).await;
    assert_eq!(all_numbers(&path, 3), [0, 1, 2, 3]);

    fs::remove_file(&second).expect("the directory is the test's");
    accepted(&instance, numbered(4..5)).await;
    assert_eq!(all_numbers(&path, 3), [0, 2, 3, 4]);
}

#[tokio::test]
async fn a_link_keeps_leading_to_the_newest_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [link, file] = ["link", "file"].map(|name| dir.path().join(name));
    std::os::unix::fs::symlink(&file, &link).expect("the directory is the test's");
    let config = json!({"path": link, "rotate": {"max_bytes": 1, "keep": 5}});
    let instance = connect(config).await;
    for n in 0..3 {
        accepted(&instance, numbered(n..n + 1)).await;
    }
    assert_eq!(all_numbers(&file, 5), [0, 1, 2]);
    assert!(link.is_symlink());
}

#[tokio::test]
async fn a_file_that_is_moved_or_deleted_is_started_anew() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [path, moved] = ["events", "moved"].map(|name| dir.path().join(name));
    let instance = connect(json!({"path": path})).await;
    accepted(&instance, numbered(0..2)).await;

    fs::rename(&path, &moved).expect("the directory is the test's");
    accepted(&instance, numbered(2..4)).await;
    assert_eq!(numbers(&moved), [0, 1]);
    assert_eq!(numbers(&path), [2, 3]);

    fs::remove_file(&path).expect("the directory is the test's");
    accepted(&instance, numbered(4..5)).await;
    assert_eq!(numbers(&path), [4]);

    // As logrotate's `create` does: there is a new file already.
    fs::rename(&path, &moved).expect("the directory is the test's");
    fs::write(&path, "").expect("the directory is the test's");
    accepted(&instance, numbered(5..6)).await;
    assert_eq!(numbers(&path), [5]);
}

#[tokio::test]
async fn a_file_that_is_emptied_goes_on_from_its_start() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let instance = connect(json!({"path": path})).await;
    accepted(&instance, numbered(0..2)).await;
    fs::write(&path, "").expect("the directory is the test's");
    accepted(&instance, numbered(2..3)).await;
    assert_eq!(numbers(&path), [2]);
}

#[tokio::test]
async fn a_directory_that_is_gone_is_waited_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [inner, away] = ["inner", "away"].map(|name| dir.path().join(name));
    fs::create_dir(&inner).expect("the directory is the test's");
    let path = inner.join("events");
    let instance = connect(json!({"path": path})).await;
    fs::rename(&inner, &away).expect("the directory is the test's");

    let outcomes = instance.publish(numbered(0..1)).await;
    assert!(matches!(outcomes[0], Outcome::Retry { .. }), "{outcomes:?}");
    fs::rename(&away, &inner).expect("the directory is the test's");
    accepted(&instance, numbered(0..1)).await;
    assert_eq!(numbers(&path), [0]);
    let links = instance.seen().links;
    assert!(
        matches!(&links[..], [Link::Up, Link::Down(_), Link::Up]),
        "{links:?}"
    );
}

#[tokio::test]
async fn an_event_is_not_glued_to_half_a_line_of_another_program() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let append = |text: &str| {
        let file = fs::File::options().append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("the file is the test's");
    };
    let instance = connect(json!({"path": path})).await;
    accepted(&instance, numbered(0..2)).await;
    append("half a line");
    accepted(&instance, numbered(2..4)).await;
    append("a whole line\n");
    accepted(&instance, numbered(4..5)).await;

    let text = fs::read_to_string(&path).expect("the file is text");
    let (theirs, ours): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.contains("line"));
    assert_eq!(theirs, ["half a line", "a whole line"], "{text}");
    fs::write(&path, ours.join("\n") + "\n").expect("the file is the test's");
    assert_eq!(numbers(&path), [0, 1, 2, 3, 4]);
}
