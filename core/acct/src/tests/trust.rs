//! Which users' files are read. Only root can act as another user; without root, those tests do what they can.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, setxattr};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::{AcctSource, Cipher, KeySource};

/// Another user, and a group that is in no database.
const STRANGER: u32 = 54_321;
/// An acct file that runs a program.
const RUNS: &str = "kafka: {'*': {password: {$exec: [echo, secret]}}}\n";

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// A directory that everybody may enter, with an acct file that includes another and runs a program.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a temporary directory");
    chmod(root.path(), 0o755);
    let dir = root.path().join("dir");
    fs::create_dir(&dir).expect("a directory");
    chmod(&dir, 0o755);
    for (name, text) in [
        ("part.yml", RUNS),
        ("acct.yml", "{% include 'part.yml' %}\n"),
    ] {
        fs::write(dir.join(name), text).expect("a file");
        chmod(&dir.join(name), 0o644);
    }
    (root, dir)
}

/// Reads the file and its secrets.
fn read(path: &Path) -> Result<String, String> {
    let acct = AcctSource::new(path)
        .load()
        .map_err(|faults| faults[0].to_string())?;
    let entries = acct.sections()[0]
        .entries()
        .map_err(|faults| faults[0].to_string())?;
    Ok(entries[0].config["password"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

#[track_caller]
fn refused(path: &Path, words: &[&str]) {
    let reason = read(path).expect_err("it is not to be used");
    for word in words {
        assert!(reason.contains(word), "{word}: {reason}");
    }
    assert!(!reason.contains('\n'), "{reason}");
}

#[test]
fn what_every_user_can_write_is_refused_wherever_it_is_on_the_way() {
    let (root, dir) = folder();
    let acct = dir.join("acct.yml");
    assert_eq!(read(&acct).as_deref(), Ok("secret"));
    for (place, open, mode) in [
        (acct.clone(), 0o646, 0o644),
        (dir.join("part.yml"), 0o666, 0o644),
        (dir.clone(), 0o777, 0o755),
        (root.path().to_owned(), 0o757, 0o755),
    ] {
        chmod(&place, open);
        let change = format!("`chmod o-w {}`", place.display());
        refused(&acct, &[&format!("mode {open:04o}"), &change]);
        // To be encrypted or shown, the file may belong to anybody.
        let document = AcctSource::new(&acct).document();
        assert!(document.is_ok(), "{document:?}");
        chmod(&place, mode);
    }
    // As in /tmp, nobody else can replace this file.
    chmod(&dir, 0o1777);
    assert_eq!(read(&acct).as_deref(), Ok("secret"));
}

#[test]
fn what_another_user_owns_is_refused_wherever_it_is_on_the_way() {
    if !geteuid().is_root() {
        return; // Nobody else can give a file away.
    }
    let (_root, dir) = folder();
    let link = dir.join("link.yml");
    symlink("acct.yml", &link).expect("a link");
    let give = |path: &Path, user| lchown(path, Some(user), None).expect("root gives it away");
    assert_eq!(read(&link).as_deref(), Ok("secret"));
    for (name, advice) in [
        ("acct.yml", "run `chown 0 "),
        ("part.yml", "run `chown 0 "),
        ("link.yml", "move the file to a directory of user 0 or root"),
        (".", "move the file to a directory of user 0 or root"),
    ] {
        let place = dir.join(name);
        give(&place, STRANGER);
        refused(
            &link,
            &["belongs to user 54321", advice, "evbus as user 54321"],
        );
        give(&place, 0);
    }
    assert_eq!(read(&link).as_deref(), Ok("secret"));
}

#[test]
fn a_link_to_an_included_template_is_checked_as_one_to_the_file() {
    if !geteuid().is_root() {
        return; // Nobody else can give a link away.
    }
    let (_root, dir) = folder();
    // In a directory like /tmp, others can create links and thus choose what is included.
    chmod(&dir, 0o1777);
    let (acct, link) = (dir.join("acct.yml"), dir.join("link.j"));
    fs::write(&acct, "{% include 'link.j' %}\n").expect("it is ours");
    symlink("part.yml", &link).expect("a link");
    assert_eq!(read(&acct).as_deref(), Ok("secret"));
    lchown(&link, Some(STRANGER), None).expect("root gives it away");
    let place = format!("the link {} belongs to user 54321", link.display());
    refused(&acct, &[&place, "move the file to a directory of user 0"]);
}

#[test]
fn an_encrypted_file_is_checked_as_a_plain_one() {
    let (_root, dir) = folder();
    let path = dir.join("acct.fernet");
    let key = Cipher::Fernet.generate_key().expect("a key");
    let document = AcctSource::new(dir.join("acct.yml"))
        .document()
        .expect("data");
    let content = document.encrypt(Cipher::Fernet, &key).expect("encrypted");
    fs::write(&path, content).expect("a file");
    let source = AcctSource::new(&path).key(KeySource::Given(key));
    assert!(source.load().is_ok());
    chmod(&path, 0o646);
    let faults = source.load().expect_err("others can write it");
    assert!(faults[0].to_string().contains("mode 0646"), "{}", faults[0]);
}

#[test]
fn a_group_may_write_if_it_is_one_users_own() {
    if !geteuid().is_root() {
        return; // Which groups another user is in is not known here.
    }
    let (_root, dir) = folder();
    let acct = dir.join("acct.yml");
    chmod(&acct, 0o664);
    // The own group of root.
    chown(&acct, None, Some(0)).expect("root may");
    assert_eq!(read(&acct).as_deref(), Ok("secret"));
    let shared = (1..1000).find(|gid| uzers::get_group_by_gid(*gid).is_some());
    chown(&acct, None, shared).expect("root may");
    refused(&acct, &["mode 0664: group ", "`chmod g-w "]);
    // Nobody knows who is in this one: the file counts, but nothing is run.
    chown(&acct, None, Some(STRANGER)).expect("root may");
    refused(
        &acct,
        &[
            "kafka.*.password: `$exec` is not allowed in the file",
            "54321",
        ],
    );
    fs::write(dir.join("part.yml"), "kafka: {'*': {password: plain}}\n").expect("a file");
    assert_eq!(read(&acct).as_deref(), Ok("plain"));
    chmod(&acct, 0o644);
    chmod(&dir, 0o775);
    chown(&dir, None, shared).expect("root may");
    refused(&acct, &["the directory", "mode 0775: group "]);
}

#[test]
fn an_access_control_list_is_not_taken_for_a_users_own_group() {
    let (_root, dir) = folder();
    let acct = dir.join("acct.yml");
    // Version 2; its owner rw, user 54321 rw, the group r, the mask rw, others r.
    let mut list = vec![2, 0, 0, 0];
    for (tag, rights, id) in [
        (0x01_u16, 6_u16, u32::MAX),
        (0x02, 6, STRANGER),
        (0x04, 4, u32::MAX),
        (0x10, 6, u32::MAX),
        (0x20, 4, u32::MAX),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    match setxattr(&acct, "system.posix_acl_access", &list, XattrFlags::empty()) {
        Err(Errno::NOTSUP) => return, // This file system has none.
        set => set.expect("it is ours"),
    }
    refused(
        &acct,
        &["users or groups in its access control list can write to it"],
    );
}

#[test]
fn a_key_that_others_can_read_or_write_is_refused() {
    let (_root, dir) = folder();
    let path = dir.join("key");
    fs::write(&path, "key\n").expect("a file");
    let key = || KeySource::File(path.clone()).key();
    for mode in [0o600, 0o440, 0o640] {
        chmod(&path, mode);
        assert_eq!(key().expect("only the owner can read it").reveal(), "key");
    }
    for mode in [0o644, 0o604, 0o602] {
        chmod(&path, mode);
        let reason = key().expect_err("everybody can");
        let expected = format!(
            "the key file {path} has mode {mode:04o}: every user can read or write it, but only its owner should; run `chmod go= {path}`",
            path = path.display()
        );
        assert_eq!(reason, expected);
    }
    // Nobody else gets there.
    for mode in [0o644, 0o660, 0o666] {
        chmod(&path, mode);
        chmod(&dir, 0o700);
        assert_eq!(key().expect("nobody else can reach it").reveal(), "key");
        assert_eq!(KeySource::File(path.clone()).readers(), None, "{mode:o}");
        chmod(&dir, 0o755);
    }
}

#[test]
fn only_the_directories_that_lead_to_a_key_keep_others_from_it() {
    let (_root, dir) = folder();
    let (shut, open) = (dir.join("shut"), dir.join("open"));
    for (place, mode) in [(&shut, 0o700), (&open, 0o755)] {
        fs::create_dir(place).expect("a directory");
        chmod(place, mode);
    }
    fs::write(open.join("key"), "key\n").expect("a file");
    chmod(&open.join("key"), 0o644);
    symlink("../open/key", shut.join("link")).expect("a link");
    for way in ["shut/../open/key", "shut/link"] {
        let key = KeySource::File(dir.join(way)).key();
        let reason = key.expect_err("everybody can read it by its own name");
        assert!(reason.contains("mode 0644: every user"), "{reason}");
    }
}

#[test]
fn who_else_can_read_a_key_that_is_taken_is_told() {
    if !geteuid().is_root() {
        return; // Nobody else can give a file to any group.
    }
    let (_root, dir) = folder();
    let path = dir.join("key");
    fs::write(&path, "key\n").expect("a file");
    let readers = || KeySource::File(path.clone()).readers();
    chmod(&path, 0o640);
    assert_eq!(readers(), None, "the own group of root");
    chown(&path, None, Some(STRANGER)).expect("root may");
    assert_eq!(readers().as_deref(), Some("group 54321"));
    // Who is in the directory's group may be in the file's, too.
    chown(&dir, None, Some(STRANGER)).expect("root may");
    chmod(&dir, 0o750);
    assert_eq!(readers().as_deref(), Some("group 54321"));
    chmod(&path, 0o644);
    let who = "every user who can enter its directory";
    assert_eq!(readers().as_deref(), Some(who));
    chmod(&dir, 0o700);
    assert_eq!(readers(), None);
}

#[test]
fn whoever_starts_evbus_vouches_for_what_is_redirected_to_it() {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
    writer.write_all(RUNS.as_bytes()).expect("it has room");
    drop(writer);
    assert_eq!(read(&path).as_deref(), Ok("secret"));

    let (_root, dir) = folder();
    chmod(&dir.join("part.yml"), 0o666);
    refused(&dir.join("part.yml"), &["mode 0666"]);
    let file = File::open(dir.join("part.yml")).expect("it is readable");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    assert_eq!(read(&path).as_deref(), Ok("secret"));
}
