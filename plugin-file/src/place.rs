//! Follows a path safely.
//!
//! In a directory that every user can write to, such as `/tmp`, others can put links, directories and files
//! under the name that is written to, and choose with that which file the host appends to. So what stands in
//! such a directory must belong to the host's user or to root, as where the kernel has
//! `fs.protected_symlinks` and `fs.protected_regular`. Every step is opened from the one before it, so that
//! what was looked at is what is used.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::outcome::Failure;

/// The most links followed in one path, as in the kernel.
const MAX_LINKS: usize = 40;
const OTHERS_MAY_WRITE: u32 = 0o002;

/// A name in a directory.
pub(crate) struct Place {
    directory: OwnedFd,
    /// Whether others can create files with this name.
    is_shared: bool,
    name: OsString,
    /// What was found there; `None` if there is nothing yet.
    pub(crate) kind: Option<FileType>,
    path: PathBuf,
}

impl Place {
    /// Follows an absolute path and its links to the last directory, which must exist. If the path leads to a
    /// directory, the result is that directory.
    pub(crate) fn find(path: &Path) -> Result<Self, Failure> {
        let failed = |error: Errno| Failure::new("open", path, error.into());
        let root = openat(CWD, "/", PATH | OFlags::DIRECTORY, Mode::empty()).map_err(failed)?;
        let mut rest = VecDeque::new();
        let mut steps = vec![(root, PathBuf::from("/"))];
        let mut links = 0;
        put_first(path, &mut rest, &mut steps);
        while let Some(name) = rest.pop_front() {
            if name == OsStr::new("..") {
                if steps.len() > 1 {
                    steps.pop();
                }
                continue;
            }
            let (directory, above) = steps.last().expect("the root is never left");
            let is_shared = is_shared(directory).map_err(failed)?;
            let at = above.join(&name);
            let look = PATH | OFlags::NOFOLLOW;
            // First as a directory, which triggers automounting.
            let opened = match openat(directory, &name, look | OFlags::DIRECTORY, Mode::empty()) {
                Err(Errno::NOTDIR) => openat(directory, &name, look, Mode::empty()),
                opened => opened,
            };
            let kind = match &opened {
                Err(Errno::NOENT) if rest.is_empty() => None,
                Err(error) => return Err(failed(*error)),
                Ok(opened) => {
                    let found = fstat(opened).map_err(failed)?;
                    if is_shared {
                        check(path, &at, &found)?;
                    }
                    Some(FileType::from_raw_mode(found.st_mode))
                }
            };
            match (kind, opened) {
                (Some(FileType::Symlink), Ok(link)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(failed(Errno::LOOP));
                    }
                    let target = readlinkat(&link, "", Vec::new()).map_err(failed)?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    put_first(&target, &mut rest, &mut steps);
                }
                (Some(FileType::Directory), Ok(entered)) if !rest.is_empty() => {
                    steps.push((entered, at));
                }
                (kind, _) if rest.is_empty() => {
                    let (directory, _) = steps.pop().expect("the root is never left");
                    return Ok(Self {
                        directory,
                        is_shared,
                        name,
                        kind,
                        path: path.to_owned(),
                    });
                }
                _ => return Err(failed(Errno::NOTDIR)),
            }
        }
        Err(Failure::directory(path))
    }

    /// Opens the file for appending; creates it if it is missing. `None` if somebody has created something else with
    /// this name in the meantime.
    pub(crate) fn open(&self, mode: u32) -> Result<Option<(File, bool)>, Failure> {
        let failed = |error: Errno| Failure::new("open", &self.path, error.into());
        // Opening a named pipe must not block.
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let is_new = self.kind.is_none();
        let opened = if is_new {
            let flags = flags | OFlags::CREATE | OFlags::EXCL;
            openat(
                &self.directory,
                &self.name,
                flags,
                Mode::from_raw_mode(mode),
            )
        } else {
            openat(&self.directory, &self.name, flags, Mode::empty())
        };
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::EXIST | Errno::LOOP | Errno::NOENT | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let found = fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        if self.is_shared {
            check(&self.path, &self.path, &found)?;
        }
        Ok(Some((file, is_new)))
    }

    /// Syncs the name to disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(&self.directory, ".", flags, Mode::empty())?;
        File::from(directory).sync_all()
    }
}

const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Puts the steps of `path` before the remaining ones.
fn put_first(path: &Path, rest: &mut VecDeque<OsString>, steps: &mut Vec<(OwnedFd, PathBuf)>) {
    if path.has_root() {
        steps.truncate(1);
    }
    for component in path.components().rev() {
        if let Component::Normal(_) | Component::ParentDir = component {
            rest.push_front(component.as_os_str().to_owned());
        }
    }
}

fn is_shared(directory: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(fstat(directory)?.st_mode & OTHERS_MAY_WRITE != 0)
}

/// Checks that an entry of a directory that every user can write to was created by this user or by root.
fn check(path: &Path, at: &Path, found: &Stat) -> Result<(), Failure> {
    let us = geteuid().as_raw();
    let (at, owner) = (at.display(), found.st_uid);
    let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    let what = if owner != us && owner != 0 {
        format!("{at} belongs to user {owner}")
    } else if is_file && found.st_nlink > 1 {
        format!("{at} has another hard link")
    } else {
        return Ok(());
    };
    Err(Failure::foreign(
        path,
        format!(
            "{what}, in a directory that every user can write to; use a path in a directory of your own"
        ),
    ))
}
