//! Which users' files are accepted as configuration.
//!
//! Whoever can change an acct file, or a template that it includes, decides where events go, which files are
//! written and, with `$exec`, which programs run as the host's user. So these files are checked as OpenSSH checks its
//! own: the file, and every directory and link on the way to it, must belong to this user or to root, and nobody
//! else may be able to write to it. There are two exceptions. A directory above may be like `/tmp`, where nobody can
//! rename the files of others. And a user's private group, as `adduser` creates it, may have write access; if its
//! members are unknown, the file is accepted, but its `$exec` is not.
//!
//! A key file only opens another file, so what matters is who can read it.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::named_file::{self, NotAFile, NotRead, READING};
use crate::owners::{
    GROUP_MAY_ENTER, GROUP_MAY_READ, Group, STICKY, check_mode, group_that_writes, group_with,
    is_ours, too_open,
};
use crate::walk::{Astray, End, Judge, Step, Walk};

const OTHERS_MAY_WRITE: u32 = 0o002;
const OTHERS_MAY_READ: u32 = 0o004;
const OTHERS_MAY_ENTER: u32 = 0o001;

/// Why a file was not read.
#[derive(Debug)]
pub enum Denied {
    /// It cannot be read, or is not a suitable file.
    NotRead(NotRead),
    /// Others could have written it, or can read it; with what is wrong and what to do.
    Distrusted(String),
}

impl From<NotRead> for Denied {
    fn from(error: NotRead) -> Self {
        Self::NotRead(error)
    }
}

impl From<Astray<String>> for Denied {
    fn from(astray: Astray<String>) -> Self {
        match astray {
            Astray::System(Errno::NOTDIR) | Astray::Dangling(_) => NotRead::Absent.into(),
            Astray::System(error) => NotRead::from(error).into(),
            Astray::TooManyLinks => NotRead::from(Errno::LOOP).into(),
            Astray::Judged(reason) => Self::Distrusted(reason),
        }
    }
}

/// Reads the files of one configuration, and remembers doubts about them. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// `None` if anybody's files are read, because nothing in them is executed.
    doubt: Option<Arc<Mutex<Option<String>>>>,
}

impl Trust {
    /// Refuses files that others could have written.
    pub fn checked() -> Self {
        Self {
            doubt: Some(Arc::default()),
        }
    }

    /// Reads every regular file.
    pub fn unchecked() -> Self {
        Self::default()
    }

    /// Why nothing in these files may be run, if there is a doubt.
    pub fn doubt(&self) -> Option<String> {
        self.doubt.as_ref()?.lock().clone()
    }

    /// Appends the file that the operator named to `content`. A pipe that this process was started with is
    /// read too; whoever started the process is responsible for its redirections.
    ///
    /// # Errors
    ///
    /// It cannot be read, is not a regular file, is larger than `max` bytes, or others could have
    /// written it.
    pub fn read_given(&self, path: &Path, max: u64, content: &mut Vec<u8>) -> Result<(), Denied> {
        if named_file::is_given(path) {
            return Ok(named_file::read_given(path, max, content)?);
        }
        self.read(path, max, content)
    }

    /// Appends a file that another one includes to `content`.
    ///
    /// # Errors
    ///
    /// It cannot be read, is not a regular file, is larger than `max` bytes, or others could have
    /// written it.
    pub fn read(&self, path: &Path, max: u64, content: &mut Vec<u8>) -> Result<(), Denied> {
        let Some(doubt) = &self.doubt else {
            return Ok(named_file::read(path, max, content)?);
        };
        let (file, judge) = open(path, Writers::default())?;
        if let Some(found) = judge.doubt {
            doubt.lock().get_or_insert(found);
        }
        Ok(named_file::read_open(file, max, content)?)
    }
}

/// Appends a key file to `content`. Nobody else may be able to read or write it. Its owner does not matter, as
/// for OpenSSH's keys, because nothing in it is run.
///
/// # Errors
///
/// It cannot be read, is not a regular file, is larger than `max` bytes, or others can read or write it.
pub fn read_key(path: &Path, max: u64, content: &mut Vec<u8>) -> Result<(), Denied> {
    if named_file::is_given(path) {
        return Ok(named_file::read_given(path, max, content)?);
    }
    let (file, _) = open(path, Readers::default())?;
    Ok(named_file::read_open(file, max, content)?)
}

/// Who else can read a key file that [`read_key`] accepts; `None` if nobody can, or if it is not accepted.
pub fn readers_of_key(path: &Path) -> Option<String> {
    if named_file::is_given(path) {
        return None;
    }
    let (_, judge) = open(path, Readers::default()).ok()?;
    judge.others
}

/// A judge that judges the file as well.
trait FileJudge: Judge<Reason = String> {
    /// `above` are the directories that lead to it.
    fn file(
        &mut self,
        path: &Path,
        found: &Stat,
        file: &File,
        above: &[Step],
    ) -> Result<(), String>;
}

