//! Follows a path safely.
//!
//! In a directory that every user can write to, such as `/tmp`, others can put links, directories and files
//! under the name that is written to, and choose with that which file the host appends to. So what stands in
//! such a directory must belong to the host's user or to root, as where the kernel has
//! `fs.protected_symlinks` and `fs.protected_regular`. Every step is opened from the one before it, so that
//! what was looked at is what is used.
//!
//! Where events choose a name below a directory, no link may lead out of that directory, whoever has put it there.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat};
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
        Self::follow(path, None)
    }

    /// The same for a path below a directory, which no link may leave. Creates missing directories below it, if wanted.
    pub(crate) fn find_below(base: &Path, path: &Path, create_dirs: bool) -> Result<Self, Failure> {
        Self::follow(path, Some(&Base { base, create_dirs }))
    }

    fn follow(path: &Path, below: Option<&Base<'_>>) -> Result<Self, Failure> {
        let failed = |error: Errno| Failure::new("open", path, error.into());
        let root = openat(CWD, "/", PATH | OFlags::DIRECTORY, Mode::empty()).map_err(failed)?;
        let mut rest = VecDeque::new();
        let mut steps = vec![(root, PathBuf::from("/"))];
        let mut links = 0;
        let (first, mut then) = match below {
            Some(Base { base, .. }) => (*base, path.strip_prefix(base).ok()),
            None => (path, None),
        };
        put_first(first, &mut rest, &mut steps);
        let mut entered_base = None;
        loop {
            // The base is entered before its names are looked at.
            if rest.is_empty()
                && let Some(names) = then.take()
            {
                let (base, _) = steps.last().expect("the root is never left");
                entered_base = Some(identity(base).map_err(failed)?);
                put_first(names, &mut rest, &mut steps);
            }
            let is_last = rest.len() == 1 && then.is_none();
            let Some(name) = rest.pop_front() else {
                return Err(Failure::directory(path));
            };
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
            let enter = || openat(directory, &name, look | OFlags::DIRECTORY, Mode::empty());
            let opened = match enter() {
                Err(Errno::NOTDIR) => openat(directory, &name, look, Mode::empty()),
                Err(Errno::NOENT)
                    if !is_last
                        && entered_base.is_some()
                        && below.is_some_and(|below| below.create_dirs) =>
                {
                    stay(path, &steps, entered_base, below)?;
                    match mkdirat(directory, &name, Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => enter(),
                        Err(error) => Err(error),
                    }
                }
                opened => opened,
            };
            let kind = match &opened {
                Err(Errno::NOENT) if is_last => None,
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
                (Some(FileType::Directory), Ok(entered)) if !is_last => {
                    steps.push((entered, at));
                }
                (kind, _) if is_last => {
                    stay(path, &steps, entered_base, below)?;
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

/// A directory that a path must not leave.
struct Base<'a> {
    base: &'a Path,
    create_dirs: bool,
}

/// Device and inode.
type Identity = (u64, u64);

fn identity(directory: &OwnedFd) -> rustix::io::Result<Identity> {
    let found = fstat(directory)?;
    Ok((found.st_dev, found.st_ino))
}

/// Checks that these steps, which contain no links any more, lead through the base.
fn stay(
    path: &Path,
    steps: &[(OwnedFd, PathBuf)],
    entered: Option<Identity>,
    below: Option<&Base<'_>>,
) -> Result<(), Failure> {
    let (Some(entered), Some(Base { base, .. })) = (entered, below) else {
        return Ok(());
    };
    let is_base = |(step, _): &(OwnedFd, PathBuf)| identity(step) == Ok(entered);
    if steps.iter().any(is_base) {
        Ok(())
    } else {
        Err(Failure::outside(path, base))
    }
}

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
