//! A lock that only one process holds, and only processes of this user can take.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock};
use rustix::io::Errno;

use super::named_file::{self, NotRead};

/// How often to try again if the last holder has just removed the file.
const TRIES: u32 = 10;

/// A locked file of mode 0600: whoever may open what is locked, for reading even, can hold the lock. It is held
/// until this is dropped or the process ends, however that ends.
#[derive(Debug)]
pub struct FileLock {
    path: PathBuf,
    /// Open as long as the lock is held.
    file: File,
    is_removed: bool,
}

impl FileLock {
    /// Takes the lock of this path, and makes its file. `None` if another process holds it.
    ///
    /// # Errors
    ///
    /// The file cannot be made, opened or locked.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        for _ in 0..TRIES {
            Self::examine(path)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
            // An existing file may have another mode.
            fchmod(&file, Mode::RUSR | Mode::WUSR)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            let lock = Self {
                path: path.to_owned(),
                file,
                is_removed: false,
            };
            // The last holder may have removed the file before it was locked here.
            if lock.is_there() {
                return Ok(Some(lock));
            }
        }
        Ok(None)
    }

    /// Whether there is something at this path that cannot be a lock. Changes nothing.
    ///
    /// # Errors
    ///
    /// It is not a regular file, or it cannot be looked at.
    pub fn examine(path: &Path) -> io::Result<()> {
        named_file::regular_if_there(path).map_err(|error| match error {
            NotRead::Is(_) => io::Error::other(format!("{error}; remove it")),
            NotRead::NoneLeft(error) | NotRead::Failed(error) => error,
            other => io::Error::other(other.to_string()),
        })
    }

    /// Its file goes with the lock.
    #[must_use]
    pub fn removed_at_the_end(mut self) -> Self {
        self.is_removed = true;
        self
    }

    /// Whether its file is still there. Where somebody removed it, another process may take the lock anew.
    pub fn is_there(&self) -> bool {
        let (Ok(ours), Ok(found)) = (self.file.metadata(), fs::symlink_metadata(&self.path)) else {
            return false;
        };
        (found.dev(), found.ino()) == (ours.dev(), ours.ino())
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if self.is_removed && self.is_there() {
            // Still locked, so nobody else can have taken it. If removing fails, the next process uses the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_at_a_time_holds_it_and_who_can_only_enter_the_directory_cannot() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let entered = File::open(dir.path()).expect("it can be entered");
        flock(&entered, FlockOperation::NonBlockingLockExclusive).expect("others may lock that");
        let path = dir.path().join("lock");
        fs::write(&path, "").expect("it can be made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
        let take = || FileLock::take(&path).expect("it can be locked");
        let lock = take().expect("nobody holds it");
        let mode = fs::metadata(&path).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(take().is_none(), "it is held");
        drop(lock);
        let lock = take().expect("it is free again").removed_at_the_end();
        assert!(lock.is_there());
        drop(lock);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("lock");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .expect("a named pipe can be made");
        let refused = FileLock::take(&path).expect_err("it is a named pipe");
        assert_eq!(
            refused.to_string(),
            "it is a named pipe, not a regular file; remove it"
        );
    }

    #[test]
    fn a_lock_whose_file_is_replaced_is_not_there() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("lock");
        let lock = FileLock::take(&path).expect("it can be locked");
        let lock = lock.expect("nobody holds it").removed_at_the_end();
        fs::remove_file(&path).expect("it is ours");
        assert!(!lock.is_there());
        fs::write(&path, "of another").expect("it can be made");
        assert!(!lock.is_there());
        drop(lock);
        assert!(path.exists(), "what is not its own stays");
    }
}
