//! The directory of an edited text, and the leftovers that are removed from it.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::{LOOK, texts_in};
use crate::support::bench::Bench;
use crate::support::{run, stderr};

/// Makes a file or directory two minutes old.
pub(super) fn make_old(path: &Path) {
    let before = SystemTime::now() - Duration::from_mins(2);
    File::open(path).unwrap().set_modified(before).unwrap();
}

#[test]
fn only_what_this_user_left_and_nobody_uses_is_swept() {
    let bench = Bench::encrypted();
    let place = bench.runtime();
    let make = |name: &str| {
        let path = place.join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("acct.yaml"), "a: {}").unwrap();
        path
    };
    let left = make("evbus-edit-left");
    make_old(&left);
    let used = make("evbus-edit-used");
    make_old(&used);
    let lock = File::open(&used).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let young = make("evbus-edit-young");
    let foreign = make("evbus-edit-foreign");
    std::os::unix::fs::chown(&foreign, Some(65534), None).expect("this runs as root");
    make_old(&foreign);
    let other = make("other-edit");
    make_old(&other);
    let link = place.join("evbus-edit-link");
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let file = place.join("evbus-edit-file");
    fs::write(&file, "").unwrap();
    make_old(&file);

    bench.editor("exit 0");
    let output = bench.edited();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!left.exists());
    for path in [&used, &young, &foreign, &other] {
        assert!(path.join("acct.yaml").exists(), "{}", path.display());
    }
    assert!(link.is_symlink() && file.exists());
}

#[test]
fn the_directory_of_an_edit_that_goes_on_is_not_swept() {
    let bench = Bench::encrypted();
    // The editor of one edit starts another edit, which removes leftovers.
    bench.editor(
        "[ -e inner ] && exit 0; echo > inner; touch -d '-2 minutes' \"$(dirname \"$1\")\"; \
         \"$EVBUS\" acct edit acct.yml.fernet --acct-key-file key --editor ./editor && [ -e \"$1\" ] && echo 'a: {}' > \"$1\"",
    );
    let mut command = bench.edit();
    let output = run(command.env("EVBUS", env!("CARGO_BIN_EXE_evbus")), b"");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(bench.data(super::FILE)["a"].is_object());
}

/// `evbus acct edit` with a /dev/shm that is on a disk, only for this command; a shell runs `before` first.
fn without_memory(bench: &Bench, disk: &Path, before: &str) -> Command {
    let edit = bench.edit();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-ec"])
        .arg(format!(
            "mkdir shm; mount --bind shm /dev/shm; {before}; cd \"$0\"; exec \"$@\""
        ))
        .arg(bench.dir())
        .arg(edit.get_program())
        .args(edit.get_args())
        .current_dir(disk)
        .env("HOME", bench.dir())
        .env("TMPDIR", disk)
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("ACCT_KEY");
    command
}

#[test]
fn without_a_file_system_in_memory_the_text_is_below_tmpdir_and_a_note_says_so() {
    let bench = Bench::encrypted();
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let left = disk.path().join("evbus-edit-left");
    fs::create_dir(&left).unwrap();
    make_old(&left);
    bench.editor(&format!("{LOOK}; sed -i s/guest/other/ \"$1\""));
    let output = run(&mut without_memory(&bench, disk.path(), ":"), b"");
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    let note = format!(
        "no file system in memory can hold the text to edit: it is in {} until the editor ends",
        disk.path().display()
    );
    assert!(said.contains(&note), "{said}");
    assert_ne!(bench.read("kind"), "tmpfs\n", "the disk is one");
    assert!(Path::new(bench.read("where").trim()).starts_with(disk.path()));
    assert_eq!(bench.read("modes"), "700\n600\n");
    assert!(texts_in(disk.path()).is_empty());
    assert_eq!(
        bench.data(super::FILE)["kafka"]["idem-*"]["connection"]["login"],
        "other"
    );
}

#[test]
fn a_tmpdir_in_memory_will_do() {
    let bench = Bench::encrypted();
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    bench.editor(LOOK);
    let mount = "mount -t tmpfs tmpfs \"$TMPDIR\"";
    let output = run(&mut without_memory(&bench, disk.path(), mount), b"");
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("in memory"), "{said}");
    assert_eq!(bench.read("kind"), "tmpfs\n");
    assert!(Path::new(bench.read("where").trim()).starts_with(disk.path()));
}

/// Only root can act as another user.
#[test]
fn a_place_of_another_user_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::encrypted();
    let theirs = tempfile::tempdir_in("/dev/shm").unwrap();
    std::os::unix::fs::chown(theirs.path(), Some(54_321), Some(54_321)).unwrap();
    bench.editor(LOOK);
    let output = run(bench.edit().env("XDG_RUNTIME_DIR", theirs.path()), b"");
    assert!(output.status.success(), "{}", stderr(&output));
    let place = bench.read("where");
    assert!(
        !Path::new(place.trim()).starts_with(theirs.path()),
        "{place}"
    );
}
