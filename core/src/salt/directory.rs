//! Socket directories: made safe, locked, bound, and left clean.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use evbus_files::usable_dir;
use evbus_wire::{Framing, MAX_ADDRESS_BYTES};
use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;

use super::group::SocketGroup;
use super::limits::Limits;
use super::names::Names;
use super::socket_file::{Identity, SocketFile, is_abandoned};

/// A directory with the two event sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketDir {
    /// The directory; made, with mode 0700, if it is missing, or with 0750 for a group.
    pub path: PathBuf,
    /// What its listeners expect.
    pub framing: Framing,
}

/// What holds for all socket directories of a host.
#[derive(Debug, Clone, Default)]
pub(crate) struct SocketOptions {
    /// Who may fire and listen beside the host's user and root.
    pub(crate) group: Option<SocketGroup>,
    /// The ids of Salt minions under whose names every directory has two sockets more.
    pub(crate) minion_ids: Vec<String>,
    pub(crate) limits: Limits,
}

impl SocketOptions {
    /// The sockets of every directory.
    pub(super) fn names(&self) -> Vec<Names> {
        let mut all = vec![Names::master()];
        for names in self.minion_ids.iter().map(|id| Names::minion(id)) {
            if !all.contains(&names) {
                all.push(names);
            }
        }
        all
    }
}

/// Why the sockets of a directory cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
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
    /// The group could not reach the sockets.
    #[error(
        "the socket directory {path:?} belongs to group {found} and has mode {mode:04o}, so the group {group} cannot enter it; a directory that exists is never opened, so change it with chgrp and chmod 0750, or remove it"
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
    /// There is no group of a name.
    #[error("there is no group {name:?}; expected the name or the number of a group")]
    NoGroup {
        /// The name.
        name: String,
    },
    /// Only root may give files to any group.
    #[error(
        "this user may not give {path:?} to the group {group}; run the host as a member of the group or as root"
    )]
    NotInGroup {
        /// What was to be given.
        path: PathBuf,
        /// To whom.
        group: String,
    },
    /// Another process serves the directory.
    #[error(
        "the socket directory {path:?} is served by another process; stop that, or choose another directory"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Each directory can have its sockets once.
    #[error("the socket directory {path:?} is given twice; give each directory once")]
    Twice {
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
    pub(super) pairs: Vec<Pair>,
    pub(super) guard: DirGuard,
}

/// Two bound sockets that belong together.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) publish: UnixListener,
    pub(super) pull: UnixListener,
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

    /// Its sockets.
    pub(super) fn files(&self) -> impl Iterator<Item = &Identity> {
        self.files.iter().map(SocketFile::identity)
    }

    /// Binds one more socket, which goes with the others. Without a group it is for this user and
    /// root alone, whoever may use the others.
    pub(super) fn bind(
        &mut self,
        name: &str,
        group: Option<&SocketGroup>,
    ) -> Result<UnixListener, SocketError> {
        let (socket, file) = SocketFile::bind(self.path.join(name), group)?;
        self.files.push(file);
        Ok(socket)
    }
}

impl SocketDir {
    /// Binds all sockets. Blocks for the moment that file operations take.
    pub(super) fn bind(&self, options: &SocketOptions) -> Result<Bound, SocketError> {
        let names = options.names();
        let paths = || {
            let files = names.iter().flat_map(|names| [&names.publish, &names.pull]);
            files.map(|name| self.path.join(&**name))
        };
        if paths().any(|path| path.as_os_str().len() > MAX_ADDRESS_BYTES) {
            tracing::warn!(
                "the paths of the sockets in {} are longer than {MAX_ADDRESS_BYTES} bytes: programs of evbus reach them, those of Salt do not",
                self.path.display()
            );
        }
        let group = options.group.as_ref();
        let mut guard = DirGuard {
            path: self.path.clone(),
            files: Vec::new(),
            _lock: self.lock(group)?,
        };
        // Where one of them lives, nothing of its process is touched.
        for path in paths() {
            is_abandoned(&path)?;
        }
        let mut pairs = Vec::with_capacity(names.len());
        for names in names {
            // Listeners first: a program that can fire already has somebody to fire at.
            pairs.push(Pair {
                publish: guard.bind(&names.publish, group)?,
                pull: guard.bind(&names.pull, group)?,
            });
        }
        Ok(Bound {
            framing: self.framing,
            pairs,
            guard,
        })
    }

    /// Opens and locks the directory, so that no two hosts ever take it for abandoned at once.
    /// The lock goes with the process, however that ends.
    fn lock(&self, group: Option<&SocketGroup>) -> Result<File, SocketError> {
        let path = &self.path;
        make(path, group)?;
        let directory = File::open(path).map_err(at("open the socket directory", path))?;
        let found = directory
            .metadata()
            .map_err(at("read the mode of the socket directory", path))?;
        self.check(&found, group)?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(directory),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(SocketError::InUse { path: path.clone() }),
            Err(error) => Err(at("lock the socket directory", path)(error.into())),
        }
    }

    /// Whether the directory is one in which nobody else can touch the sockets, and all who should can
    /// reach them.
    pub(super) fn check(
        &self,
        found: &fs::Metadata,
        group: Option<&SocketGroup>,
    ) -> Result<(), SocketError> {
        let path = &self.path;
        if !found.is_dir() {
            return Err(at("use as a socket directory", path)(
                io::ErrorKind::NotADirectory.into(),
            ));
        }
        let is_trusted = found.uid() == geteuid().as_raw() || found.uid() == 0;
        if !is_trusted || found.mode() & 0o022 != 0 {
            return Err(SocketError::Exposed {
                path: path.clone(),
                owner: found.uid(),
                mode: found.mode() & 0o7777,
            });
        }
        if let Some(group) = group.filter(|group| !may_enter(found, group)) {
            return Err(SocketError::ClosedToGroup {
                path: path.clone(),
                found: found.gid(),
                mode: found.mode() & 0o7777,
                group: group.to_string(),
            });
        }
        Ok(())
    }
}

/// Makes a directory and those above it, where they are missing, for this user alone or for this user
/// and the group. What is there stays as it is.
fn make(path: &Path, group: Option<&SocketGroup>) -> Result<(), SocketError> {
    let made = usable_dir::make(path, 0o700).map_err(at("use the socket directory", path))?;
    let Some(group) = group else {
        return Ok(());
    };
    for (index, path) in made.iter().enumerate() {
        if let Err(error) = group.let_into(path) {
            // Left as they are, they would be in the way of another try. Each is empty, unless others use
            // it already; then it stays.
            for path in made[index..].iter().rev() {
                let _ = fs::remove_dir(path);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Whether the members of a group may enter a directory.
fn may_enter(directory: &fs::Metadata, group: &SocketGroup) -> bool {
    let enter = if directory.gid() == group.gid().as_raw() {
        0o010
    } else {
        0o001
    };
    directory.mode() & enter != 0
}
