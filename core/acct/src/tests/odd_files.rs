//! Named pipes, sockets, devices and directories in place of files, wherever a file is named.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::{AcctSource, KeySource, MAX_FILE_BYTES};

/// Reads an acct file that uses an unusual file in one place, and returns the only fault.
type Place = fn(dir: &Path, odd: &Path) -> String;

const PLACES: [(&str, Place); 5] = [
    ("the acct file", |_, odd| load(&AcctSource::new(odd))),
    ("the key file", |dir, odd| {
        let acct = written(dir, "kafka: {}\n");
        load(&AcctSource::new(acct).key(KeySource::File(odd.to_owned())))
    }),
    ("a secret", |dir, odd| {
        let acct = written(
            dir,
            &format!(
                "kafka: {{'*': {{password: {{$file: {}}}}}}}\n",
                odd.display()
            ),
        );
        let file = AcctSource::new(acct).load().unwrap();
        file.sections()[0].entries().unwrap_err()[0].to_string()
    }),
    ("a file to include", |dir, odd| {
        let name = odd.file_name().unwrap().display();
        let acct = written(dir, &format!("{{% include '{name}' %}}\n"));
        load(&AcctSource::new(acct))
    }),
    ("a file that is to be encrypted", |_, odd| {
        AcctSource::new(odd).document().unwrap_err()[0].to_string()
    }),
];

fn load(source: &AcctSource) -> String {
    let errors = source.load().unwrap_err();
    assert_eq!(errors.len(), 1);
    errors[0].to_string()
}

fn written(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("acct.yml");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn what_is_no_regular_file_is_named_and_never_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    mkfifoat(CWD, at("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    symlink("/dev/zero", at("device")).unwrap();
    for (place, read) in PLACES {
        for (odd, found) in [
            ("pipe", "a named pipe"),
            ("socket", "a socket"),
            ("directory", "a directory"),
            ("device", "a device"),
        ] {
            // The link is refused because it leads out of the directory.
            let found = match (place, odd) {
                ("a file to include", "device") => "outside the directory",
                _ => found,
            };
            let error = read(folder.path(), &at(odd));
            assert!(error.contains(found), "{place}, {odd}: {error}");
            assert!(!error.contains('\n'), "{place}, {odd}: {error}");
        }
    }
}

#[test]
fn no_file_is_read_beyond_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("large");
    // A sparse file, which takes no space.
    let large = fs::File::create(&odd).unwrap();
    large.set_len(MAX_FILE_BYTES + 1).unwrap();
    fs::set_permissions(&odd, fs::Permissions::from_mode(0o600)).unwrap();
    for (place, read) in PLACES {
        let error = read(folder.path(), &odd);
        assert!(error.contains("larger than"), "{place}: {error}");
    }
}
