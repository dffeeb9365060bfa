//! What is not a file, and pipes that this process has.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, mkfifoat};

use super::*;

fn read_all(path: &Path, max: u64) -> Result<Vec<u8>, NotRead> {
    let mut content = Vec::new();
    read_given(path, max, &mut content).map(|()| content)
}

#[track_caller]
fn is_not_a_file(path: &Path, expected: NotAFile) {
    for found in [read_all(path, 10).err(), open_given(path).err()] {
        assert!(
            matches!(found, Some(NotRead::Is(kind)) if kind == expected),
            "{}: {found:?}",
            path.display()
        );
    }
}

/// The name of a descriptor, in the form in which a shell passes a pipe.
fn descriptor(pipe: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/dev/fd/{}", pipe.as_fd().as_raw_fd()))
}

#[test]
fn whatever_is_no_regular_file_is_named_and_never_waited_for() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| root.path().join(name);
    mkfifoat(CWD, at("pipe"), Mode::RUSR | Mode::WUSR).expect("a named pipe");
    symlink(at("pipe"), at("link")).expect("a link");
    let _socket = UnixListener::bind(at("socket")).expect("a socket");
    is_not_a_file(&at("pipe"), NotAFile::Pipe);
    is_not_a_file(&at("link"), NotAFile::Pipe);
    is_not_a_file(&at("socket"), NotAFile::Socket);
    is_not_a_file(root.path(), NotAFile::Directory);
    is_not_a_file(Path::new("/dev/zero"), NotAFile::Device);
    assert!(matches!(read_all(&at("absent"), 10), Err(NotRead::Absent)));
}

#[test]
fn no_more_of_a_file_is_taken_than_the_bound() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let path = root.path().join("file");
    fs::write(&path, "0123456789").expect("a file");
    assert_eq!(read_all(&path, 10).expect("it fits"), b"0123456789");
    assert!(matches!(read_all(&path, 9), Err(NotRead::TooLarge)));
    // This file does not report its length.
    let longer = Path::new("/proc/self/status");
    assert!(matches!(read_all(longer, 9), Err(NotRead::TooLarge)));
}

#[test]
fn a_pipe_that_this_process_has_is_read_to_its_end_and_no_longer_than_its_time() {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let path = descriptor(&reader);
    writer.write_all(b"text").expect("it has room");
    let mut content = Vec::new();
    let pipe = open_pipe(&given(&path).expect("a descriptor")).expect("it opens");
    let waited = read_pipe(&pipe, 10, &mut content, Duration::from_millis(20));
    assert!(matches!(waited, Err(NotRead::Endless)), "{waited:?}");
    assert_eq!(content, b"text");

    writer.write_all(b"0123456789").expect("it has room");
    assert!(matches!(read_all(&path, 9), Err(NotRead::TooLarge)));

    writer.write_all(b"the end").expect("it has room");
    drop(writer);
    assert_eq!(read_all(&path, 10).expect("it has ended"), b"the end");
    // The second time, it is not reported as an empty file.
    assert!(matches!(read_all(&path, 10), Err(NotRead::Drained)));
}

#[test]
fn only_a_name_of_an_own_descriptor_is_one() {
    for path in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        assert_eq!(
            given(Path::new(path)),
            Some("/proc/self/fd/0".into()),
            "{path}"
        );
    }
    for path in ["/dev/fd/", "/dev/fd/0/../1", "/dev/fd/+1", "/proc/1/fd/0"] {
        assert!(!is_given(Path::new(path)), "{path}");
    }
}
