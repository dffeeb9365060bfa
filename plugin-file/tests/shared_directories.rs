//! Directories that every user can write to. Only root can act as another user; without root, those tests do what they
//! can.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use evbus_testkit::{ConnectFailure, Instance};
use serde_json::{Value, json};
use support::{WITHIN, accepted, connect, harness, numbered, numbers};

const STRANGER: u32 = 54_321;

/// A directory like `/tmp`, or the same without the sticky bit.
fn shared(mode: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("it is the test's");
    dir
}

/// Changes its owner; returns whether this user may do that.
fn give_away(path: &Path) -> bool {
    lchown(path, Some(STRANGER), None).is_ok()
}

#[track_caller]
fn refusal(result: Result<impl Sized, ConnectFailure>) -> String {
    match result {
        Err(ConnectFailure::Permanent(reason)) => reason,
        Err(other) => panic!("expected a permanent failure, found {other:?}"),
        Ok(_) => panic!("it was opened"),
    }
}

async fn refused(config: Value, name: &Path) {
    let reason = refusal(harness().connect(config).await);
    let expected = format!(
        "{} belongs to user {STRANGER}, in a directory that every user can write to; use a path in a directory of your own",
        name.display()
    );
    assert!(reason.contains(&expected), "{reason}");
}

/// Connects once the previous instance has closed the file, which its thread does when it ends.
async fn connect_when_free(config: Value) -> Instance {
    let free = async {
        loop {
            match harness().connect(config.clone()).await {
                Ok(instance) => return instance,
                Err(ConnectFailure::Retry(_)) => tokio::task::yield_now().await,
                Err(failure) => panic!("it is free, but {failure}"),
            }
        }
    };
    let freed = tokio::time::timeout(WITHIN, free).await;
    freed.expect("the instance before ends")
}

#[tokio::test]
async fn a_link_of_another_user_is_not_followed() {
    for mode in [0o1777, 0o777] {
        let (dir, own) = (shared(mode), shared(0o755));
        let (target, link) = (own.path().join("target"), dir.path().join("link"));
        symlink(&target, &link).expect("a link");
        // A link of one's own is followed, whether its target exists or not.
        for count in 1..=2 {
            let instance = connect_when_free(json!({"path": link})).await;
            accepted(&instance, numbered(count - 1..count)).await;
            assert!(instance.close().await);
        }
        assert_eq!(numbers(&target), [0, 1]);
        if give_away(&link) {
            refused(json!({"path": link}), &link).await;
            symlink(&link, own.path().join("to the link")).expect("a link");
            refused(json!({"path": own.path().join("to the link")}), &link).await;
            assert_eq!(numbers(&target), [0, 1]);
        }
    }
}

#[tokio::test]
async fn a_link_or_directory_of_another_user_on_the_way_is_not_followed() {
    let (dir, own) = (shared(0o1777), shared(0o755));
    let [link, directory] = ["link", "directory"].map(|name| dir.path().join(name));
    symlink(own.path(), &link).expect("a link");
    fs::create_dir(&directory).expect("a directory");
    for name in [&link, &directory] {
        let file = name.join("file");
        assert!(connect(json!({"path": file})).await.close().await);
        if give_away(name) {
            refused(json!({"path": file}), name).await;
            let deeper = name.join("new/file");
            refused(json!({"path": deeper, "create_dirs": true}), name).await;
            assert!(!name.join("new").exists());
        }
    }
    // In a directory that is not shared, links are the owner's business.
    let link = own.path().join("link");
    symlink(own.path().join("target"), &link).expect("a link");
    let _ = give_away(&link);
    connect(json!({"path": link})).await;
}

#[tokio::test]
async fn a_file_of_another_user_is_not_written_to() {
    let dir = shared(0o1777);
    let file = dir.path().join("file");
    connect(json!({"path": file})).await;
    if give_away(&file) {
        refused(json!({"path": file}), &file).await;
    }
}

#[tokio::test]
async fn a_second_name_of_a_file_elsewhere_is_not_written_to() {
    let dir = shared(0o1777);
    let [elsewhere, name] = ["elsewhere", "name"].map(|name| dir.path().join(name));
    fs::write(&elsewhere, "").expect("the directory is the test's");
    fs::hard_link(&elsewhere, &name).expect("a second name");
    let reason = refusal(harness().connect(json!({"path": name})).await);
    assert!(reason.contains("has another hard link"), "{reason}");
}
