//! The layout of a store's file, and opening one.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use evbus_files::named_file::{self, NotRead};
use rusqlite::{Connection, OpenFlags, params};

use super::StoreName;
use super::full_disk::{at, in_store};
use super::record::{COLUMNS, PARAMETERS};
use super::salvage::{beside, remove_one};
use super::state_dir::{StateError, sync_dir_of};
use super::writer::is_damage;

/// Identifies a file as a store of this program ("evbs"); `file` and `SQLite`'s tools show it.
const APPLICATION_ID: i64 = 0x6576_6273;

/// The version of the layout below. No format is one flipped bit away from another: 3, 5 and 6 are skipped.
pub(super) const FORMAT: i64 = 4;

/// How long to wait for another process that reads or writes the file.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// The table of packs.
macro_rules! packs {
    () => {
        "CREATE TABLE packs (
    seq INTEGER PRIMARY KEY, events INTEGER NOT NULL, size INTEGER NOT NULL, checksum INTEGER NOT NULL,
    frames BLOB NOT NULL
) STRICT;
"
    };
}

/// `queue` has an event until it is settled; `seq` is its position, and the checksum covers all of an event's columns.
/// `packs` has several such events in a row, from the position `seq` on; see `pack`.
/// `counts` has the expected number and range of rows, so that missing ones are noticed, how many were lost to damage
/// in total, and how many dead letters were dropped for lack of room. `harm` repeats these numbers, so that no single
/// damaged page loses them.
const SCHEMA: &str = concat!(
    "
CREATE TABLE destination (provider TEXT NOT NULL, pattern TEXT NOT NULL, nth INTEGER NOT NULL) STRICT;
CREATE TABLE counts (
    queued INTEGER NOT NULL, dead INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    damaged INTEGER NOT NULL, lost INTEGER NOT NULL, dead_letters_lost INTEGER NOT NULL,
    dead_dropped INTEGER NOT NULL
) STRICT;
INSERT INTO counts VALUES (0, 0, 1, 0, 0, 0, 0, 0);
CREATE TABLE queue (
    seq INTEGER PRIMARY KEY, attempts INTEGER NOT NULL,
    id BLOB NOT NULL, time INTEGER NOT NULL, profile TEXT NOT NULL, content_type TEXT NOT NULL,
    attributes TEXT, body BLOB NOT NULL, checksum INTEGER NOT NULL
) STRICT;
",
    packs!(),
    "CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    error TEXT NOT NULL, attempts INTEGER NOT NULL, first_attempt INTEGER NOT NULL, last_attempt INTEGER NOT NULL,
    id BLOB NOT NULL, time INTEGER NOT NULL, profile TEXT NOT NULL, content_type TEXT NOT NULL,
    attributes TEXT, body BLOB NOT NULL, checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE harm (
    damaged INTEGER NOT NULL, lost INTEGER NOT NULL, dead_letters_lost INTEGER NOT NULL, dead_dropped INTEGER NOT NULL
) STRICT;
INSERT INTO harm VALUES (0, 0, 0, 0);
"
);

/// Converts a store of format 1 to format 2.
const FROM_FORMAT_1: &str = "
BEGIN IMMEDIATE;
CREATE TEMP TABLE before AS SELECT queued, dead FROM counts;
DROP TABLE counts;
CREATE TABLE counts (
    queued INTEGER NOT NULL, dead INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    damaged INTEGER NOT NULL, lost INTEGER NOT NULL, dead_letters_lost INTEGER NOT NULL,
    dead_dropped INTEGER NOT NULL
) STRICT;
INSERT INTO counts SELECT queued, dead, coalesce((SELECT min(seq) FROM queue), 1),
    coalesce((SELECT max(seq) FROM queue), 0), 0, 0, 0, 0 FROM before;
DROP TABLE before;
CREATE TABLE harm (
    damaged INTEGER NOT NULL, lost INTEGER NOT NULL, dead_letters_lost INTEGER NOT NULL, dead_dropped INTEGER NOT NULL
) STRICT;
INSERT INTO harm VALUES (0, 0, 0, 0);
PRAGMA user_version = 2;
COMMIT;
";

