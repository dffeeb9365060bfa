//! What to do with a store that is damaged: keep it aside, read what can be read, go on.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::record::{self, COLUMNS};
use super::schema::{self, OpenFault};
use super::state_dir::{at, in_store};
use super::{StateDir, StateError, StoreName, wal};
use crate::event::now_unix_ns;

/// The size of a page; stores are made with `SQLite`'s default.
const PAGE: usize = 4096;

/// The tables, their keys, and what stands before the event's own columns.
const TABLES: [(&str, &str, &str); 2] = [
    ("queue", "seq", "attempts"),
    (
        "dead_letters",
        "number",
        "error, attempts, first_attempt, last_attempt",
    ),
];

/// How many places in a row may be unreadable before the rest is given up.
const MAX_LOOK_UPS: i64 = 20_000;

/// Opens a store; one that is damaged is mended or replaced. Gives how many records were lost.
pub(super) fn open(
    state: &StateDir,
    path: &Path,
    name: &StoreName,
) -> Result<(Connection, u64), StateError> {
    let log = beside(path, "-wal");
    if let Some(mended) = wal::read(&log).map_err(at("read the log of the store", &log))? {
        let kept = aside(state, path);
        for (from, to) in [(path, kept.clone()), (&*log, beside(&kept, "-wal"))] {
            fs::copy(from, &to).map_err(at("keep a copy of the damaged store at", &to))?;
        }
        tracing::error!(
            "the log of store {path:?} is damaged; {} pages behind the damage are recovered, and the log as it was is kept at {kept:?}",
            mended.frames
        );
        replace_whole(&log, &mended.log).map_err(at("mend the log of the store", &log))?;
        // The index of the log is made anew.
        let _ = fs::remove_file(beside(path, "-shm"));
    }
    match schema::open(path, name) {
        Ok(store) => Ok((store, 0)),
        Err(OpenFault::Damage(why)) => replace(state, path, name, &why),
        Err(OpenFault::State(error)) => Err(error),
    }
}

/// Writes a file anew; a crash in the middle leaves the old one.
fn replace_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    let mut file = (fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true))
    .mode(0o600)
    .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// Moves a damaged store, which must not be open, into the quarantine and makes a new one of what
/// can be read. Gives how many records were lost.
pub(super) fn replace(
    state: &StateDir,
    path: &Path,
    name: &StoreName,
    why: &str,
) -> Result<(Connection, u64), StateError> {
    let kept = aside(state, path);
    fs::rename(path, &kept).map_err(at("move the damaged store to", &kept))?;
    let log = beside(path, "-wal");
    if log.exists() {
        let log_kept = beside(&kept, "-wal");
        fs::rename(&log, &log_kept).map_err(at("move the damaged store to", &log_kept))?;
    }
    // The index of the log, which is made anew.
    let _ = fs::remove_file(beside(path, "-shm"));
    let mut store = match schema::open(path, name) {
        Ok(store) => store,
        Err(OpenFault::State(error)) => return Err(error),
        Err(OpenFault::Damage(reason)) => {
            return Err(StateError::Store {
                action: "make",
                path: path.to_owned(),
                reason,
            });
        }
    };
    let read = copy(&kept, path, &mut store).map_err(in_store("write", path))?;
    let lost = read
        .expected
        .map(|expected| (expected - read.copied).max(0));
    tracing::error!(
        "store {path:?} is damaged ({why}); {} records were read and {} were lost, and the damaged file is kept at {kept:?}",
        read.copied,
        lost.map_or_else(
            || "an unknown number of".to_owned(),
            |lost| lost.to_string()
        ),
    );
    Ok((
        store,
        lost.unwrap_or_default().max(read.damaged).cast_unsigned(),
    ))
}

/// Where a damaged store is kept.
fn aside(state: &StateDir, path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    // Nanoseconds: two stores of one name are not damaged in the same one.
    state
        .quarantine()
        .join(format!("{stem}-{}.db", now_unix_ns()))
}

/// A file that `SQLite` keeps beside a store.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// What was read from a damaged store.
#[derive(Default)]
struct Read {
    copied: i64,
    damaged: i64,
    /// How many records there should have been.
    expected: Option<i64>,
}

