//! The place of a file to be written, with a path from the operator.
//!
//! A link of another user on the way would let that user choose which file is overwritten, so links are
//! followed only if they belong to this user or to root. The directory is kept open, so that the file is written to
//! the directory that was checked.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::owners::is_ours;
use crate::walk::{Astray, End, Judge, Step, Walk};

/// A name in an open directory.
#[derive(Debug)]
pub struct Place {
    directory: OwnedFd,
    name: OsString,
    /// What exists there, if anything.
    pub kind: Option<FileType>,
}

impl Place {
    /// Finds the place of a path. Links are followed, including the last one; a broken link is itself the
    /// place.
    ///
    /// # Errors
    ///
    /// A link belongs to another user, the directory does not exist, or the path leads to a directory.
    pub fn find(path: &Path) -> io::Result<Self> {
        let mut walk = Walk::begin(Links)?;
        let (name, kind) = match walk.to(path) {
            Ok(End::Entry(name, kind)) => (name, Some(kind)),
            Ok(End::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            Err(Astray::System(Errno::NOENT) | Astray::Dangling(_)) => {
                let path = std::path::absolute(path)?;
                let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
                    return Err(io::ErrorKind::IsADirectory.into());
                };
                match walk.to(dir)? {
                    End::Directory => (name.to_owned(), None),
                    End::Entry(..) => return Err(io::ErrorKind::NotADirectory.into()),
                }
            }
            Err(astray) => return Err(astray.into()),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // A directory that may be written but not listed is good enough.
        let directory = match openat(walk.here(), ".", flags, Mode::empty()) {
            Err(Errno::ACCESS) => openat(walk.here(), ".", flags | OFlags::PATH, Mode::empty())?,
            opened => opened?,
        };
        Ok(Self {
            directory,
            name,
            kind,
        })
    }

    /// The directory, even if it has been renamed meanwhile.
    pub fn dir(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.directory.as_raw_fd()).into()
    }

    /// The file's path. It is not a link to be followed.
    pub fn path(&self) -> PathBuf {
        self.dir().join(&self.name)
    }

    /// Syncs the directory's names to the disk.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn sync(&self) -> io::Result<()> {
        File::open(self.dir())?.sync_all()
    }
}

/// Follows links of this user and of root.
struct Links;

impl Judge for Links {
    type Reason = String;

    fn directory(&mut self, _: &Step) -> Result<(), String> {
        Ok(())
    }

    fn link(&mut self, path: &Path, found: &Stat) -> Result<(), String> {
        if is_ours(found) {
            return Ok(());
        }
        let us = geteuid().as_raw();
        Err(format!(
            "the link {} belongs to user {}, not to user {us} or root: its owner chooses which file is written; name the target of the link instead",
            path.display(),
            found.st_uid,
        ))
    }
}

impl From<Astray<String>> for io::Error {
    fn from(astray: Astray<String>) -> Self {
        match astray {
            Astray::System(error) => error.into(),
            Astray::Dangling(_) => Errno::NOENT.into(),
            Astray::TooManyLinks => Errno::LOOP.into(),
            Astray::Judged(reason) => Self::new(io::ErrorKind::PermissionDenied, reason),
        }
    }
}
