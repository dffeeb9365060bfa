//! The state directory: its lock, its limits, its files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustix::fs::statvfs;
use rustix::process::geteuid;
use tokio::sync::Notify;

use super::full_disk::at;
use super::lock;
use super::salvage::Closing;
use super::{StoreName, schema};
use evbus_event::MAX_BODY_BYTES;
use evbus_files::lock::FileLock;
use evbus_files::named_file::NotAFile;
use evbus_files::usable_dir;

pub(super) const QUEUES: &str = "queues";
const QUARANTINE: &str = "quarantine";

/// The size limits of the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateLimits {
    /// The most bytes of events in all stores together: three quarters for queued events, a quarter for
    /// dead letters. Default 64 GiB.
    pub max_bytes: u64,
    /// Bytes of the file system to keep free; below that, nothing more is written. Default `None`: 256
    /// MiB, or a twentieth of the file system if that is less.
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
        "the state directory {path:?} is in use by another process; stop it, or give another directory"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Other users could read or change the events in it.
    #[error(
        "the state directory {path:?} belongs to user {owner} and has mode {mode:04o}; expected a directory of this user that nobody else can write to; change it with chmod and chown, or give another"
    )]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// The user it belongs to.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The directory exists, but is not a state directory.
    #[error(
        "{path:?} is not a state directory: it has no directory \"queues\"; give the state directory of the host"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Something else is where a store has a file.
    #[error("{path:?} is {kind}, expected a file of a store; move it out of the state directory")]
    NotAFile {
        /// Where.
        path: PathBuf,
        /// What it is.
        kind: NotAFile,
    },
    /// A store was written by a newer version.
    #[error(
        "the store {path:?} has format {found}; expected {expected} or less; run the version of evbus that wrote it, or give another state directory"
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version supports.
        expected: i64,
    },
    /// The disk is too full to start.
    #[error(
        "the disk of {} is full: cannot {action} {path:?}; free some space, then try again",
        .dir.display()
    )]
    Full {
        /// A directory on the disk, usually the state directory.
        dir: PathBuf,
        /// What was tried.
        action: &'static str,
        /// On what.
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

/// A state directory that this process has locked. Cheap to clone; dropping the last clone releases the
/// lock.
#[derive(Debug, Clone)]
pub struct StateDir {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    limits: StateLimits,
    /// Bytes of events in the queues of all stores.
    bytes: AtomicU64,
    /// Bytes of dead letters in all stores.
    letters: AtomicU64,
    /// Bytes of logs beyond the usual, because somebody reads their stores.
    logs: AtomicU64,
    /// How many stores are open.
    stores: AtomicU64,
    /// Free bytes in the files that are about to be given back to the file system.
    returning: AtomicU64,
    room: Notify,
    closing: Closing,
    lock: ArcSwap<FileLock>,
    /// Held while the lock is taken again.
    taking: Mutex<()>,
}

fn make(path: &Path) -> Result<(), StateError> {
    usable_dir::make(path, 0o700)
        .map(|_| ())
        .map_err(at("use the state directory", path))
}

/// Checks that nobody else can read or change the directory.
fn check(path: &Path, found: &fs::Metadata) -> Result<(), StateError> {
    if found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(StateError::Exposed {
        path: path.to_owned(),
        owner: found.uid(),
        mode: found.mode() & 0o7777,
    })
}

/// A name in a directory must survive a power failure as well as the file's content.
pub(super) fn sync_dir_of(path: &Path) -> Result<(), StateError> {
    let dir = path.parent().unwrap_or(path);
    let opened = File::open(dir).map_err(at("open", dir))?;
    opened.sync_all().map_err(at("sync", dir))
}

impl StateDir {
    /// Opens a state directory, creating it with mode 0700 if it is missing. Blocks briefly for file
    /// operations.
    ///
    /// # Errors
    ///
    /// Another process uses it, other users can write to it or to a directory above it, or the system
    /// refuses.
    pub fn open(path: &Path, limits: StateLimits) -> Result<Self, StateError> {
        make(path)?;
        let found = fs::metadata(path).map_err(at("read the mode of the state directory", path))?;
        check(path, &found)?;
        let lock = lock::take(path)?;
        make(&path.join(QUEUES))?;
        make(&path.join(QUARANTINE))?;
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                limits,
                bytes: AtomicU64::new(0),
                letters: AtomicU64::new(0),
                logs: AtomicU64::new(0),
                stores: AtomicU64::new(0),
                returning: AtomicU64::new(0),
                room: Notify::new(),
                closing: Closing::default(),
                lock: ArcSwap::from_pointee(lock),
                taking: Mutex::default(),
            }),
        })
    }

    /// Whether a host could be started with a state directory. Creates and changes nothing, and takes no
    /// lock; does not check whether another process uses the directory now.
    ///
    /// # Errors
    ///
    /// Why [`open`](Self::open) would fail.
    pub fn examine(path: &Path) -> Result<(), StateError> {
        let look =
            |path: &Path| usable_dir::look(path).map_err(at("use the state directory", path));
        // In the same order as when it is opened: first the owner, then this user's rights.
        let found = usable_dir::find(path).map_err(at("use the state directory", path))?;
        if let Some(found) = &found {
            check(path, found)?;
        }
        if look(path)?.is_none() {
            return Ok(());
        }
        look(&path.join(QUEUES))?;
        look(&path.join(QUARANTINE))?;
        lock::examine(path)
    }

    /// Whether the store of a destination in this directory could be opened, as far as that shows without
    /// writing: one of a newer version cannot, nor what is not a file; one that is damaged is replaced.
    ///
    /// # Errors
    ///
    /// [`StateError::NewerFormat`] and [`StateError::NotAFile`].
    pub fn examine_store(path: &Path, name: &StoreName) -> Result<(), StateError> {
        match schema::open_beside(&store_file(path, name), false) {
            Err(error @ (StateError::NewerFormat { .. } | StateError::NotAFile { .. })) => {
                Err(error)
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether the directory is still the one that was opened, and its lock this process's.
    pub fn is_held(&self) -> bool {
        self.inner.lock.load().is_there()
    }

    /// Creates the directory again after it was removed, and takes its lock.
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
                .store(Arc::new(lock::take(&self.inner.path)?));
        }
        Ok(())
    }

    /// The file of a destination's store.
    pub(super) fn store_file(&self, name: &StoreName) -> PathBuf {
        store_file(&self.inner.path, name)
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.inner.path.join(QUARANTINE)
    }

    /// Bytes of events in the queues of all stores.
    pub fn bytes(&self) -> u64 {
        self.inner.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: u64) {
        self.inner.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, bytes: u64) {
        let before = self.inner.bytes.fetch_sub(bytes, Ordering::Relaxed);
        // Nobody waits if there was already room for the largest event.
        let largest = MAX_BODY_BYTES as u64 + 1024 * 1024;
        let used = before.saturating_add(self.inner.logs.load(Ordering::Relaxed));
        if bytes > 0 && used.saturating_add(largest) > self.most_queued() {
            self.inner.room.notify_waiters();
        }
    }

    /// Tells long operations to stop because the host is shutting down; the next start continues them.
    pub fn begin_closing(&self) {
        self.inner.closing.get_or_init(Instant::now);
    }

    pub(super) fn closing(&self) -> &Closing {
        &self.inner.closing
    }

    /// Notifies waiters when there is room again in the limit of all stores together.
    pub fn room(&self) -> &Notify {
        &self.inner.room
    }

    /// Whether the queues of the stores may take this many bytes more. Dead letters have room of their
    /// own, so that those of one destination are in no other's way. An event larger than the limit is
    /// let in when it is alone: it would wait for ever.
    pub fn has_room(&self, bytes: u64) -> bool {
        let queued = self.bytes();
        let logs = self.inner.logs.load(Ordering::Relaxed);
        queued == 0 || queued.saturating_add(logs).saturating_add(bytes) <= self.most_queued()
    }

    /// The limit of the queues of all stores together.
    fn most_queued(&self) -> u64 {
        self.inner.limits.max_bytes - self.most_letters()
    }

    /// The limit of all stores together.
    pub(super) fn max_bytes(&self) -> u64 {
        self.inner.limits.max_bytes
    }

    /// Sets the length of a store's log beyond the usual, which was `before`.
    pub(super) fn add_logs(&self, bytes: u64, before: u64) {
        self.inner.logs.fetch_add(bytes, Ordering::Relaxed);
        self.inner.logs.fetch_sub(before, Ordering::Relaxed);
        if bytes < before {
            self.inner.room.notify_waiters();
        }
    }

    /// The limit of the dead letters of all stores together.
    fn most_letters(&self) -> u64 {
        self.inner.limits.max_bytes / 4
    }

    /// Bytes of dead letters in all stores.
    pub fn dead_letter_bytes(&self) -> u64 {
        self.inner.letters.load(Ordering::Relaxed)
    }

    /// Adds a store with this many bytes of dead letters.
    pub(super) fn opened(&self, letters: u64) {
        self.inner.stores.fetch_add(1, Ordering::Relaxed);
        self.add_letters(letters);
    }

    /// Removes a store with this many bytes of dead letters.
    pub(super) fn closed(&self, letters: u64) {
        self.inner.stores.fetch_sub(1, Ordering::Relaxed);
        self.give_letters(letters);
    }

    /// Takes room for existing dead letters, even beyond the limit.
    pub(super) fn add_letters(&self, bytes: u64) {
        self.inner.letters.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes room for dead letters, if there is enough.
    pub(super) fn take_letters(&self, bytes: u64) -> bool {
        let most = self.most_letters();
        let take = |now: u64| Some(now.saturating_add(bytes)).filter(|then| *then <= most);
        bytes == 0
            || (self.inner.letters)
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
    }

    /// Gives back the room of dead letters.
    pub(super) fn give_letters(&self, bytes: u64) {
        let give = |now: u64| Some(now.saturating_sub(bytes));
        // The function always returns a value, so this cannot fail.
        let _ = (self.inner.letters).fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }

    pub(super) fn room_for_letters(&self) -> u64 {
        self.most_letters().saturating_sub(self.dead_letter_bytes())
    }

    /// Whether all dead letters together exceed the limit, for example because it was lowered, and a store with `own`
    /// bytes has more than its share; `dropped` bytes are about to be dropped.
    pub(super) fn has_too_many_letters(&self, own: u64, dropped: u64) -> bool {
        let stores = self.inner.stores.load(Ordering::Relaxed).max(1);
        self.dead_letter_bytes().saturating_sub(dropped) > self.most_letters()
            && own > self.most_letters() / stores
    }

    /// Sets the bytes that a store gives back to the file system, which were `before`.
    pub(super) fn add_returning(&self, bytes: u64, before: u64) {
        self.inner.returning.fetch_add(bytes, Ordering::Relaxed);
        self.inner.returning.fetch_sub(before, Ordering::Relaxed);
    }

    /// Bytes that stores are about to give back to the file system.
    pub(super) fn returning(&self) -> u64 {
        self.inner.returning.load(Ordering::Relaxed)
    }

    /// Whether the file system has this much free space for each open store.
    pub(super) fn has_free(&self, bytes: u64) -> bool {
        let stores = self.inner.stores.load(Ordering::Relaxed).max(1);
        statvfs(&self.inner.path).is_ok_and(|found| {
            found.f_bavail.saturating_mul(found.f_frsize) >= bytes.saturating_mul(stores)
        })
    }

    /// Fails with the reason if too little of the file system is free; `promised` bytes of that are already taken.
    pub(super) fn check_free(&self, promised: u64) -> Result<(), String> {
        let found = statvfs(&self.inner.path)
            .map_err(|error| format!("cannot read the free space: {error}"))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let all = found.f_blocks.saturating_mul(found.f_frsize);
        let floor = (self.inner.limits.min_free).unwrap_or((256 * 1024 * 1024).min(all / 20));
        if free < floor.saturating_add(promised) {
            return Err(format!(
                "only {free} bytes are free in {}, but {floor} must stay free and {promised} are about to be written; free some space",
                self.inner.path.display()
            ));
        }
        Ok(())
    }
}

fn store_file(dir: &Path, name: &StoreName) -> PathBuf {
    dir.join(QUEUES)
        .join(name.file_stem())
        .with_added_extension("db")
}

/// The files of all stores below a state directory, in name order.
///
/// # Errors
///
/// There is no such directory, it is not a state directory, or it cannot be listed.
pub(super) fn store_files(state_dir: &Path) -> Result<Vec<PathBuf>, StateError> {
    let queues = state_dir.join(QUEUES);
    let listing = match fs::read_dir(&queues) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound && state_dir.is_dir() => {
            return Err(StateError::Foreign {
                path: state_dir.to_owned(),
            });
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