fn open<J: FileJudge>(path: &Path, judge: J) -> Result<(File, J), Denied> {
    let mut walk = Walk::begin(judge)?;
    let name = match walk.to(path)? {
        End::Directory => return Err(NotRead::Is(NotAFile::Directory).into()),
        End::Entry(name, FileType::RegularFile) => name,
        End::Entry(_, FileType::Fifo) => return Err(NotRead::Is(NotAFile::Pipe).into()),
        End::Entry(_, FileType::Socket) => return Err(NotRead::Is(NotAFile::Socket).into()),
        End::Entry(..) => return Err(NotRead::Is(NotAFile::Device).into()),
    };
    let flags = READING | OFlags::NOFOLLOW;
    let file = openat(walk.here(), &name, flags, Mode::empty()).map_err(NotRead::from)?;
    let found = fstat(&file).map_err(NotRead::from)?;
    if let Some(kind) = NotAFile::of(&found) {
        return Err(NotRead::Is(kind).into());
    }
    let (at, file) = (walk.here().path.join(&name), File::from(file));
    let (mut judge, above) = walk.into_parts();
    judge
        .file(&at, &found, &file, &above)
        .map_err(Denied::Distrusted)?;
    Ok((file, judge))
}

/// Refuses files that somebody else could have written or placed there.
#[derive(Default)]
struct Writers {
    doubt: Option<String>,
}

impl Writers {
    fn check(
        &mut self,
        what: &str,
        path: &Path,
        found: &Stat,
        opened: impl AsFd,
    ) -> Result<(), String> {
        check_owner(what, path, found)?;
        check_mode(what, path, found, &opened)?;
        if group_that_writes(found, opened) == Group::Unknown {
            self.doubt.get_or_insert_with(|| {
                format!(
                    "{what} {} with mode {:04o}, which unknown members of group {} could change",
                    path.display(),
                    found.st_mode & 0o7777,
                    found.st_gid
                )
            });
        }
        Ok(())
    }
}

impl Judge for Writers {
    type Reason = String;

    fn directory(&mut self, directory: &Step) -> Result<(), String> {
        let Step { path, found, .. } = directory;
        if found.st_mode & STICKY != 0 {
            return check_owner("the directory", path, found);
        }
        self.check("the directory", path, found, directory)
    }

    fn link(&mut self, path: &Path, found: &Stat) -> Result<(), String> {
        check_owner("the link", path, found)
    }
}

impl FileJudge for Writers {
    fn file(&mut self, path: &Path, found: &Stat, file: &File, _: &[Step]) -> Result<(), String> {
        self.check("the file", path, found, file)
    }
}

/// Refuses files that everybody can read.
#[derive(Default)]
struct Readers {
    /// Other users who can read the file nevertheless.
    others: Option<String>,
}

impl Judge for Readers {
    type Reason = String;

    fn directory(&mut self, _: &Step) -> Result<(), String> {
        Ok(())
    }

    fn link(&mut self, _: &Path, _: &Stat) -> Result<(), String> {
        Ok(())
    }
}

impl FileJudge for Readers {
    fn file(
        &mut self,
        path: &Path,
        found: &Stat,
        file: &File,
        above: &[Step],
    ) -> Result<(), String> {
        // Users who cannot enter a directory cannot use the modes below it.
        let shut = || above.iter().filter(|step| keeps_out_others(step));
        if shut().any(keeps_out_the_group) {
            return Ok(());
        }
        let refused = |who: &str| Err(too_open("the key file", path, found, who, "go="));
        let is_open = found.st_mode & (OTHERS_MAY_READ | OTHERS_MAY_WRITE) != 0;
        if is_open && shut().next().is_none() {
            return refused("every user can read or write");
        }
        if let Group::Shared(group) = group_that_writes(found, file) {
            return refused(&format!("{group} can write to"));
        }
        self.others = match group_with(GROUP_MAY_READ, found, file) {
            _ if is_open => Some("every user who can enter its directory".to_owned()),
            Group::Shared(group) => Some(group),
            Group::Unknown => Some(format!("group {}", found.st_gid)),
            Group::None | Group::Private => None,
        };
        Ok(())
    }
}

fn keeps_out_others(directory: &Step) -> bool {
    directory.found.st_mode & OTHERS_MAY_ENTER == 0
}

fn keeps_out_the_group(directory: &Step) -> bool {
    let group = group_with(GROUP_MAY_ENTER, &directory.found, directory);
    matches!(group, Group::None | Group::Private)
}

fn check_owner(what: &str, path: &Path, found: &Stat) -> Result<(), String> {
    if is_ours(found) {
        return Ok(());
    }
    let us = geteuid().as_raw();
    // Only its owner knows what else is in a directory.
    let advice = if what == "the file" {
        format!(
            "run `chown {us} {}`, or run evbus as user {}",
            path.display(),
            found.st_uid
        )
    } else {
        format!(
            "move the file to a directory of user {us} or root, such as /etc/evbus, or run evbus as user {}",
            found.st_uid
        )
    };
    Err(format!(
        "{what} {path} belongs to user {owner}, not to user {us} or root: its owner could run programs as user {us}; {advice}",
        path = path.display(),
        owner = found.st_uid,
    ))
}
