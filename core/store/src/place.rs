//! Ensures that the file being written is the one that the next start finds.
//!
//! Somebody may remove or replace the files of a running host. Further writes then go to files without a
//! name, and are lost when the process ends. So the names are compared with the open files before each
//! commit and before it is reported; if they differ, the whole store, which can still be read, is
//! written again under its name.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rusqlite::Connection;

use super::full_disk::{at, in_store};
use super::state_dir::sync_dir_of;
use super::writer::Writer;
use super::{StateDir, StateError, beside, schema};
use evbus_event::now_unix_ns;

/// A file, whatever its name: device and inode.
type Id = (u64, u64);

pub(super) fn id(found: &Metadata) -> Id {
    (found.dev(), found.ino())
}

fn id_at(path: &Path) -> Option<Id> {
    fs::metadata(path).ok().map(|found| id(&found))
}

/// The files that a store was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    file: Option<Id>,
    log: Option<Id>,
    index: Option<Id>,
}

impl Place {
    /// Must be called right after opening the store. Opening and closing one of these files here would release the
    /// store's locks on it.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            file: id_at(path),
            log: id_at(&beside(path, "-wal")),
            index: id_at(&beside(path, "-shm")),
        }
    }
}

impl Writer {
    /// Makes sure that the open store is the file at its path; returns why it is not.
    pub(super) fn stay_in_place(&mut self) -> Result<(), String> {
        let is_here = self.place == Place::of(&self.path) && self.state.is_held();
        if is_here && !self.astray {
            return Ok(());
        }
        if !self.astray && !is_on_disk(&self.store) {
            // It is being replaced.
            return Ok(());
        }
        self.astray = true;
        self.write_again().map_err(|error| {
            format!(
                "the files of store {} were removed or replaced while the host was running, and cannot be written again: {error}",
                self.path.display()
            )
        })?;
        self.astray = false;
        tracing::error!(
            "store {:?}: its files were removed or replaced while the host was running; it was written again with all its records; stop the host before you touch its state directory",
            self.path
        );
        Ok(())
    }

    fn write_again(&mut self) -> Result<(), StateError> {
        self.state.hold_again()?;
        let whole = beside(&self.path, ".whole");
        if is_on_disk(&self.store) {
            let part = beside(&self.path, ".part");
            match fs::remove_file(&part) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at("remove", &part)(error));
                }
                _ => {}
            }
            // Nobody else may read it; SQLite treats an empty file as a new one.
            let file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&part)
                .map_err(at("create", &part))?;
            (self.store)
                .execute("VACUUM INTO ?", [part.to_string_lossy()])
                .map_err(in_store("copy", &self.path))?;
            file.sync_all().map_err(at("sync", &part))?;
            fs::rename(&part, &whole).map_err(at("rename", &part))?;
            sync_dir_of(&whole)?;
            for ending in ["", "-wal"] {
                let path = beside(&self.path, ending);
                let found = id_at(&path);
                let own = if ending.is_empty() {
                    self.place.file
                } else {
                    self.place.log
                };
                if found.is_some() && found != own {
                    put_aside(&self.state, &path)?;
                }
            }
            // Closing removes the log by name, so it must happen before the new store has one.
            self.store = Connection::open_in_memory().map_err(in_store("close", &self.path))?;
        }
        for ending in ["-wal", "-shm"] {
            // These are the store's own, or do not exist.
            let _ = fs::remove_file(beside(&self.path, ending));
        }
        match fs::rename(&whole, &self.path) {
            // An earlier attempt got this far.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.path.exists() => {}
            renamed => renamed.map_err(at("rename", &whole))?,
        }
        sync_dir_of(&self.path)?;
        self.store = schema::open(&self.path, &self.name).map_err(|fault| match fault {
            schema::OpenFault::State(error) => error,
            schema::OpenFault::Damage(reason) => StateError::Store {
                action: "open",
                path: self.path.clone(),
                reason,
            },
        })?;
        // The first query creates the log.
        let _ = schema::destination(&self.store);
        self.place = Place::of(&self.path);
        Ok(())
    }
}

/// Completes a rewrite that a host had not finished: the copy is complete.
pub(super) fn finish(state: &StateDir, path: &Path) -> Result<(), StateError> {
    let whole = beside(path, ".whole");
    if !whole.exists() {
        return Ok(());
    }
    for path in [path.to_owned(), beside(path, "-wal")] {
        if path.exists() {
            put_aside(state, &path)?;
        }
    }
    let _ = fs::remove_file(beside(path, "-shm"));
    fs::rename(&whole, path).map_err(at("rename", &whole))?;
    sync_dir_of(path)
}

/// Moves a file that is not this host's to the quarantine.
fn put_aside(state: &StateDir, path: &Path) -> Result<(), StateError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kept = (state.quarantine()).join(format!("{}-{name}", now_unix_ns()));
    fs::rename(path, &kept).map_err(at("move", path))?;
    tracing::error!("{path:?} is not the file that this host wrote; it is kept at {kept:?}");
    Ok(())
}

pub(super) fn is_on_disk(store: &Connection) -> bool {
    store.path().is_some_and(|path| !path.is_empty())
}
