//! The group that event sockets are opened to.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, chmod, chown, fchmod, fchown};
use rustix::process::geteuid;

use crate::files::error::{SocketError, at};

/// A group whose members may connect to the event sockets, to fire and to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketGroup {
    gid: Gid,
    name: String,
}

impl SocketGroup {
    /// The group with this name, or else with this number, which needs no name.
    ///
    /// Asks the system's user database, so it may block.
    ///
    /// # Errors
    ///
    /// There is no such group, or the user database cannot be read.
    pub fn find(name: &str) -> Result<Self, SocketError> {
        let raw = match uzers::get_group_by_name(name) {
            Some(group) => Some(group.gid()),
            // The largest number means "no group" to the system.
            None => name.parse().ok().filter(|number| *number != u32::MAX),
        };
        raw.map(|raw| Self {
            gid: Gid::from_raw(raw),
            name: name.to_owned(),
        })
        .ok_or_else(|| SocketError::NoGroup {
            name: name.to_owned(),
        })
    }

    pub(crate) fn gid(&self) -> Gid {
        self.gid
    }

    /// Gives a directory that this process made to the group, which may enter and list it.
    pub(crate) fn let_into(&self, path: &Path) -> Result<(), SocketError> {
        let fault = at("open the socket directory", path);
        // Whoever may write above it may have put something else in its place.
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(directory) => File::from(directory),
            Err(error) => return Err(fault(error.into())),
        };
        let is_ours = |found: std::fs::Metadata| found.uid() == geteuid().as_raw();
        if !directory.metadata().is_ok_and(is_ours) {
            return Err(fault(io::ErrorKind::PermissionDenied.into()));
        }
        // The group first: its rights are never those of another one.
        fchown(&directory, None, Some(self.gid))
            .and_then(|()| fchmod(&directory, Mode::RWXU | Mode::RGRP | Mode::XGRP))
            .map_err(|error| self.not_given(path, error))
    }

    /// Lets the group connect to a socket that lies in a directory nobody else may write.
    pub(crate) fn let_connect(&self, path: &Path) -> Result<(), SocketError> {
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP;
        chown(path, None, Some(self.gid))
            .and_then(|()| chmod(path, mode))
            .map_err(|error| self.not_given(path, error))
    }

    fn not_given(&self, path: &Path, error: rustix::io::Errno) -> SocketError {
        if error == rustix::io::Errno::PERM {
            SocketError::NotInGroup {
                path: path.to_owned(),
                group: self.to_string(),
            }
        } else {
            at("change the group and mode of", path)(error.into())
        }
    }
}

impl fmt::Display for SocketGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gid = self.gid.as_raw();
        if self.name == gid.to_string() {
            write!(f, "{gid}")
        } else {
            write!(f, "{} ({gid})", self.name)
        }
    }
}
