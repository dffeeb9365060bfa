//! A socket in the file system: bound so that nobody else can ever connect, and removed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use evbus_wire::SocketPath;
use rustix::fs::{Mode, chmod, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

use crate::files::error::{SocketError, at};
use crate::files::group::SocketGroup;

/// How many connections may wait to be accepted; the kernel lowers it to its own limit. A
/// program that does not block gets an error at once when no more may wait.
const BACKLOG: i32 = 4096;

const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// A socket file that this process bound. Dropping it removes the file.
#[derive(Debug)]
pub struct SocketFile(Identity);

/// Which file it is, whatever stands under its name later.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) path: PathBuf,
    device: u64,
    inode: u64,
}

impl Identity {
    /// Whether it still stands under its name. What cannot be looked at is taken to be there.
    pub(crate) fn is_there(&self) -> bool {
        match fs::symlink_metadata(&self.path) {
            Ok(found) => (found.dev(), found.ino()) == (self.device, self.inode),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

impl SocketFile {
    /// Binds a socket with mode 0600, or 0660 for a group, replacing one whose process has ended.
    /// Neither the socket nor this call blocks. The caller holds the lock of the directory, so that no
    /// two processes replace an abandoned socket at once.
    ///
    /// # Errors
    ///
    /// A process uses the socket, something else has its name, or the system refuses.
    pub fn bind(
        path: PathBuf,
        group: Option<&SocketGroup>,
    ) -> Result<(UnixListener, Self), SocketError> {
        if is_abandoned(&path)? {
            fs::remove_file(&path).map_err(at("remove the abandoned socket", &path))?;
        }
        let socket = open_socket(&path).map_err(at("bind the socket", &path))?;
        let found = fs::symlink_metadata(&path).map_err(at("read the socket", &path))?;
        // From here on it is removed where something goes wrong.
        let file = Self(Identity {
            path,
            device: found.dev(),
            inode: found.ino(),
        });
        let path = &file.0.path;
        match group {
            // Gives back what a strict umask took away.
            None => chmod(path, OWNER_ONLY)
                .map_err(|error| at("change the mode of", path)(error.into()))?,
            Some(group) => group.let_connect(path)?,
        }
        listen(&socket, BACKLOG).map_err(|error| at("listen on the socket", path)(error.into()))?;
        Ok((socket, file))
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.0
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put another socket there; that one is not ours to remove.
        if self.0.is_there() {
            // Fails if it is gone, which is what is wanted.
            let _ = fs::remove_file(&self.0.path);
        }
    }
}

/// A socket nobody can connect to yet.
fn open_socket(path: &Path) -> io::Result<UnixListener> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    // Linux gives the file the socket's own mode, less the umask: it is never open to others, not
    // even for the moment between bind and chmod.
    fchmod(&socket, OWNER_ONLY)?;
    let path = SocketPath::new(path)?;
    bind(&socket, &SocketAddrUnix::new(path.as_path())?)?;
    Ok(UnixListener::from(socket))
}

/// Whether the socket of a process that is gone is there. One whose process lives is an error, as is
/// anything that is not a socket.
pub(crate) fn is_abandoned(path: &Path) -> Result<bool, SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(at("read the socket", path)(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket { path: path.into() });
        }
        Ok(_) => {}
    }
    match connect_at_once(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied
            ) =>
        {
            // Its backlog is full, or it is somebody else's: it lives.
            Err(in_use(path))
        }
        Err(error) => Err(at("connect to the socket", path)(error)),
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
    let path = SocketPath::new(path)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_path())?)?;
    Ok(UnixStream::from(socket))
}

fn in_use(path: &Path) -> SocketError {
    SocketError::InUse {
        path: path.parent().unwrap_or(path).into(),
    }
}
