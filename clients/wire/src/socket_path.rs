//! Paths of sockets that are longer than a socket's address.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// The longest path in a socket's address on Linux, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 107;

/// A path of a socket as the system takes it, whatever its length: a longer one leads through its
/// directory, which is open for as long as this lives.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _dir: Option<File>,
}

impl SocketPath {
    /// For binding or connecting, which has to be done while this lives. Blocks for the moment that it
    /// takes to open a directory.
    ///
    /// # Errors
    ///
    /// The path is too long and its directory cannot be opened.
    pub fn new(path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Self::as_it_is(path));
        };
        if path.as_os_str().len() <= MAX_ADDRESS_BYTES {
            return Ok(Self::as_it_is(path));
        }
        let dir = File::open(parent)?;
        Ok(Self {
            path: Path::new("/proc/self/fd")
                .join(dir.as_raw_fd().to_string())
                .join(name),
            _dir: Some(dir),
        })
    }

    fn as_it_is(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _dir: None,
        }
    }

    /// The path for the address.
    pub fn as_path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_is_reached_below_directories_of_any_length() {
        let root = std::env::temp_dir().join(format!("evbus-socket-path-{}", std::process::id()));
        let deep = root.join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).expect("there is room for a directory");
        let at = deep.join("a.ipc");
        let listener = UnixListener::bind(SocketPath::new(&at).expect("it opens").as_path());
        let connected = UnixStream::connect(SocketPath::new(&at).expect("it opens").as_path());
        let is_there = at.exists();
        std::fs::remove_dir_all(&root).expect("it is the test's own");
        assert!(listener.is_ok() && connected.is_ok() && is_there);
    }

    #[test]
    fn a_path_that_fits_stays_as_it_is() {
        for path in ["/run/evbus/a.ipc", "a.ipc", "/"] {
            let found = SocketPath::new(Path::new(path)).expect("nothing is opened");
            assert_eq!(found.as_path(), Path::new(path));
        }
    }
}
