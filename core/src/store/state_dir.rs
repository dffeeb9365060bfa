//! The state directory: its lock, its limits, its files.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock, statvfs};
use rustix::process::geteuid;
use tokio::sync::Notify;

use super::salvage::Closing;
use super::{StoreName, place};
use crate::event::MAX_BODY_BYTES;

const QUEUES: &str = "queues";
const QUARANTINE: &str = "quarantine";
const LOCK: &str = "lock";

/// How much the state directory may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateLimits {
    /// Bytes of events that may wait in all stores together. Default 64 GiB.
    pub max_bytes: u64,
    /// Bytes of the file system that are left free; below that nothing more is written. Default
    /// none: 256 MiB, or a twentieth of the file system where that is less.
    pub min_free: Option<u64>,
}

impl Default for StateLimits {
    fn default() -> Self {
        Self {
            max_bytes: 64 * 1024 * 1024 * 1024,
            min_free: None,
        }
    }
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another process uses it.
    #[error(
        "the state directory {path:?} is used by another process; stop that, or give another directory"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Other users could read or change the events in it.
    #[error(
        "the state directory {path:?} belongs to user {owner} and has mode {mode:04o}; expected a directory of this user that nobody else may write, so change it with chmod and chown or give another"
    )]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// The user it belongs to.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// A store was written by a newer version.
    #[error(
        "the store {path:?} has format {found}; expected {expected} or less, so run the version of evbus that wrote it, or give another state directory"
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version knows.
        expected: i64,
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
    /// The embedded store refused an operation.
    #[error("cannot {action} the store {path:?}: {reason}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The store's answer.
        reason: String,
    },
}

pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::System {
        action,
        path,
        source,
    }
}

pub(super) fn in_store(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(rusqlite::Error) -> StateError {
    let path = path.to_owned();
    move |error| StateError::Store {
        action,
        path,
        reason: error.to_string(),
    }
}

/// A state directory that this process holds. Cheap to clone; the last clone lets go of the lock.
#[derive(Debug, Clone)]
pub struct StateDir {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    limits: StateLimits,
    /// Bytes of events in all stores.
    bytes: AtomicU64,
    /// Bytes of the files that are free in them and about to be given back to the file system.
    returning: AtomicU64,
    room: Notify,
    closing: Closing,
    lock: ArcSwap<Lock>,
    /// Whoever takes the lock again.
    taking: Mutex<()>,
}

/// Locked for as long as it is open, so the lock goes with the process, however that ends.
#[derive(Debug)]
struct Lock {
    _file: File,
    id: (u64, u64),
}

impl Lock {
    fn take(dir: &Path) -> Result<Self, StateError> {
        let path = dir.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(at("open the lock of the state directory", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StateError::InUse {
                    path: dir.to_owned(),
                });
            }
            Err(error) => return Err(at("lock the state directory", &path)(error.into())),
        }
        let found = file
            .metadata()
            .map_err(at("read the lock of the state directory", &path))?;
        Ok(Self {
            _file: file,
            id: place::id(&found),
        })
    }
}

fn make(path: &Path) -> Result<(), StateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(at("make the state directory", path))
}

/// A name in a directory must survive a power cut as well as the file's content.
pub(super) fn sync_dir_of(path: &Path) -> Result<(), StateError> {
    let dir = path.parent().unwrap_or(path);
    let opened = File::open(dir).map_err(at("open", dir))?;
    opened.sync_all().map_err(at("write out", dir))
}

