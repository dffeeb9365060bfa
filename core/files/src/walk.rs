//! Goes from the root to a place, step by step.
//!
//! Every step is opened from the previous one and judged on its descriptor, so that what was judged is what is
//! used, even if directories are renamed meanwhile. The caller decides what is acceptable.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;

/// The most links followed in one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// Decides for each step whether the walk continues.
pub trait Judge {
    /// Why it does not continue.
    type Reason;

    /// Judges a directory on the way, before anything in it is inspected.
    ///
    /// # Errors
    ///
    /// The directory must not be entered.
    fn directory(&mut self, directory: &Step) -> Result<(), Self::Reason>;

    /// Judges a link on the way, before it is followed.
    ///
    /// # Errors
    ///
    /// The link must not be followed.
    fn link(&mut self, path: &Path, found: &Stat) -> Result<(), Self::Reason>;

    /// Called if the next name of the path is not in the directory. Returns whether it may exist now.
    ///
    /// # Errors
    ///
    /// The name does not exist and must not be created.
    fn absent(&mut self, _directory: &Step, _name: &OsStr) -> Result<bool, Self::Reason> {
        Ok(false)
    }
}

/// Why a walk ended early.
#[derive(Debug)]
pub enum Astray<R> {
    /// The system's error; "not a directory" if the path leads through something else.
    System(Errno),
    /// A link is broken.
    Dangling(PathBuf),
    /// There are too many links, or they form a loop.
    TooManyLinks,
    /// The judge's reason.
    Judged(R),
}

impl<R> From<Errno> for Astray<R> {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

/// A directory that was judged.
pub struct Step {
    descriptor: OwnedFd,
    /// The path without links.
    pub path: PathBuf,
    /// Its metadata.
    pub found: Stat,
}

/// Can be used to inspect the directory, and to open what is in it.
impl AsFd for Step {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What a path leads to.
pub enum End {
    /// The last directory itself.
    Directory,
    /// An entry with this name in the last directory.
    Entry(OsString, FileType),
}

/// The way from the root to a place.
pub struct Walk<J> {
    steps: Vec<Step>,
    links: usize,
    /// Tells after each step whether the walk continues.
    pub judge: J,
}

impl<J: Judge> Walk<J> {
    /// Begins at the root, which is judged too.
    ///
    /// # Errors
    ///
    /// The system's reason, or the judge's.
    pub fn begin(judge: J) -> Result<Self, Astray<J::Reason>> {
        let root = openat(
            CWD,
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut walk = Self {
            steps: Vec::new(),
            links: 0,
            judge,
        };
        walk.enter(root, PathBuf::from("/"))?;
        Ok(walk)
    }

    /// The directory that was entered last.
    pub fn here(&self) -> &Step {
        self.steps.last().expect("the root is never left")
    }

    /// The judge, and the directories that lead to the end of the path, from the root, without those that a link or
    /// `..` left again.
    pub(crate) fn into_parts(self) -> (J, Vec<Step>) {
        (self.judge, self.steps)
    }

    /// Goes to a place. Links are followed, the last one too.
    ///
    /// # Errors
    ///
    /// The system's reason, the judge's, or too many links.
    pub fn to(&mut self, path: &Path) -> Result<End, Astray<J::Reason>> {
        let path = std::path::absolute(path)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOENT))?;
        let mut rest = VecDeque::new();
        self.put_first(&path, &mut rest);
        // The link that is being followed, and how many steps remain after it.
        let mut followed: Option<(PathBuf, usize)> = None;
        while let Some(name) = rest.pop_front() {
            followed = followed.filter(|(_, behind)| rest.len() >= *behind);
            if name == OsStr::new("..") {
                if self.steps.len() > 1 {
                    self.steps.pop();
                }
                continue;
            }
            let opened = match (look(self.here(), &name), &followed) {
                (Err(Errno::NOENT), Some((link, _))) => {
                    return Err(Astray::Dangling(link.clone()));
                }
                (Err(Errno::NOENT), None) => {
                    let here = self.steps.last().expect("the root is never left");
                    if !self.judge.absent(here, &name).map_err(Astray::Judged)? {
                        return Err(Errno::NOENT.into());
                    }
                    look(self.here(), &name)?
                }
                (opened, _) => opened?,
            };
            let at = self.here().path.join(&name);
            let found = fstat(&opened)?;
            match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory => self.enter(opened, at)?,
                FileType::Symlink => {
                    self.judge.link(&at, &found).map_err(Astray::Judged)?;
                    self.links += 1;
                    if self.links > MAX_LINKS {
                        return Err(Astray::TooManyLinks);
                    }
                    let target = readlinkat(&opened, "", Vec::new())?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    followed.get_or_insert((at, rest.len()));
                    self.put_first(&target, &mut rest);
                }
                kind if rest.is_empty() => return Ok(End::Entry(name, kind)),
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        Ok(End::Directory)
    }

    /// Puts the steps of `path` before the remaining ones.
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

    fn enter(&mut self, descriptor: OwnedFd, path: PathBuf) -> Result<(), Astray<J::Reason>> {
        let found = fstat(&descriptor)?;
        let step = Step {
            descriptor,
            path,
            found,
        };
        self.judge.directory(&step).map_err(Astray::Judged)?;
        self.steps.push(step);
        Ok(())
    }
}

/// Opens a name for inspection only.
fn look(directory: &Step, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // First as a directory, which triggers automounting.
    match openat(directory, name, flags | OFlags::DIRECTORY, Mode::empty()) {
        Err(Errno::NOTDIR) => openat(directory, name, flags, Mode::empty()),
        opened => opened,
    }
}
