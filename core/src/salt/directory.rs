//! Socket directories: made safe, locked, bound, and left clean.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use evbus_wire::{Framing, PUB_SOCKET, PULL_SOCKET};
use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;

use super::socket_file::{MAX_PATH_BYTES, SocketFile, check_length};

/// A directory with the two event sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketDir {
    /// The directory; made, with mode 0700, if it is missing.
    pub path: PathBuf,
    /// What its listeners expect.
    pub framing: Framing,
}

/// Why the sockets of a directory cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The path of a socket would be too long for the system.
    #[error(
        "the path of the socket {path:?} is {found} bytes long; expected at most {MAX_PATH_BYTES}, so choose a directory with a shorter path"
    )]
    PathTooLong {
        /// The socket's path.
        path: PathBuf,
        /// Its length in bytes.
        found: usize,
    },
    /// Other users could replace the sockets.
    #[error(
        "the socket directory {path:?} belongs to user {owner} and has mode {mode:04o}; expected a directory of this user or root that nobody else may write, so change it with chmod and chown or choose another"
    )]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// The user it belongs to.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process serves the directory.
    #[error(
        "the socket directory {path:?} is served by another process; stop that, or choose another directory"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Something that is no socket stands where a socket belongs.
    #[error("{path:?} is no socket; a socket of evbus belongs there, so move it away")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused an operation.
    #[error("cannot {action} {path:?}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Gives a system error its place.
pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError::System {
        action,
        path,
        source,
    }
}

/// The bound sockets of a directory. Neither blocks.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) framing: Framing,
    pub(super) publish: UnixListener,
    pub(super) pull: UnixListener,
    pub(super) guard: DirGuard,
}

/// Holds a directory. Dropping it removes the sockets, then lets another process have it.
#[derive(Debug)]
pub(super) struct DirGuard {
    path: PathBuf,
    files: Vec<SocketFile>,
    /// The directory, locked for as long as it is open.
    _lock: File,
}

impl DirGuard {
    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Binds one more socket, which goes with the others.
    pub(super) fn bind(&mut self, name: &str) -> Result<UnixListener, SocketError> {
        let (socket, file) = SocketFile::bind(self.path.join(name))?;
        self.files.push(file);
        Ok(socket)
    }
}

impl SocketDir {
    /// Binds both sockets. Blocks for the moment that file operations take.
    pub(super) fn bind(&self) -> Result<Bound, SocketError> {
        for name in [PUB_SOCKET, PULL_SOCKET] {
            check_length(&self.path.join(name))?;
        }
        let mut guard = DirGuard {
            path: self.path.clone(),
            files: Vec::with_capacity(3),
            _lock: self.lock()?,
        };
        // Listeners first: a program that can fire already has somebody to fire at.
        let publish = guard.bind(PUB_SOCKET)?;
        let pull = guard.bind(PULL_SOCKET)?;
        Ok(Bound {
            framing: self.framing,
            publish,
            pull,
            guard,
        })
    }

    /// Opens and locks the directory, so that no two hosts ever take it for abandoned at once.
    /// The lock goes with the process, however that ends.
    fn lock(&self) -> Result<File, SocketError> {
        let path = &self.path;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(at("make the socket directory", path))?;
        let directory = File::open(path).map_err(at("open the socket directory", path))?;
        let found = directory
            .metadata()
            .map_err(at("read the mode of the socket directory", path))?;
        let is_trusted = found.uid() == geteuid().as_raw() || found.uid() == 0;
        if !is_trusted || found.mode() & 0o022 != 0 {
            return Err(SocketError::Exposed {
                path: path.clone(),
                owner: found.uid(),
                mode: found.mode() & 0o7777,
            });
        }
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(directory),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(SocketError::InUse { path: path.clone() }),
            Err(error) => Err(at("lock the socket directory", path)(error.into())),
        }
    }
}