/// Converts a store of format 2 to this format.
const FROM_FORMAT_2: &str = concat!(
    "
BEGIN IMMEDIATE;
",
    packs!(),
    "PRAGMA user_version = 4;
COMMIT;
"
);

/// Adds the numbers of dropped dead letters, which early stores of format 2 lack. The tables are created again,
/// because their text is compared with [`SCHEMA`].
const WITH_DEAD_DROPPED: &str = "
BEGIN IMMEDIATE;
CREATE TEMP TABLE before AS SELECT * FROM counts;
CREATE TEMP TABLE harm_before AS SELECT * FROM harm;
DROP TABLE counts;
DROP TABLE harm;
CREATE TABLE counts (
    queued INTEGER NOT NULL, dead INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    damaged INTEGER NOT NULL, lost INTEGER NOT NULL, dead_letters_lost INTEGER NOT NULL,
    dead_dropped INTEGER NOT NULL
) STRICT;
INSERT INTO counts SELECT queued, dead, first_seq, last_seq, damaged, lost, dead_letters_lost, 0 FROM before;
CREATE TABLE harm (
    damaged INTEGER NOT NULL, lost INTEGER NOT NULL, dead_letters_lost INTEGER NOT NULL, dead_dropped INTEGER NOT NULL
) STRICT;
INSERT INTO harm SELECT damaged, lost, dead_letters_lost, 0 FROM harm_before;
DROP TABLE before;
DROP TABLE harm_before;
COMMIT;
";

/// About the size of a dead letter; computing it does not read the pages of a long body.
pub(super) const LETTER_SIZE: &str = "(octet_length(body) + octet_length(profile) + \
    coalesce(octet_length(attributes), 0) + octet_length(error) + 100)";

/// Why a store was not opened.
#[derive(Debug)]
pub(super) enum OpenFault {
    /// The file's content is not what was written.
    Damage(String),
    /// Another error.
    State(StateError),
}

impl From<StateError> for OpenFault {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// Refuses a store if it, or a file beside it, is not a regular file: opening a named pipe would block.
pub(super) fn check_files(path: &Path) -> Result<(), StateError> {
    for ending in ["", "-wal", "-shm", "-journal", ".whole", ".salvaged"] {
        let path = beside(path, ending);
        // Other faults are reported when the file is opened.
        if let Err(NotRead::Is(kind)) = named_file::regular_if_there(&path) {
            return Err(StateError::NotAFile { path, kind });
        }
    }
    Ok(())
}

/// Opens a store for writing; creates it if it is missing.
pub(super) fn open(path: &Path, name: &StoreName) -> Result<Connection, OpenFault> {
    let fault = |error: rusqlite::Error| {
        if is_damage(&error) {
            OpenFault::Damage(error.to_string())
        } else {
            OpenFault::State(in_store("open", path)(error))
        }
    };
    check_files(path)?;
    // An earlier version of this program created an empty file first.
    let is_there = fs::metadata(path).is_ok_and(|found| found.len() > 0);
    if !is_there {
        make(path, name)?;
    }
    let store = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(fault)?;
    store.busy_timeout(BUSY).map_err(fault)?;
    match format_of(&store).map_err(fault)? {
        Format::Known => {}
        Format::Older(steps) => migrate(&store, steps).map_err(fault)?,
        Format::Newer(found) if is_flipped(&store, found).map_err(fault)? => {
            return Err(OpenFault::Damage(format!(
                "its format is {found}, but its tables are those of format {FORMAT} or an older one"
            )));
        }
        Format::Newer(found) => return Err(newer(path, found).into()),
        Format::Empty | Format::Foreign => {
            return Err(OpenFault::Damage("it is not an evbus store".to_owned()));
        }
    }
    configure(&store).map_err(fault)?;
    if destination(&store).map_err(fault)? != *name {
        return Err(OpenFault::Damage(
            "it belongs to another destination".to_owned(),
        ));
    }
    Ok(store)
}

/// Opens a store that another process may be writing to, to read it or to change dead letters.
pub(super) fn open_beside(path: &Path, write: bool) -> Result<Connection, StateError> {
    let access = if write {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    check_files(path)?;
    let store = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(in_store("open", path))?;
    store.busy_timeout(BUSY).map_err(in_store("open", path))?;
    match format_of(&store).map_err(in_store("read", path))? {
        Format::Known => Ok(store),
        // Their dead letters have the current format.
        Format::Older(_) if !write => Ok(store),
        Format::Older(steps) => {
            migrate(&store, steps).map_err(in_store("write", path))?;
            Ok(store)
        }
        Format::Newer(found) => Err(newer(path, found)),
        Format::Empty | Format::Foreign => Err(StateError::Store {
            action: "use",
            path: path.to_owned(),
            reason: "it is not an evbus store".to_owned(),
        }),
    }
}

/// Creates an empty store, completely or not at all: it gets its name once it is on disk. One transaction without a
/// journal, and one sync of each file, take a fifth of the time of `SQLite`'s own way.
fn make(path: &Path, name: &StoreName) -> Result<(), StateError> {
    let new = beside(path, ".new");
    remove_one(&new).map_err(at("remove", &new))?;
    let make = || {
        // Nobody else may read events; `SQLite` gives its other files the same mode.
        let file = (File::options().create_new(true).write(true).mode(0o600))
            .open(&new)
            .map_err(at("create the store", &new))?;
        fill(&new, name).map_err(in_store("create", &new))?;
        file.write_all_at(&LOGGED, LOGGED_AT)
            .and_then(|()| file.sync_all())
            .map_err(at("sync the store", &new))?;
        // Leftovers of a removed file do not belong to this one.
        for ending in ["-journal", "-wal", "-shm"] {
            let left = beside(path, ending);
            remove_one(&left).map_err(at("remove", &left))?;
        }
        fs::rename(&new, path).map_err(at("rename the store to", path))
    };
    make().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })?;
    // The file's name must survive a power failure as well as its content. If that fails, the file is made again.
    sync_dir_of(path).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// The versions of the file format for use with a log, where `SQLite` keeps them:
/// <https://sqlite.org/fileformat.html>, 1.3.3. This is what `PRAGMA journal_mode` writes, without its journal.
const LOGGED: [u8; 2] = [2, 2];
const LOGGED_AT: u64 = 18;

fn fill(path: &Path, name: &StoreName) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let store = Connection::open_with_flags(path, flags)?;
    create(&store, name)?;
    store.close().map_err(|(_, error)| error)
}

