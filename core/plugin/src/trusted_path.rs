//! Opens the files and directories of plugins, if no other user can have written them.
//!
//! A plugin runs with all rights of the host. A file is used only if it and every directory from the
//! root down to it belong to the host's user or to root, and nobody else can write to them; a directory
//! above may be like `/tmp`, where everybody has files but cannot rename those of others. A [`Walk`]
//! follows the path and checks everything it opens.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

use evbus_files::named_file::{NotAFile, READING};
use evbus_files::walk::{Astray, End, Judge, Step, Walk};

/// Others may write to a parent directory with this bit, which protects what is not theirs.
const STICKY: u32 = 0o1000;

/// Why a path is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It does not exist.
    Absent,
    /// There is a file in the place of a directory.
    NotADirectory,
    /// One sentence.
    Because(String),
}

impl From<Unusable> for String {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Absent => "there is no such file; check its path".to_owned(),
            Unusable::NotADirectory => "it is not a directory".to_owned(),
            Unusable::Because(reason) => reason,
        }
    }
}

impl From<Astray<Self>> for Unusable {
    fn from(astray: Astray<Self>) -> Self {
        match astray {
            Astray::System(Errno::NOTDIR) | Astray::Dangling(_) => Self::Absent,
            Astray::System(error) => cannot_be_read(error),
            Astray::TooManyLinks => because("its path has too many symbolic links"),
            Astray::Judged(unusable) => unusable,
        }
    }
}

/// The names in a directory in which only the host's user and root can create files.
pub(crate) fn names_in(path: &Path) -> Result<Vec<OsString>, Unusable> {
    let mut walk = Walk::begin(Ours)?;
    match walk.to(path)? {
        End::Directory => {}
        End::Entry(_, FileType::RegularFile) => return Err(Unusable::NotADirectory),
        End::Entry(..) => return Err(not_regular()),
    }
    is_ours(walk.here())?;
    let listed = openat(
        walk.here(),
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

/// Opens a regular file that only the host's user and root can have put there. Links are followed, and their targets
/// are checked in the same way.
pub(crate) fn open_file(path: &Path) -> Result<(File, Stat), Unusable> {
    let mut walk = Walk::begin(Ours)?;
    let name = match walk.to(path)? {
        End::Entry(name, FileType::RegularFile) => name,
        End::Entry(..) => return Err(not_regular()),
        End::Directory => return Err(because("it is a directory; expected a shared library")),
    };
    is_ours(walk.here())?;
    let at = walk.here().path.join(&name);
    let file = openat(
        walk.here(),
        &name,
        READING | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .map_err(cannot_be_read)?;
    let found = fstat(&file).map_err(cannot_be_read)?;
    if NotAFile::of(&found).is_some() {
        return Err(not_regular());
    }
    check("file", &at, &found, 0)?;
    Ok((file.into(), found))
}

/// Accepts what only the host's user and root can change.
struct Ours;

impl Judge for Ours {
    type Reason = Unusable;

    fn directory(&mut self, directory: &Step) -> Result<(), Unusable> {
        check("directory", &directory.path, &directory.found, STICKY)
    }

    fn link(&mut self, path: &Path, found: &Stat) -> Result<(), Unusable> {
        check_owner("link", path, found)
    }
}

/// Whether nobody else can create files in the last directory, even in one like `/tmp`.
fn is_ours(Step { path, found, .. }: &Step) -> Result<(), Unusable> {
    check("directory", path, found, 0)
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
        "{what} {} belongs to user {}; expected user {us} or root, because another user could run code in the host; move it, or have root run: chown -h {us} {}",
        path.display(),
        found.st_uid,
        path.display(),
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
