//! The lock of a socket directory: one host at a time serves it.
//!
//! It is a file that only the host's user can open: whoever may open what is locked, for reading even, can hold the
//! lock, and a group may enter the directory itself.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::files::error::{SocketError, at};

const NAME: &str = ".evbus.lock";

/// How often a file that its last holder has just removed is made anew.
const TRIES: u32 = 10;

/// Held until it is dropped, or the process ends. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    /// Locked for as long as it is open.
    _file: File,
}

impl Lock {
    /// Takes the lock of a directory that is there.
    pub(crate) fn take(dir: &Path) -> Result<Self, SocketError> {
        let path = dir.join(NAME);
        for _ in 0..TRIES {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(at("open the lock of the socket directory", &path))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path).map_err(at("look at the lock", &path))? => {
                    return Ok(Self { path, _file: file });
                }
                // Its last holder removed it before it was locked here.
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => break,
                Err(error) => return Err(at("lock the socket directory", dir)(error.into())),
            }
        }
        Err(SocketError::InUse {
            path: dir.to_owned(),
        })
    }
}

/// Whether a file still has its name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked: nobody else can have taken it. What remains is taken by the next host.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_holds_it_and_who_can_only_enter_the_directory_cannot() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let entered = File::open(dir.path()).expect("it can be entered");
        flock(&entered, FlockOperation::NonBlockingLockExclusive).expect("others may lock that");
        let lock = Lock::take(dir.path()).expect("nobody holds it");
        let mode = fs::metadata(dir.path().join(NAME)).expect("it is there");
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert!(matches!(
            Lock::take(dir.path()),
            Err(SocketError::InUse { .. })
        ));
        drop(lock);
        assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0);
        Lock::take(dir.path()).expect("it is free again");
    }
}
