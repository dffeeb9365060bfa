//! Salvages a damaged store: reads what can be read, keeps the file aside, and continues.
//!
//! Readable data is copied to a file beside the store (`.salvage`). When the copy is complete and on
//! disk, it is renamed (`.salvaged`), and only then are the damaged files moved to the quarantine and
//! replaced by the copy. Every step is atomic, so wherever the process ends, the next start knows how to
//! continue: a copy that was not renamed is started again, a renamed one is put in place. Until then,
//! the damaged store is left unchanged, whatever else fails.
//!
//! The copy is made from pages (`image`, `carve`), not through `SQLite`, so that a damaged page that
//! leads to others does not lose them. A row with a damaged record is copied unchanged; the reader of
//! the copy detects it and moves it to the dead letters.

mod conclude;
mod copying;
mod numbers;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OpenFlags};

use copying::{Copying, Inserts};
pub(super) use numbers::believable;
use numbers::{Counts, SOME_EVENTS, harm_of};

use super::carve::{self, Row};
use super::full_disk::{self, at};
use super::image::{Image, Kind};
use super::pack::{self, Head};
use super::record::{self, COLUMNS, PARAMETERS};
use super::schema::{self, Harm, OpenFault};
use super::wal::{self, PAGE};
use super::{StateDir, StateError, StoreName};
use evbus_report::counted;

/// How many damaged files of one store are kept.
const KEPT: usize = 3;

/// How long a salvage may continue when the store is to be closed. If it is interrupted, the next one starts again.
const CLOSING: Duration = Duration::from_secs(5);

/// The number of columns of each table: the key, the table's own columns, and those of the event.
const QUEUE_WIDTH: usize = 9;
const DEAD_WIDTH: usize = 12;
/// The same for `counts`, in this format, in its early stores and in the first format; and for `harm`.
const COUNTS_WIDTHS: [usize; 3] = [8, 7, 2];
const HARM_WIDTHS: [usize; 2] = [4, 3];

/// When a store was asked to be closed.
pub(super) type Closing = Arc<OnceLock<Instant>>;

/// What a writer knows about a store that turns out to be damaged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) queued: i64,
    pub(super) dead: i64,
    pub(super) last_seq: u64,
}

/// Opens a store; a damaged one is replaced first, and an interrupted replacement is finished.
pub(super) fn open(
    state: &StateDir,
    path: &Path,
    name: &StoreName,
    closing: &Closing,
) -> Result<Connection, StateError> {
    finish(state, path)?;
    let log = beside(path, "-wal");
    let found =
        wal::read(&log, &beside(path, "-shm")).map_err(at("read the log of the store", &log))?;
    if found.is_damaged && path.exists() {
        let why = match found.bad_frames() {
            0 => "its log has flipped bits".to_owned(),
            bad => format!("{bad} pages in its log are damaged"),
        };
        return replace(state, path, name, &why, None, closing);
    }
    match schema::open(path, name) {
        Ok(store) => Ok(store),
        Err(OpenFault::Damage(why)) => replace(state, path, name, &why, None, closing),
        Err(OpenFault::State(error)) => Err(error),
    }
}

/// Closes a damaged store without changing its files.
pub(super) fn leave(store: Connection) {
    // Otherwise the log would be written into a damaged file. If this call fails, it is.
    let _ = store.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    drop(store);
}

/// Makes a new store from what can be read of a damaged one, which must not be open, and moves the damaged one to the
/// quarantine. If this fails, the damaged store stays where it was.
///
/// Lost events are counted as such in the new store,
/// unless a writer passes what it has `known`: then they stay in the number of queued events, because the lane finds
/// out anyway which are lost.
pub(super) fn replace(
    state: &StateDir,
    path: &Path,
    name: &StoreName,
    why: &str,
    known: Option<Known>,
    closing: &Closing,
) -> Result<Connection, StateError> {
    // An earlier attempt may have been interrupted between its steps.
    if finish(state, path)?.is_none() {
        make(state, path, name, why, known, closing)?;
    }
    match schema::open(path, name) {
        Ok(store) => Ok(store),
        Err(OpenFault::State(error)) => Err(error),
        Err(OpenFault::Damage(reason)) => Err(StateError::Store {
            action: "open",
            path: path.to_owned(),
            reason,
        }),
    }
}

