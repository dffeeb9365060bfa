//! Whose paths are accepted. Only root can act as another user; without root, those tests do what they can.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, RenameFlags, chownat, renameat_with};
use rustix::process::{Gid, Uid, geteuid};

use super::*;

/// Another user.
const STRANGER: u32 = 54_321;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

fn dir(path: &Path) {
    fs::create_dir_all(path).expect("there is room for a directory");
    chmod(path, 0o755);
}

fn file(path: &Path, text: &str) {
    fs::write(path, text).expect("there is room for a file");
    chmod(path, 0o644);
}

fn read(path: &Path) -> Result<String, String> {
    let (mut file, _) = open_file(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text).expect("it is readable");
    Ok(text)
}

#[track_caller]
fn refused(path: &Path, words: &[&str]) {
    let reason = read(path).expect_err("it is not to be used");
    for word in words {
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn links_are_followed_and_judged_by_where_they_lead() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| root.path().join(name);
    dir(&at("plugins"));
    dir(&at("real/deep"));
    file(&at("real/deep/a.so"), "a");
    symlink("../real/deep/../deep/a.so", at("plugins/relative.so")).expect("a link");
    symlink(at("real/deep"), at("plugins/whole")).expect("a link");
    symlink(at("plugins/whole/a.so"), at("plugins/absolute.so")).expect("a link");
    symlink("loop.so", at("plugins/loop.so")).expect("a link");
    for name in [
        "relative.so",
        "absolute.so",
        "whole/a.so",
        "../real/deep/a.so",
    ] {
        assert_eq!(
            read(&at("plugins").join(name)).as_deref(),
            Ok("a"),
            "{name}"
        );
    }
    refused(&at("plugins/loop.so"), &["too many symbolic links"]);
    refused(&at("plugins/absent.so"), &["no such file"]);
    refused(&at("plugins"), &["it is a directory"]);
    assert_eq!(names_in(&at("absent")), Err(Unusable::Absent));
    assert_eq!(names_in(&at("real/deep/a.so/b")), Err(Unusable::Absent));
    let mut names = names_in(&at("plugins/../real")).expect("it is listed");
    names.sort();
    assert_eq!(names, [".", "..", "deep"]);

    chmod(&at("real/deep"), 0o775);
    let deep = at("real/deep").display().to_string();
    refused(&at("plugins/relative.so"), &[&deep, "0775", "chmod go-w"]);
    chmod(&at("real/deep"), 0o755);
    chmod(&at("real/deep/a.so"), 0o646);
    refused(&at("plugins/absolute.so"), &["a.so has mode 0646"]);
}

#[test]
fn a_directory_above_that_others_can_write_to_is_refused_unless_it_keeps_them_apart() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| root.path().join(name);
    dir(&at("above/plugins"));
    file(&at("above/plugins/a.so"), "a");
    chmod(&at("above"), 0o777);
    refused(&at("above/plugins/a.so"), &["above has mode 0777"]);
    let Err(Unusable::Because(reason)) = names_in(&at("above/plugins")) else {
        panic!("others could have put it there");
    };
    assert!(reason.contains("above has mode 0777"), "{reason}");
    chmod(&at("above"), 0o1777);
    assert_eq!(read(&at("above/plugins/a.so")).as_deref(), Ok("a"));
    // Permitted above, but not as the plugin directory itself.
    chmod(&at("above/plugins"), 0o1777);
    refused(&at("above/plugins/a.so"), &["plugins has mode 1777"]);
}

#[test]
fn what_belongs_to_another_user_is_refused_wherever_it_is_on_the_way() {
    if !geteuid().is_root() {
        return; // Nobody else can give a file away.
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| root.path().join(name);
    dir(&at("above/plugins"));
    file(&at("above/plugins/a.so"), "a");
    symlink("a.so", at("above/plugins/link.so")).expect("a link");
    let give = |name: &str, user: u32| {
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        chownat(
            CWD,
            at(name),
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .expect("root gives it away");
    };
    assert_eq!(read(&at("above/plugins/link.so")).as_deref(), Ok("a"));
    for name in [
        "above",
        "above/plugins",
        "above/plugins/a.so",
        "above/plugins/link.so",
    ] {
        give(name, STRANGER);
        refused(
            &at("above/plugins/link.so"),
            &[
                "belongs to user 54321",
                "move it, or have root run: chown -h ",
            ],
        );
        give(name, 0);
    }
    assert_eq!(read(&at("above/plugins/link.so")).as_deref(), Ok("a"));
}

#[test]
fn nothing_foreign_is_read_while_directories_are_swapped() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| root.path().join(name);
    dir(&at("plugins"));
    dir(&at("other"));
    file(&at("plugins/a.so"), "ours");
    file(&at("other/a.so"), "foreign");
    // As untrustworthy as another user's directory.
    chmod(&at("other"), 0o777);
    let (ours, other, is_over) = (at("plugins"), at("other"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                renameat_with(CWD, &ours, CWD, &other, RenameFlags::EXCHANGE).expect("they swap");
            }
        });
        // The other thread ends with this one, whatever happens.
        let _over = SetWhenDropped(&is_over);
        let (mut used, mut refused) = (0, 0);
        while used < 200 || refused < 200 {
            match read(&at("plugins/a.so")) {
                Ok(text) => {
                    assert_eq!(text, "ours");
                    used += 1;
                }
                Err(reason) => {
                    assert!(reason.contains("has mode 0777"), "{reason}");
                    refused += 1;
                }
            }
        }
    });
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