/// Opens a damaged store for reading.
///
/// Its first page describes all others, and is the same in every store of this format but for what
/// only writing needs; where the file cannot be read with its own, it is read with the new store's.
/// That is done to a working copy, beside the file as it was.
fn open_damaged(damaged: &Path, new: &Path) -> Option<Connection> {
    let readable = |path: &Path| {
        let store = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
        for (table, key, more) in TABLES {
            // Preparing it reads what the first page says of the table.
            store
                .prepare(&format!("SELECT {key}, {more}, {COLUMNS} FROM {table}"))
                .ok()?;
        }
        Some(store)
    };
    if let Some(store) = readable(damaged) {
        return Some(store);
    }
    let working = damaged.with_added_extension("mended");
    let page = fs::read(new).ok()?.get(..PAGE)?.to_vec();
    let mut content = fs::read(damaged).ok()?;
    let pages = u32::try_from(content.len() / PAGE).ok()?;
    content.get_mut(..PAGE)?.copy_from_slice(&page);
    // How many pages there are, and no list of free ones.
    content[28..32].copy_from_slice(&pages.to_be_bytes());
    content[32..40].fill(0);
    fs::write(&working, content).ok()?;
    let log = beside(damaged, "-wal");
    if log.exists() {
        fs::copy(&log, beside(&working, "-wal")).ok()?;
    }
    readable(&working)
}

fn copy(damaged: &Path, new: &Path, store: &mut Connection) -> rusqlite::Result<Read> {
    let mut read = Read::default();
    // Its pages are to be in the file, not in the log.
    store.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    let Some(old) = open_damaged(damaged, new) else {
        return Ok(read);
    };
    let counted: rusqlite::Result<(i64, i64)> =
        old.query_row("SELECT queued, dead FROM counts", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        });
    if let Ok((queued, dead)) = counted {
        read.expected = Some(queued + dead);
    }
    let transaction = store.transaction()?;
    for (table, key, more) in TABLES {
        let copied = copy_table(&old, &transaction, (table, key, more), &mut read)?;
        let column = if table == "queue" { "queued" } else { "dead" };
        transaction.execute(&format!("UPDATE counts SET {column} = ?"), [copied])?;
        read.copied += copied;
    }
    transaction.commit()?;
    Ok(read)
}

/// Copies all rows of a table that can be read and are what was written.
fn copy_table(
    old: &Connection,
    new: &Connection,
    (table, key, more): (&str, &str, &str),
    read: &mut Read,
) -> rusqlite::Result<i64> {
    let columns = format!("{key}, {more}, {COLUMNS}");
    let width = columns.split(',').count();
    let first = width - COLUMNS.split(',').count();
    let parameters = vec!["?"; width].join(", ");
    let mut insert = new.prepare(&format!(
        "INSERT OR IGNORE INTO {table} ({columns}) VALUES ({parameters})"
    ))?;
    let mut copied = 0;
    let mut take = |row: &rusqlite::Row<'_>| -> rusqlite::Result<i64> {
        let at: i64 = row.get(0)?;
        let place = if table == "queue" {
            at.cast_unsigned()
        } else {
            record::NO_PLACE
        };
        match record::read(row, first, place) {
            Ok(_) => {
                for column in 0..width {
                    insert.raw_bind_parameter(
                        column + 1,
                        row.get::<_, rusqlite::types::Value>(column)?,
                    )?;
                }
                copied += changed(insert.raw_execute()?);
            }
            Err(_) => read.damaged += 1,
        }
        Ok(at)
    };
    let Ok(mut select) = old.prepare(&format!(
        "SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key}"
    )) else {
        return Ok(0);
    };
    let mut last = i64::MIN;
    let mut forward = |last: &mut i64| -> rusqlite::Result<()> {
        let mut rows = select.query([*last])?;
        while let Some(row) = rows.next()? {
            *last = take(row)?;
        }
        Ok(())
    };
    if forward(&mut last).is_ok() {
        return Ok(copied);
    }
    // Behind the unreadable page there may be readable ones, which are found by their keys.
    let highest: i64 = old
        .query_row(&format!("SELECT max({key}) FROM {table}"), [], |row| {
            row.get(0)
        })
        .unwrap_or(i64::MAX);
    let mut look_up = old.prepare(&format!("SELECT {columns} FROM {table} WHERE {key} = ?"))?;
    let mut wanted = last.max(0) + 1;
    let mut given_up = wanted.saturating_add(MAX_LOOK_UPS);
    while wanted <= highest.min(given_up) {
        // What cannot be read now never will be.
        if look_up.query_row([wanted], |row| take(row)).is_ok() {
            given_up = wanted.saturating_add(MAX_LOOK_UPS);
        }
        wanted += 1;
    }
    Ok(copied)
}

fn changed(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