/// Copies a damaged store and replaces it with the copy.
fn make(
    state: &StateDir,
    path: &Path,
    name: &StoreName,
    why: &str,
    known: Option<Known>,
    closing: &Closing,
) -> Result<(), StateError> {
    tracing::warn!("store {path:?} is damaged ({why}); copying its readable records");
    let new = beside(path, ".salvage");
    remove(&new).map_err(at("remove", &new))?;
    let read = copy(path, &new, name, known, [closing, state.closing()]).map_err(|fault| {
        let is_full = fault.is_full(&new);
        // The copy may be what fills the disk. If it stays, the next attempt removes it first.
        let _ = remove(&new);
        if is_full {
            return full_disk::full("salvage the store", path.to_owned());
        }
        StateError::Store {
            action: "salvage",
            path: path.to_owned(),
            reason: fault.to_string(),
        }
    })?;
    let complete = beside(path, ".salvaged");
    fs::rename(&new, &complete).map_err(at("rename the copy of the store to", &complete))?;
    let kept = finish(state, path)?.unwrap_or_default();
    tracing::error!(
        "store {path:?} was damaged ({why}): {} copied, {} lost from the queue, {} from the dead letters; the damaged file is kept at {kept:?}",
        counted(read.queued + read.dead, "record", "records"),
        read.lost,
        read.dead_lost,
    );
    Ok(())
}

/// Replaces the damaged store with a complete copy, as far as that is not done yet. Returns the new path of the
/// damaged store, if there was something to do.
fn finish(state: &StateDir, path: &Path) -> Result<Option<PathBuf>, StateError> {
    let complete = beside(path, ".salvaged");
    let queues = path.parent().unwrap_or(state.path());
    let made = match fs::metadata(&complete) {
        Ok(made) => made,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("read", &complete)(error)),
    };
    // The name of the complete copy must be on disk before anything is moved.
    sync(queues)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    // Named by the time of the copy, so that another attempt uses the same name.
    let time = made.mtime() * 1_000_000_000 + made.mtime_nsec();
    let kept = state.quarantine().join(format!("{stem}-{time}.db"));
    // When a store is opened, no log or journal of another store may be there.
    for ending in ["-journal", "-wal", ""] {
        let (from, to) = (beside(path, ending), beside(&kept, ending));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("move the damaged store to", &to)(error));
            }
            _ => {}
        }
    }
    remove_one(&beside(path, "-shm")).map_err(at("remove the index of", path))?;
    sync(&state.quarantine())?;
    sync(queues)?;
    fs::rename(&complete, path).map_err(at("put the copy in place of", path))?;
    sync(queues)?;
    prune(&state.quarantine(), &stem);
    Ok(Some(kept))
}

/// Removes the oldest damaged files of a store, so that there are not too many.
fn prune(quarantine: &Path, stem: &str) {
    let time = |path: &PathBuf| -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        let time = name.strip_prefix(stem)?.strip_prefix('-')?;
        time.strip_suffix(".db")?.parse().ok()
    };
    let files = fs::read_dir(quarantine).into_iter().flatten();
    let mut files: Vec<(u64, PathBuf)> = files
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| Some((time(&path)?, path)))
        .collect();
    files.sort();
    let too_many = files.len().saturating_sub(KEPT);
    for (_, path) in &files[..too_many] {
        match remove(path) {
            Ok(()) => tracing::warn!(
                "removed {path:?}: only the {KEPT} newest damaged files of a store are kept"
            ),
            Err(error) => tracing::warn!("cannot remove {path:?}: {error}"),
        }
    }
}

