//! Socket directories: made safe, locked, bound, and left clean.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, chmod, fchmod, flock};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::process::geteuid;

use super::frame::Framing;

/// The socket that listeners connect to; Salt's name.
pub const PUB_SOCKET: &str = "master_event_pub.ipc";

/// The socket that programs fire events at; Salt's name.
pub const PULL_SOCKET: &str = "master_event_pull.ipc";

/// The longest path of a socket on Linux, in bytes.
const MAX_PATH_BYTES: usize = 107;

/// How many connections may wait to be accepted; the kernel lowers it to its own limit. A
/// program that does not block gets an error at once when no more may wait.
const BACKLOG: i32 = 4096;

/// A directory with the two event sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketDir {
    /// The directory; made, with mode 0700, if it is missing.
    pub path: PathBuf,
    /// What its listeners expect.
    pub framing: Framing,
}

/// Why the event sockets cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The path of a socket would be too long for the system.
    #[error(
        "the path of the event socket {path:?} is {found} bytes long; expected at most {MAX_PATH_BYTES}, so choose a shorter socket directory"
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
    #[error("{path:?} is no socket; an event socket belongs there, so move it away")]
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
fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
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
    _files: Vec<SocketFile>,
    /// The directory, locked for as long as it is open.
    _lock: File,
}

/// A socket this process bound, to be found again when it is removed.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put another socket there; that one is not ours to remove.
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if is_ours {
            // Fails if it is gone, which is what is wanted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl SocketDir {
    /// Binds both sockets. Blocks for the moment that file operations take.
    pub(super) fn bind(&self) -> Result<Bound, SocketError> {
        for name in [PUB_SOCKET, PULL_SOCKET] {
            let path = self.path.join(name);
            let found = path.as_os_str().len();
            if found > MAX_PATH_BYTES {
                return Err(SocketError::PathTooLong { path, found });
            }
        }
        let lock = self.lock()?;
        let mut files = Vec::with_capacity(2);
        // Listeners first: a program that can fire already has somebody to fire at.
        let publish = bind_socket(self.path.join(PUB_SOCKET), &mut files)?;
        let pull = bind_socket(self.path.join(PULL_SOCKET), &mut files)?;
        Ok(Bound {
            framing: self.framing,
            publish,
            pull,
            guard: DirGuard {
                _files: files,
                _lock: lock,
            },
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

fn bind_socket(path: PathBuf, files: &mut Vec<SocketFile>) -> Result<UnixListener, SocketError> {
    remove_abandoned(&path)?;
    let socket = open_socket(&path).map_err(at("bind the event socket", &path))?;
    let found = fs::symlink_metadata(&path).map_err(at("read the event socket", &path))?;
    files.push(SocketFile {
        path,
        device: found.dev(),
        inode: found.ino(),
    });
    Ok(socket)
}

fn open_socket(path: &Path) -> io::Result<UnixListener> {
    let owner_only = Mode::RUSR | Mode::WUSR;
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    // Linux gives the file the socket's own mode, less the umask: it is never open to others, not
    // even for the moment between bind and chmod.
    fchmod(&socket, owner_only)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    // And back what a strict umask took away.
    chmod(path, owner_only)?;
    listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Removes the socket of a process that is gone.
fn remove_abandoned(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at("read the event socket", path)(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket { path: path.into() });
        }
        Ok(_) => {}
    }
    match connect_at_once(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(at("remove the abandoned event socket", path))
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied
            ) =>
        {
            // Its backlog is full, or it is somebody else's: it lives.
            Err(in_use(path))
        }
        Err(error) => Err(at("connect to the event socket", path)(error)),
        Ok(_) => Err(in_use(path)),
    }
}

/// Connects without waiting, even where the other process lives and accepts nothing.
fn connect_at_once(path: &Path) -> io::Result<UnixStream> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

fn in_use(path: &Path) -> SocketError {
    SocketError::InUse {
        path: path.parent().unwrap_or(path).into(),
    }
}
