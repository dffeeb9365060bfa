//! The lock of a state directory: one host at a time writes in it.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, fchmod, flock};

use super::full_disk::at;
use super::place;
use super::state_dir::StateError;

const LOCK: &str = "lock";

/// Locked for as long as it is open, so the lock goes with the process, however that ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    id: (u64, u64),
}

impl Lock {
    /// Takes the lock of a directory; makes its file.
    pub(super) fn take(dir: &Path) -> Result<Self, StateError> {
        let path = dir.join(LOCK);
        // Whoever can open it, for reading even, can hold the lock.
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(at("open the lock of the state directory", &path))?;
        let kept = fchmod(&file, Mode::RUSR | Mode::WUSR);
        kept.map_err(|error| at("chmod", &path)(error.into()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StateError::InUse {
                    path: dir.to_owned(),
                });
            }
            Err(error) => return Err(at("lock the state directory", &path)(error.into())),
        }
        let found = file
            .metadata()
            .map_err(at("read the lock of the state directory", &path))?;
        Ok(Self {
            _file: file,
            id: place::id(&found),
        })
    }

    /// Whether it is still the lock of this directory, whose files may have been removed or replaced.
    pub(super) fn is_in(&self, dir: &Path) -> bool {
        let found = fs::metadata(dir.join(LOCK));
        found.is_ok_and(|found| place::id(&found) == self.id)
    }
}