/// A file that is kept beside a store.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// Removes a store, and what `SQLite` keeps beside it.
fn remove(path: &Path) -> io::Result<()> {
    for ending in ["-journal", "-wal", "-shm", ""] {
        remove_one(&beside(path, ending))?;
    }
    Ok(())
}

pub(super) fn remove_one(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(directory: &Path) -> Result<(), StateError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(at("sync", directory))
}

/// Why a store was not copied. No variant means that the store is damaged.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("it cannot be read: {0}; it is left unchanged")]
    Source(#[from] io::Error),
    #[error("the copy cannot be written: {0}; the store is left unchanged; free some disk space")]
    Target(#[from] rusqlite::Error),
    #[error("the copy cannot be written: {0}; the store is left unchanged; free some disk space")]
    TargetFile(io::Error),
    #[error("it was interrupted by the host's shutdown; the next start tries again")]
    Closing,
}

impl Fault {
    fn is_full(&self, copy: &Path) -> bool {
        match self {
            Self::Target(error) => full_disk::is_full(error, copy),
            Self::TargetFile(error) => full_disk::is_full_file(error),
            Self::Source(_) | Self::Closing => false,
        }
    }
}

/// What was read from a damaged store.
#[derive(Default)]
struct Read {
    /// Rows in the copy.
    queued: i64,
    dead: i64,
    /// The first and the last position of whole rows in the queue.
    first: Option<i64>,
    last: Option<i64>,
    lost: i64,
    dead_lost: i64,
    /// The content of `counts`, and its frame in the log; `None` if it was in the file.
    counts: Option<(Option<usize>, Counts)>,
    /// The content of `harm`.
    harm: Option<Harm>,
    /// The last number given to a dead letter.
    last_dead: Option<i64>,
    /// Pages that should be part of a tree but are not.
    destroyed: usize,
    /// Damaged rows, with their keys: of the queue, of the dead letters.
    damaged: Vec<(Source, i64)>,
    dead_damaged: Vec<(Source, i64)>,
    /// Packs with damaged events.
    damaged_packs: Vec<(Source, i64)>,
}

/// Where a row was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// In the latest image of a page.
    Page(u32),
    /// In a frame of the log that belongs to an unknown page.
    Frame(usize),
}

/// A page, and a frame of the log that may have its image.
type Guess = Option<(u32, usize)>;

fn copy(
    path: &Path,
    new: &Path,
    name: &StoreName,
    known: Option<Known>,
    closing: [&Closing; 2],
) -> Result<Read, Fault> {
    let image = Image::open(path)?;
    // `SQLite` would create it with the process's default mode.
    (File::options().create_new(true).write(true).mode(0o600))
        .open(new)
        .map_err(Fault::TargetFile)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let store = Connection::open_with_flags(new, flags)?;
    // An incomplete copy is thrown away, and a complete one is synced at the end.
    schema::create(&store, name)?;
    let transaction = store.unchecked_transaction()?;
    let read = Copying {
        image: &image,
        insert: Inserts::new(&transaction)?,
        read: Read::default(),
        closing,
    }
    .all(known)?;
    transaction.commit()?;
    store.close().map_err(|(_, error)| error)?;
    File::open(new)
        .and_then(|file| file.sync_all())
        .map_err(Fault::TargetFile)?;
    Ok(read)
}

/// The head of a pack, if it is what was written.
fn head_of(row: &Row) -> Option<Head> {
    let length = match row.get(pack::WIDTH - 1) {
        ValueRef::Blob(frames) => frames.len() as u64,
        _ => return None,
    };
    Head::new(row.key, [1, 2, 3].map(|column| row.get(column)), length)
}

/// Whether the content of a row is what was written.
fn is_whole(row: &Row) -> bool {
    let first = row.width() - COLUMNS.split(',').count();
    let position = if row.width() == QUEUE_WIDTH {
        row.key.cast_unsigned()
    } else {
        record::NO_POSITION
    };
    record::is_whole(|column| row.get(first + column), position)
}
