//! Socket directories: created safely, locked, bound and cleaned up.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Component, Path, PathBuf};

use evbus_files::lock::FileLock;
use evbus_files::usable_dir;
use evbus_wire::{Framing, MAX_ADDRESS_BYTES};
use rustix::process::geteuid;

use crate::files::error::{SocketError, at};
use crate::files::group::SocketGroup;
use crate::files::names::{LOCK, Names};
use crate::files::socket_file::{Identity, SocketFile, is_abandoned};
use crate::limits::Limits;

/// A directory with the two event sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketDir {
    /// The directory; created if it is missing, with mode 0700, or 0750 for a group.
    pub path: PathBuf,
    /// The framing that its listeners expect.
    pub framing: Framing,
}

/// Options of all socket directories of a host.
#[derive(Debug, Clone, Default)]
pub struct SocketOptions {
    /// Who may fire and listen beside the host's user and root.
    pub group: Option<SocketGroup>,
    /// The ids of Salt minions; every directory has two more sockets for each.
    pub minion_ids: Vec<String>,
    pub(crate) limits: Limits,
}

impl SocketOptions {
    /// The sockets of every directory.
    pub(crate) fn names(&self) -> Vec<Names> {
        let mut all = vec![Names::master()];
        for names in self.minion_ids.iter().map(|id| Names::minion(id)) {
            if !all.contains(&names) {
                all.push(names);
            }
        }
        all
    }
}

/// The bound sockets of a directory. Neither blocks.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) framing: Framing,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) guard: DirGuard,
}

/// Two bound sockets that belong together.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) publish: UnixListener,
    pub(crate) pull: UnixListener,
}

/// Holds a directory. Dropping it removes the sockets, then lets another process have it.
#[derive(Debug)]
pub(crate) struct DirGuard {
    path: PathBuf,
    files: Vec<SocketFile>,
    _lock: FileLock,
}

impl DirGuard {
    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its sockets.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Identity> {
        self.files.iter().map(SocketFile::identity)
    }

    /// Binds one more socket, which goes with the others. Without a group it is for this user and
    /// root alone, whoever may use the others.
    pub(crate) fn bind(
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
    pub(crate) fn bind(&self, options: &SocketOptions) -> Result<Bound, SocketError> {
        let names = options.names();
        let paths = || {
            let files = names.iter().flat_map(|names| [&names.publish, &names.pull]);
            files.map(|name| self.path.join(&**name))
        };
        if paths().any(|path| path.as_os_str().len() > MAX_ADDRESS_BYTES) {
            tracing::warn!(
                "the paths of the sockets in {} are longer than {MAX_ADDRESS_BYTES} bytes: evbus programs can connect to them, Salt programs cannot",
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

    /// Locks the directory, so that no two hosts ever take it for abandoned at once. The lock goes with the
    /// process, however that ends.
    fn lock(&self, group: Option<&SocketGroup>) -> Result<FileLock, SocketError> {
        let path = &self.path;
        make(path, group)?;
        let directory = File::open(path).map_err(at("open the socket directory", path))?;
        let found = directory
            .metadata()
            .map_err(at("read the mode of the socket directory", path))?;
        self.check(&found, group)?;
        usable_dir::look(path).map_err(at("use the socket directory", path))?;
        // A group may enter the directory itself, and could hold a lock on that.
        let file = path.join(LOCK);
        let taken = FileLock::take(&file).map_err(at("lock the socket directory with", &file))?;
        let taken = taken.ok_or_else(|| SocketError::InUse { path: path.clone() })?;
        Ok(taken.removed_at_the_end())
    }

    /// Whether the directory is one in which nobody else can touch the sockets, and all who should can
    /// reach them.
    pub(crate) fn check(
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

/// Whether `dir` is one of these directories, whatever the paths look like.
pub fn is_among<'a>(dir: &Path, mut dirs: impl Iterator<Item = &'a Path>) -> bool {
    let real = |path: &Path| {
        // One that is still to be made has no other names yet.
        let real = (path.canonicalize())
            .or_else(|_| std::path::absolute(path).map(|path| without_dots(&path)));
        real.unwrap_or_else(|_| path.to_owned())
    };
    dirs.any(|other| real(other) == real(dir))
}

/// A path that leads to nothing yet, without `..`.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_known_under_all_its_spellings_before_it_is_made() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| root.path().join(name);
        let same = |one: &str, other: &str| {
            let others = [path(other)];
            is_among(&path(one), others.iter().map(PathBuf::as_path))
        };
        assert!(same("s", "s/../s"));
        assert!(same("./s", "a/../s/."));
        assert!(!same("s", "a/s"));
        fs::create_dir(path("s")).expect("it is new");
        assert!(same("s", "s/../s"));
    }
}
