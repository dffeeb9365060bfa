//! Where directories are found, made, or refused.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

use super::*;

const STRANGER: u32 = 54_321;

#[test]
fn a_directory_is_there_or_could_be_made_or_is_in_the_way_of_something() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "").unwrap();
    symlink("nowhere", at("link")).unwrap();
    symlink("loop", at("loop")).unwrap();
    assert!(look(dir.path()).unwrap().is_some());
    assert!(look(&at("a/b/c")).unwrap().is_none());
    assert!(!at("a").exists());
    for (name, reason) in [
        ("file", "not a directory"),
        ("file/below", "not a directory"),
        ("link", "is broken: its target does not exist"),
        ("link/below", "is broken: its target does not exist"),
        ("loop", "symbolic links"),
    ] {
        let (looked, made) = (look(&at(name)).unwrap_err(), make(&at(name), 0o700));
        assert_eq!(looked.to_string(), made.unwrap_err().to_string());
        assert!(looked.to_string().contains(reason), "{name}: {looked}");
    }
    let made = make(&at("a/b/c"), 0o700).unwrap();
    assert_eq!(made, [at("a"), at("a/b"), at("a/b/c")]);
    assert_eq!(
        fs::metadata(at("a/b")).unwrap().permissions().mode() & 0o7777,
        0o700
    );
    symlink("a", at("good")).unwrap();
    assert!(make(&at("good/b/c"), 0o700).unwrap().is_empty());
    assert_eq!(make(&at("good/b/d"), 0o700).unwrap(), [at("a/b/d")]);
}

#[test]
fn no_directory_can_be_made_where_the_kernel_makes_the_files() {
    for (path, place) in [
        ("/proc/zz", "/proc"),
        ("/proc/zz/below", "/proc"),
        ("/sys/zz", "/sys"),
        ("/dev/fd/99", "/proc/"),
    ] {
        for refused in [
            look(Path::new(path)).map(|_| ()),
            make(Path::new(path), 0o700).map(|_| ()),
        ] {
            let reason = refused.unwrap_err().to_string();
            let words = format!("cannot create a directory in {place}");
            assert!(reason.starts_with(&words), "{path}: {reason}");
        }
    }
}

#[track_caller]
fn refused(path: &Path, words: &str) {
    for refused in [look(path).map(|_| ()), make(path, 0o700).map(|_| ())] {
        let reason = refused.unwrap_err().to_string();
        assert!(reason.contains(words), "{words}: {reason}");
    }
}

#[test]
fn a_directory_above_that_others_can_write_to_is_refused_unless_it_is_sticky() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    fs::create_dir_all(open.join("there")).unwrap();
    let chmod = |mode| fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
    chmod(0o777);
    let words = format!("run `chmod o-w {}`", open.display());
    refused(&open.join("there"), &words);
    refused(&open.join("new"), &words);
    assert!(!open.join("new").exists());
    chmod(0o1777);
    assert!(look(&open.join("there")).unwrap().is_some());
    assert_eq!(make(&open.join("new/below"), 0o700).unwrap().len(), 2);
    // The last directory is left to the caller to judge.
    chmod(0o777);
    assert!(look(&open).unwrap().is_some());
}

#[test]
fn directories_and_links_of_another_user_lead_nowhere() {
    if !geteuid().is_root() {
        return; // Nobody else can give a file away.
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("foreign/there")).unwrap();
    fs::create_dir(at("ours")).unwrap();
    symlink(at("ours"), at("link")).unwrap();
    lchown(at("foreign"), Some(STRANGER), None).unwrap();
    lchown(at("link"), Some(STRANGER), None).unwrap();
    for path in ["foreign/there", "foreign/new", "link", "link/new"] {
        refused(&at(path), "belongs to user 54321, not to user 0 or root");
    }
    assert!(!at("foreign/new").exists() && !at("ours/new").exists());
    lchown(at("link"), Some(0), None).unwrap();
    assert_eq!(make(&at("link/new"), 0o700).unwrap(), [at("ours/new")]);
}
