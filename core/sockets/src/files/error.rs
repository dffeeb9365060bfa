//! Why event sockets cannot be served.

use std::io;
use std::path::{Path, PathBuf};

/// Why the sockets of a directory cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Other users could replace the sockets.
    #[error(
        "the socket directory {path:?} belongs to user {owner} and has mode {mode:04o}; expected a directory of this user or root that nobody else can write to; change it with chmod and chown, or choose another"
    )]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// The user it belongs to.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The group could not reach the sockets.
    #[error(
        "the socket directory {path:?} belongs to group {found} and has mode {mode:04o}, so the group {group} cannot enter it; the mode of an existing directory is left unchanged: use chgrp and chmod 0750, or remove it"
    )]
    ClosedToGroup {
        /// The directory.
        path: PathBuf,
        /// The group it belongs to.
        found: u32,
        /// Its permission bits.
        mode: u32,
        /// The group that is to enter.
        group: String,
    },
    /// The named group does not exist.
    #[error("group {name:?} does not exist; expected the name or number of a group")]
    NoGroup {
        /// The name.
        name: String,
    },
    /// Only root may give files to any group.
    #[error(
        "this user cannot give {path:?} to the group {group}; run the host as a member of the group or as root"
    )]
    NotInGroup {
        /// The path that was to get the group.
        path: PathBuf,
        /// The group.
        group: String,
    },
    /// Another process serves the directory.
    #[error(
        "the socket directory {path:?} is in use by another process; stop it, or choose another directory"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The same directory is given twice.
    #[error("the socket directory {path:?} is given twice; give each directory once")]
    Twice {
        /// The directory.
        path: PathBuf,
    },
    /// Something other than a socket is in the place of a socket.
    #[error("{path:?} is not a socket; move it away, because evbus creates a socket there")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused an operation.
    #[error("cannot {action} {path:?}: {source}")]
    System {
        /// The operation.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Gives a system error its place.
pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError::System {
        action,
        path,
        source,
    }
}