enum Format {
    Known,
    /// An older one, and the steps from there to this one.
    Older(&'static [&'static str]),
    Empty,
    Newer(i64),
    Foreign,
}

fn format_of(store: &Connection) -> rusqlite::Result<Format> {
    let pragma = |name: &str| -> rusqlite::Result<i64> {
        store.pragma_query_value(None, name, |row| row.get(0))
    };
    Ok(match (pragma("application_id")?, pragma("user_version")?) {
        (0, 0) => Format::Empty,
        (APPLICATION_ID, FORMAT) => Format::Known,
        (APPLICATION_ID, 2) if counts_dropped(store)? => Format::Older(&[FROM_FORMAT_2]),
        (APPLICATION_ID, 2) => Format::Older(&[WITH_DEAD_DROPPED, FROM_FORMAT_2]),
        (APPLICATION_ID, 1) => Format::Older(&[FROM_FORMAT_1, FROM_FORMAT_2]),
        (APPLICATION_ID, newer) if newer > FORMAT => Format::Newer(newer),
        _ => Format::Foreign,
    })
}

fn counts_dropped(store: &Connection) -> rusqlite::Result<bool> {
    store.query_row(
        "SELECT count(*) = 2 FROM pragma_table_list AS found, pragma_table_info(found.name) AS info \
         WHERE found.name IN ('counts', 'harm') AND info.name = 'dead_dropped'",
        [],
        |row| row.get(0),
    )
}

