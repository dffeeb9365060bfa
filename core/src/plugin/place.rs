//! Opens what another user cannot have written: the files and directories of plugins.
//!
//! A plugin runs with all rights of the host. A file is used only where it, and every directory from
//! the root down to it, belongs to the host's user or to root, and where nobody else may write to them;
//! a directory above may be one like `/tmp`, in which everybody has files and nobody can rename those of
//! others. Every step is opened from the one before it and checked on its descriptor, so that what was
//! checked is what is used, whoever renames directories meanwhile.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;

/// So many links lead to a place at most, as for the kernel.
const MAX_LINKS: usize = 40;

/// Others may write to a directory above, where it keeps them from what is not theirs.
const STICKY: u32 = 0o1000;

/// Why a place is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// There is nothing.
    Absent,
    /// One sentence.
    Because(String),
}

impl From<Unusable> for String {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Absent => "it cannot be read: there is no such file".to_owned(),
            Unusable::Because(reason) => reason,
        }
    }
}

/// The names of the entries of a directory in which only the host's user and root can put files.
pub(super) fn names_in(path: &Path) -> Result<Vec<OsString>, Unusable> {
    let mut walk = Walk::begin()?;
    if walk.to(path)?.is_some() {
        return Err(because("it is not a directory"));
    }
    walk.is_ours()?;
    let listed = openat(
        &walk.here().descriptor,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .and_then(Dir::new)
    .and_then(|dir| {
        dir.map(|entry| Ok(OsString::from_vec(entry?.file_name().to_bytes().to_vec())))
            .collect()
    });
    listed.map_err(|error| because(format!("it cannot be listed: {error}")))
}

/// Opens a regular file that only the host's user and root can have put there. Links lead on, and
/// where they lead to is checked the same.
pub(super) fn open_file(path: &Path) -> Result<(File, Stat), Unusable> {
    let mut walk = Walk::begin()?;
    let Some(name) = walk.to(path)? else {
        return Err(because("it is a directory; expected a shared library"));
    };
    walk.is_ours()?;
    let at = walk.here().path.join(&name);
    let file = openat(
        &walk.here().descriptor,
        &name,
        // No pipe and no terminal holds the host up.
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(cannot_be_read)?;
    let found = fstat(&file).map_err(cannot_be_read)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(not_regular());
    }
    check("file", &at, &found, 0)?;
    Ok((file.into(), found))
}

/// A directory that was checked.
struct Step {
    descriptor: OwnedFd,
    path: PathBuf,
    found: Stat,
}

/// The way from the root to a place.
struct Walk {
    steps: Vec<Step>,
    links: usize,
}

impl Walk {
    fn begin() -> Result<Self, Unusable> {
        let root = openat(
            CWD,
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(cannot_be_read)?;
        let mut walk = Self {
            steps: Vec::new(),
            links: 0,
        };
        walk.enter(root, PathBuf::from("/"))?;
        Ok(walk)
    }

    /// The directory that was entered last.
    fn here(&self) -> &Step {
        self.steps.last().expect("the root is never left")
    }

    /// Goes to a place; gives its name in the last directory where it is not one itself.
    fn to(&mut self, path: &Path) -> Result<Option<OsString>, Unusable> {
        let path = std::path::absolute(path)
            .map_err(|error| because(format!("it cannot be read: {error}")))?;
        let mut rest = VecDeque::new();
        self.put_first(&path, &mut rest);
        while let Some(name) = rest.pop_front() {
            if name == OsStr::new("..") {
                if self.steps.len() > 1 {
                    self.steps.pop();
                }
                continue;
            }
            let opened = openat(
                &self.here().descriptor,
                &name,
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .map_err(cannot_be_read)?;
            let at = self.here().path.join(&name);
            let found = fstat(&opened).map_err(cannot_be_read)?;
            match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory => self.enter(opened, at)?,
                FileType::Symlink => {
                    check_owner("link", &at, &found)?;
                    self.links += 1;
                    if self.links > MAX_LINKS {
                        return Err(because("too many links lead to it"));
                    }
                    let target = readlinkat(&opened, "", Vec::new()).map_err(cannot_be_read)?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    self.put_first(&target, &mut rest);
                }
                FileType::RegularFile if rest.is_empty() => return Ok(Some(name)),
                _ if rest.is_empty() => return Err(not_regular()),
                _ => return Err(Unusable::Absent),
            }
        }
        Ok(None)
    }

    /// Puts the steps to `path` before those that are left.
    fn put_first(&mut self, path: &Path, rest: &mut VecDeque<OsString>) {
        if path.has_root() {
            self.steps.truncate(1);
        }
        for component in path.components().rev() {
            if let Component::Normal(_) | Component::ParentDir = component {
                rest.push_front(component.as_os_str().to_owned());
            }
        }
    }

    fn enter(&mut self, descriptor: OwnedFd, path: PathBuf) -> Result<(), Unusable> {
        let found = fstat(&descriptor).map_err(cannot_be_read)?;
        check("directory", &path, &found, STICKY)?;
        self.steps.push(Step {
            descriptor,
            path,
            found,
        });
        Ok(())
    }

    /// Whether nobody else can put a file into the last directory, be it one like `/tmp`.
    fn is_ours(&self) -> Result<(), Unusable> {
        let Step { path, found, .. } = self.here();
        check("directory", path, found, 0)
    }
}

fn check(what: &str, path: &Path, found: &Stat, pardoned_by: u32) -> Result<(), Unusable> {
    check_owner(what, path, found)?;
    let mode = found.st_mode & 0o7777;
    if mode & 0o022 != 0 && mode & pardoned_by == 0 {
        return Err(because(format!(
            "{what} {} has mode {mode:04o}, so other users can write to it; run: chmod go-w {}",
            path.display(),
            path.display(),
        )));
    }
    Ok(())
}

fn check_owner(what: &str, path: &Path, found: &Stat) -> Result<(), Unusable> {
    let us = rustix::process::geteuid().as_raw();
    if found.st_uid == us || found.st_uid == 0 {
        return Ok(());
    }
    Err(because(format!(
        "{what} {} belongs to user {}; expected user {us} or root, since another user could put code \
         into the host",
        path.display(),
        found.st_uid,
    )))
}

fn because(reason: impl Into<String>) -> Unusable {
    Unusable::Because(reason.into())
}

fn not_regular() -> Unusable {
    because("it is not a regular file; expected a shared library")
}

fn cannot_be_read(error: Errno) -> Unusable {
    if error == Errno::NOENT {
        return Unusable::Absent;
    }
    because(format!("it cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
