//! Reads the files that a configuration names.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, stat};

/// Why [`read_file`] did not read a file. It is displayed as a clause about the file, such as "it is a
/// named pipe, not a regular file".
#[derive(Debug)]
#[non_exhaustive]
pub enum FileFault {
    /// The path leads to something else: "a directory", "a named pipe", "a socket" or "a device".
    NotAFile(&'static str),
    /// It has more than this number of bytes.
    TooLarge(u64),
    /// It cannot be opened or read: it is missing, access is denied, or the disk has failed.
    Unreadable(io::Error),
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile(kind) => write!(f, "it is {kind}, not a regular file"),
            Self::TooLarge(max) => write!(f, "it has more than {max} bytes"),
            Self::Unreadable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FileFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(error) => Some(error),
            Self::NotAFile(_) | Self::TooLarge(_) => None,
        }
    }
}

/// Reads a file that a configuration names: certificates, keys, passwords.
///
/// Only a regular file is read, and never more than `max` bytes, so that a named pipe, a device or a
/// directory in its place is an error at once: a plugin that waited for it would delay the start of the
/// host and each reload. Links are followed. This blocks for the disk; call it in
/// [`Provider::check`](crate::Provider::check) or [`Provider::connect`](crate::Provider::connect).
///
/// ```
/// let fault = evbus_sdk::read_file("/dev/zero", 64 * 1024).unwrap_err();
/// assert_eq!(fault.to_string(), "it is a device, not a regular file");
/// ```
///
/// # Errors
///
/// The file is not a regular file, is larger than `max` bytes, or cannot be read.
pub fn read_file(path: impl AsRef<Path>, max: u64) -> Result<Vec<u8>, FileFault> {
    let (file, length) = open(path.as_ref(), max)?;
    // Larger than needed, so that the buffer does not grow and leave parts of a secret behind.
    let mut content = Vec::with_capacity(usize::try_from(length + 64).unwrap_or_default());
    // One byte more than permitted shows that the file grew.
    file.take(max.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(FileFault::Unreadable)?;
    if content.len() as u64 > max {
        return Err(FileFault::TooLarge(max));
    }
    Ok(content)
}

/// Checks a file like [`read_file`], for a client library that opens the file itself.
///
/// # Errors
///
/// Those of [`read_file`].
pub fn check_file(path: impl AsRef<Path>, max: u64) -> Result<(), FileFault> {
    open(path.as_ref(), max).map(|_| ())
}

fn open(path: &Path, max: u64) -> Result<(File, u64), FileFault> {
    let unreadable = |error: rustix::io::Errno| FileFault::Unreadable(error.into());
    // Opening some devices has side effects, so the kind is checked first.
    regular(&stat(path).map_err(unreadable)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(unreadable)?;
    let found = fstat(&file).map_err(unreadable)?;
    regular(&found)?;
    let length = u64::try_from(found.st_size).unwrap_or_default();
    if length > max {
        return Err(FileFault::TooLarge(max));
    }
    Ok((file.into(), length))
}

fn regular(found: &Stat) -> Result<(), FileFault> {
    Err(FileFault::NotAFile(
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => return Ok(()),
            FileType::Directory => "a directory",
            FileType::Fifo => "a named pipe",
            FileType::Socket => "a socket",
            _ => "a device",
        },
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, mkfifoat};

    use super::*;

    #[test]
    fn only_a_regular_file_within_its_bound_is_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "0123456789").expect("a file");
        mkfifoat(CWD, at("pipe"), Mode::RUSR | Mode::WUSR).expect("a named pipe");
        let _socket = UnixListener::bind(at("socket")).expect("a socket");
        assert_eq!(read_file(at("file"), 10).expect("it fits"), b"0123456789");
        for (path, max, fault) in [
            (at("file"), 9, "it has more than 9 bytes"),
            (at("pipe"), 9, "it is a named pipe, not a regular file"),
            (at("socket"), 9, "it is a socket, not a regular file"),
            (at("."), 9, "it is a directory, not a regular file"),
            ("/dev/zero".into(), 9, "it is a device, not a regular file"),
            ("/proc/self/status".into(), 9, "it has more than 9 bytes"),
        ] {
            let found = read_file(&path, max).expect_err("it is not to be read");
            assert_eq!(found.to_string(), fault, "{}", path.display());
        }
        let absent = check_file(at("absent"), 9).expect_err("there is none");
        assert!(
            matches!(absent, FileFault::Unreadable(error) if error.kind() == io::ErrorKind::NotFound)
        );
    }
}
