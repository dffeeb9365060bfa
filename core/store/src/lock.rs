//! The lock of a state directory: one host at a time writes in it.

use std::path::Path;

use evbus_files::lock::FileLock;

use super::full_disk::at;
use super::state_dir::StateError;

const FILE: &str = "lock";

/// Reports what would keep any process from taking the lock of a directory.
pub(super) fn examine(dir: &Path) -> Result<(), StateError> {
    let path = dir.join(FILE);
    FileLock::examine(&path).map_err(at("lock the state directory with", &path))
}

/// Takes the lock of a directory; creates its file, which remains.
pub(super) fn take(dir: &Path) -> Result<FileLock, StateError> {
    let path = dir.join(FILE);
    let taken = FileLock::take(&path).map_err(at("lock the state directory with", &path))?;
    taken.ok_or_else(|| StateError::InUse {
        path: dir.to_owned(),
    })
}
