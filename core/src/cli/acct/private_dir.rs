//! A directory that only this user may enter, in memory if there is such a file system.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use evbus_files::owners::keeps_names;
use evbus_files::usable_dir;
use rustix::fs::{FlockOperation, flock, statfs};
use tempfile::TempDir;

use super::super::exit::note;

const PREFIX: &str = "evbus-edit-";
/// Linux's type numbers of file systems in memory: tmpfs and ramfs.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
/// A directory without a lock that is younger than this may be one that is being created.
const BEING_MADE: Duration = Duration::from_mins(1);

/// The directory; it is removed with its content when this is dropped.
pub(super) struct PrivateDir {
    dir: TempDir,
    /// Locked while the process lives, which shows other processes that the directory is in use.
    _lock: File,
}

impl PrivateDir {
    /// Creates one with mode 0700 in the first of these that is in memory: `XDG_RUNTIME_DIR`, /dev/shm, `TMPDIR`;
    /// if none is, in the last. A place of another user is not used. Removes what killed processes left in all of them.
    pub(super) fn new() -> io::Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let temporary = std::env::temp_dir();
        let shared = PathBuf::from("/dev/shm");
        let places = runtime.into_iter().chain([shared, temporary.clone()]);
        // Whoever can rename something in the directory could present another file to the editor.
        let usable = |place: &PathBuf| {
            usable_dir::look(place).is_ok_and(|found| found.as_ref().is_some_and(keeps_names))
        };
        let places: Vec<PathBuf> = places.filter(usable).collect();
        for place in &places {
            sweep(place);
        }
        for place in places.iter().filter(|place| is_in_memory(place)) {
            if let Ok(made) = Self::make(place) {
                return Ok(made);
            }
        }
        note(&format!(
            "no file system in memory can hold the text to edit: it is in {} until the editor ends, and the disk may keep traces of it",
            temporary.display()
        ));
        if !places.contains(&temporary) {
            return Err(io::Error::other(format!(
                "another user could change what is in {}; set TMPDIR to a directory of this user",
                temporary.display()
            )));
        }
        Self::make(&temporary)
    }

    fn make(place: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(place)?;
        let lock = File::open(dir.path())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { dir, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

#[expect(
    clippy::unnecessary_cast,
    reason = "the number's type differs between machines"
)]
fn is_in_memory(place: &Path) -> bool {
    statfs(place).is_ok_and(|found| IN_MEMORY.contains(&(found.f_type as i64)))
}

/// Removes this user's directories that no living process uses.
fn sweep(place: &Path) {
    let me = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    for entry in entries {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|found| {
                let old = found.modified().is_ok_and(|at| {
                    SystemTime::now()
                        .duration_since(at)
                        .is_ok_and(|age| age > BEING_MADE)
                });
                found.is_dir() && found.uid() == me && old
            });
        if is_ours
            && File::open(entry.path())
                .is_ok_and(|dir| flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok())
        {
            // Another process may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
