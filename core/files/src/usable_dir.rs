//! Finds or creates a directory for a host's files, or checks whether it could be created.
//!
//! Whoever can change a directory or a link on the way to it decides where the host's files go. So every
//! step must belong to this user or to root, and nobody else may be able to write to a directory above, unless it is
//! like `/tmp`, where nobody can rename the files of others. The directory itself is checked by the caller.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Mode, Stat, accessat, fstatfs, mkdirat};
use rustix::process::geteuid;

use crate::owners::{STICKY, check_mode, is_ours};
use crate::walk::{Astray, End, Judge, Step, Walk};

/// The metadata of a directory that this process could use; `None` if it could create one. It creates and
/// changes nothing.
///
/// # Errors
///
/// The path is not a directory, another user could replace it, or this user may not write there.
pub fn look(path: &Path) -> io::Result<Option<Metadata>> {
    let mut walk = begin(None)?;
    match walk.to(path) {
        Ok(end) => {
            let found = directory(&walk, &end)?;
            writable(walk.here())?;
            Ok(Some(found))
        }
        Err(Astray::Judged(Refused::CouldBeMade)) => Ok(None),
        Err(astray) => Err(astray.into()),
    }
}

/// As [`look`], whether or not this user may write there.
///
/// # Errors
///
/// The path is not a directory, or another user could replace it.
pub fn find(path: &Path) -> io::Result<Option<Metadata>> {
    let mut walk = begin(None)?;
    match walk.to(path) {
        Ok(end) => directory(&walk, &end).map(Some),
        Err(Astray::Judged(Refused::CouldBeMade)) => Ok(None),
        Err(astray) => Err(astray.into()),
    }
}

/// Creates a directory and its parents with this mode if they are missing. Existing directories are not
/// changed. Returns the created directories, the outermost first.
///
/// # Errors
///
/// The path is not a directory, another user could replace it, or the system refuses.
pub fn make(path: &Path, mode: u32) -> io::Result<Vec<PathBuf>> {
    let mut walk = begin(Some(Mode::from_raw_mode(mode)))?;
    let end = walk.to(path)?;
    directory(&walk, &end)?;
    Ok(walk.judge.made)
}

fn begin(mode: Option<Mode>) -> io::Result<Walk<Ours>> {
    Ok(Walk::begin(Ours {
        mode,
        last: Ok(()),
        made: Vec::new(),
    })?)
}

fn directory(walk: &Walk<Ours>, end: &End) -> io::Result<Metadata> {
    match end {
        End::Directory => File::from(walk.here().as_fd().try_clone_to_owned()?).metadata(),
        End::Entry(..) => Err(io::ErrorKind::NotADirectory.into()),
    }
}

/// Accepts only a path that nobody but this user and root can change.
struct Ours {
    /// The mode of new directories; `None` if none are created.
    mode: Option<Mode>,
    /// What is wrong with the directory entered last, as a parent directory.
    last: Result<(), String>,
    made: Vec<PathBuf>,
}

enum Refused {
    Because(io::Error),
    /// It does not exist, but could be created.
    CouldBeMade,
}

impl From<String> for Refused {
    fn from(sentence: String) -> Self {
        Self::Because(io::Error::new(io::ErrorKind::PermissionDenied, sentence))
    }
}

impl From<Astray<Refused>> for io::Error {
    fn from(astray: Astray<Refused>) -> Self {
        match astray {
            Astray::System(rustix::io::Errno::NOTDIR) => io::ErrorKind::NotADirectory.into(),
            Astray::System(error) => error.into(),
            Astray::TooManyLinks => rustix::io::Errno::LOOP.into(),
            Astray::Dangling(link) => Self::new(
                io::ErrorKind::AlreadyExists,
                format!(
                    "the link {} is broken: its target does not exist; create the target directory, or remove the link",
                    link.display()
                ),
            ),
            Astray::Judged(Refused::Because(error)) => error,
            Astray::Judged(Refused::CouldBeMade) => io::ErrorKind::NotFound.into(),
        }
    }
}

impl Judge for Ours {
    type Reason = Refused;

    fn directory(&mut self, directory: &Step) -> Result<(), Refused> {
        let Step { path, found, .. } = directory;
        std::mem::replace(&mut self.last, Ok(()))?;
        check_owner("the directory", path, found)?;
        if found.st_mode & STICKY == 0 {
            self.last = check_mode("the directory", path, found, directory);
        }
        Ok(())
    }

    fn link(&mut self, path: &Path, found: &Stat) -> Result<(), Refused> {
        std::mem::replace(&mut self.last, Ok(()))?;
        Ok(check_owner("the link", path, found)?)
    }

    fn absent(&mut self, directory: &Step, name: &OsStr) -> Result<bool, Refused> {
        std::mem::replace(&mut self.last, Ok(()))?;
        writable(directory).map_err(|error| {
            let sentence = format!(
                "cannot create a directory in {}: {error}",
                directory.path.display()
            );
            Refused::Because(io::Error::new(error.kind(), sentence))
        })?;
        let Some(mode) = self.mode else {
            return Err(Refused::CouldBeMade);
        };
        match mkdirat(directory, name, mode) {
            Ok(()) => self.made.push(directory.path.join(name)),
            // Another process made it in the meantime; it is checked like any other.
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(Refused::Because(error.into())),
        }
        Ok(true)
    }
}

fn check_owner(what: &str, path: &Path, found: &Stat) -> Result<(), String> {
    if is_ours(found) {
        return Ok(());
    }
    let us = geteuid().as_raw();
    Err(format!(
        "{what} {path} belongs to user {owner}, not to user {us} or root: its owner could put something else in its place; use a path through directories that belong to user {us} or root, or run evbus as user {owner}",
        path = path.display(),
        owner = found.st_uid,
    ))
}

fn writable(directory: &Step) -> io::Result<()> {
    // With the rights that are used for opening files.
    accessat(
        directory,
        ".",
        Access::WRITE_OK | Access::EXEC_OK,
        AtFlags::EACCESS,
    )?;
    let kind = fstatfs(directory)?.f_type;
    if let Some((_, name)) = KERNELS.iter().find(|(magic, _)| *magic == kind) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("it is in the kernel's file system {name}, which cannot store files"),
        ));
    }
    Ok(())
}

/// File systems whose permissions do not guarantee that files can be created, with the kernel's numbers for them.
const KERNELS: [(rustix::fs::FsWord, &str); 9] = [
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x1cd1, "devpts"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0x6367_7270, "cgroup2"),
    (0x0027_e0eb, "cgroup"),
    (0x6265_6570, "configfs"),
];

#[cfg(test)]
mod tests;