impl StateDir {
    /// Opens a state directory; makes it, with mode 0700, where it is missing. Blocks for the
    /// moment that file operations take.
    ///
    /// # Errors
    ///
    /// Another process holds it, other users may write to it, or the system refuses.
    pub fn open(path: &Path, limits: StateLimits) -> Result<Self, StateError> {
        make(path)?;
        let found = fs::metadata(path).map_err(at("read the mode of the state directory", path))?;
        if found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(StateError::Exposed {
                path: path.to_owned(),
                owner: found.uid(),
                mode: found.mode() & 0o7777,
            });
        }
        let lock = Lock::take(path)?;
        make(&path.join(QUEUES))?;
        make(&path.join(QUARANTINE))?;
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                limits,
                bytes: AtomicU64::new(0),
                returning: AtomicU64::new(0),
                room: Notify::new(),
                closing: Closing::default(),
                lock: ArcSwap::from_pointee(lock),
                taking: Mutex::default(),
            }),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether the directory is still the one that was opened, and its lock this process's.
    pub(super) fn is_held(&self) -> bool {
        let found = fs::metadata(self.inner.path.join(LOCK));
        found.is_ok_and(|found| place::id(&found) == self.inner.lock.load().id)
    }

    /// Makes a directory that was removed again, and takes its lock.
    pub(super) fn hold_again(&self) -> Result<(), StateError> {
        let _taking = self.inner.taking.lock();
        for path in [
            &self.inner.path,
            &self.inner.path.join(QUEUES),
            &self.quarantine(),
        ] {
            make(path)?;
        }
        if !self.is_held() {
            self.inner
                .lock
                .store(Arc::new(Lock::take(&self.inner.path)?));
        }
        Ok(())
    }

    /// The file of a destination's store.
    pub(super) fn store_file(&self, name: &StoreName) -> PathBuf {
        self.inner
            .path
            .join(QUEUES)
            .join(name.file_stem())
            .with_added_extension("db")
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.inner.path.join(QUARANTINE)
    }

    /// Bytes of events in all stores.
    pub fn bytes(&self) -> u64 {
        self.inner.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: u64) {
        self.inner.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, bytes: u64) {
        let before = self.inner.bytes.fetch_sub(bytes, Ordering::Relaxed);
        // Nobody waits where even the largest event had room.
        let largest = MAX_BODY_BYTES as u64 + 1024 * 1024;
        if bytes > 0 && before.saturating_add(largest) > self.inner.limits.max_bytes {
            self.inner.room.notify_waiters();
        }
    }

    /// The host ends: whatever takes long in here comes to its end, to be gone on with at the next start.
    pub(crate) fn begin_closing(&self) {
        self.inner.closing.get_or_init(Instant::now);
    }

    pub(super) fn closing(&self) -> &Closing {
        &self.inner.closing
    }

    /// Whoever found no room in the limit of all stores together waits here.
    pub(crate) fn room(&self) -> &Notify {
        &self.inner.room
    }

    /// Whether the stores may take this many bytes more.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.bytes().saturating_add(bytes) <= self.inner.limits.max_bytes
    }

    /// A store gives back these bytes of the file system, instead of those it told before.
    pub(super) fn add_returning(&self, bytes: u64, before: u64) {
        self.inner.returning.fetch_add(bytes, Ordering::Relaxed);
        self.inner.returning.fetch_sub(before, Ordering::Relaxed);
    }

    /// Bytes that stores are about to give back to the file system.
    pub(super) fn returning(&self) -> u64 {
        self.inner.returning.load(Ordering::Relaxed)
    }

    /// Says why nothing more may be written, where too little of the file system is free; `promised` of
    /// that is taken already.
    pub(super) fn check_free(&self, promised: u64) -> Result<(), String> {
        let found = statvfs(&self.inner.path)
            .map_err(|error| format!("the free space cannot be read: {error}"))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let all = found.f_blocks.saturating_mul(found.f_frsize);
        let floor = (self.inner.limits.min_free).unwrap_or((256 * 1024 * 1024).min(all / 20));
        if free < floor.saturating_add(promised) {
            return Err(format!(
                "only {free} bytes are free in {}, expected at least {floor}; make room",
                self.inner.path.display()
            ));
        }
        Ok(())
    }
}

/// The files of all stores below a state directory, in name order.
///
/// # Errors
///
/// The directory cannot be listed.
pub(super) fn store_files(state_dir: &Path) -> Result<Vec<PathBuf>, StateError> {
    let queues = state_dir.join(QUEUES);
    let listing = match fs::read_dir(&queues) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound && state_dir.is_dir() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(at("list the state directory", &queues)(error)),
    };
    let mut files: Vec<PathBuf> = listing
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .collect();
    files.sort();
    Ok(files)
}