/// Whether a format that looks newer is this one with a flipped bit: then the tables are this format's too. A future
/// format has other tables, or a number that differs in more than one bit.
fn is_flipped(store: &Connection, found: i64) -> rusqlite::Result<bool> {
    let is_near = |format: i64| (found ^ format).count_ones() == 1;
    if !is_near(FORMAT) && !is_near(2) {
        return Ok(false);
    }
    let mut select = store.prepare(
        "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    )?;
    let tables = select.query_map([], |row| row.get::<_, String>(0))?;
    let tables = tables.collect::<rusqlite::Result<Vec<_>>>()?;
    let all = SCHEMA.matches("CREATE TABLE").count();
    // Format 2 has no packs.
    let is_number =
        (is_near(FORMAT) && tables.len() == all) || (is_near(2) && tables.len() == all - 1);
    Ok(is_number && tables.iter().all(|table| SCHEMA.contains(&**table)))
}

fn newer(path: &Path, found: i64) -> StateError {
    StateError::NewerFormat {
        path: path.to_owned(),
        found,
        expected: FORMAT,
    }
}

/// Turns an empty file into a store, without syncing or rollback: for a file that is thrown away unless it is
/// completed.
pub(super) fn create(store: &Connection, name: &StoreName) -> rusqlite::Result<()> {
    store.pragma_update(None, "synchronous", "OFF")?;
    store.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    store.pragma_update(None, "journal_mode", "OFF")?;
    store.pragma_update(None, "page_size", 4096)?;
    // Has no effect once there are tables; it allows freed pages to be given back.
    store.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    store.execute_batch(&format!("BEGIN;{SCHEMA}"))?;
    store.execute(
        "INSERT INTO destination VALUES (?, ?, ?)",
        params![name.provider, name.pattern, name.nth],
    )?;
    store.pragma_update(None, "application_id", APPLICATION_ID)?;
    store.pragma_update(None, "user_version", FORMAT)?;
    store.execute_batch("COMMIT")
}

fn migrate(store: &Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let done = steps.iter().try_for_each(|step| store.execute_batch(step));
    if done.is_err() && !store.is_autocommit() {
        // The first error is the one that is reported.
        let _ = store.execute_batch("ROLLBACK");
    }
    done
}

fn configure(store: &Connection) -> rusqlite::Result<()> {
    store.pragma_update(None, "journal_mode", "WAL")?;
    // Commits of durable events raise this; see `writer`.
    store.pragma_update(None, "synchronous", "NORMAL")?;
    // 2 MiB of pages are cached, and the log is truncated to 16 MiB.
    store.pragma_update(None, "cache_size", -2048)?;
    store.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
    store.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// The entry that a store belongs to.
pub(super) fn destination(store: &Connection) -> rusqlite::Result<StoreName> {
    store.query_row(
        "SELECT provider, pattern, nth FROM destination",
        [],
        |row| {
            Ok(StoreName {
                provider: row.get(0)?,
                pattern: row.get(1)?,
                nth: row.get(2)?,
            })
        },
    )
}

/// What a store has lost to damage, or to the bound of its dead letters, in total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Harm {
    /// Records of the queue whose remains are dead letters.
    pub(super) damaged: i64,
    /// Records of the queue that are gone.
    pub(super) lost: i64,
    pub(super) dead_letters_lost: i64,
    /// Dead letters dropped for lack of room.
    pub(super) dead_dropped: i64,
}

/// Adds to a store's losses, within the transaction that records them.
pub(super) fn add_harm(transaction: &Connection, more: Harm) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE counts SET damaged = damaged + ?, lost = lost + ?, \
         dead_letters_lost = dead_letters_lost + ?, dead_dropped = dead_dropped + ?",
        [
            more.damaged,
            more.lost,
            more.dead_letters_lost,
            more.dead_dropped,
        ],
    )?;
    transaction.execute_batch(
        "UPDATE harm SET (damaged, lost, dead_letters_lost, dead_dropped) = \
         (SELECT damaged, lost, dead_letters_lost, dead_dropped FROM counts)",
    )
}

/// Sets a store's losses, within a transaction.
pub(super) fn set_harm(transaction: &Connection, harm: Harm) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "UPDATE counts SET damaged = 0, lost = 0, dead_letters_lost = 0, dead_dropped = 0",
    )?;
    add_harm(transaction, harm)
}

/// The statement that adds an event to the queue, or replaces what is known of it.
pub(super) fn insert_queued() -> String {
    format!("INSERT OR REPLACE INTO queue (seq, attempts, {COLUMNS}) VALUES (?, ?, {PARAMETERS})")
}

/// The statement that adds a dead letter.
pub(super) fn insert_dead() -> String {
    format!(
        "INSERT INTO dead_letters (error, attempts, first_attempt, last_attempt, {COLUMNS}) VALUES (?, ?, ?, ?, {PARAMETERS})"
    )
}
