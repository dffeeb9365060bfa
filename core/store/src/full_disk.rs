//! Distinguishes a full disk from other disk errors.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::fs::statvfs;

use super::StateError;
use super::state_dir::QUEUES;

/// A file system with less free space counts as full: what `SQLite` keeps beside a file alone takes 32 KiB.
const LEAST_ROOM: u64 = 64 * 1024;

/// The error of a file operation.
pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| {
        if is_full_file(&source) {
            return full(action, path);
        }
        StateError::System {
            action,
            path,
            source,
        }
    }
}

/// The error of an operation of the embedded store.
pub(super) fn in_store(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(rusqlite::Error) -> StateError {
    let path = path.to_owned();
    move |error| {
        if is_full(&error, &path) {
            return full(action, path);
        }
        StateError::Store {
            action,
            path,
            reason: error.to_string(),
        }
    }
}

/// Whether a file operation found no room.
pub(super) fn is_full_file(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether an operation on the store at `path` found no room. For some files beside the store, `SQLite` reports only
/// an I/O error.
pub(super) fn is_full(error: &rusqlite::Error, path: &Path) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => true,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => has_no_room(path),
        _ => false,
    }
}

fn has_no_room(path: &Path) -> bool {
    let dir = path.parent().unwrap_or(path);
    statvfs(dir).is_ok_and(|found| {
        let room = found.f_bavail.saturating_mul(found.f_frsize);
        // Some file systems do not limit the number of files.
        room < LEAST_ROOM || (found.f_files > 0 && found.f_favail == 0)
    })
}

pub(super) fn full(action: &'static str, path: PathBuf) -> StateError {
    let parent = path.parent().unwrap_or(&path);
    let dir = match parent.file_name() {
        Some(name) if name == QUEUES => parent.parent().unwrap_or(parent),
        _ => parent,
    };
    StateError::Full {
        dir: dir.to_owned(),
        action,
        path,
    }
}
