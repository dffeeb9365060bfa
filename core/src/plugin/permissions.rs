//! Whether another user could have written a file.
//!
//! A plugin runs with all rights of the host, so a file is used only where it and its directory
//! belong to the host's user or to root and nobody else may write to them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Checks one file or directory.
///
/// # Errors
///
/// One sentence on what is wrong and what to do.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let us = rustix::process::geteuid().as_raw();
    let what = if metadata.is_dir() {
        "directory"
    } else {
        "file"
    };
    if metadata.uid() != us && metadata.uid() != 0 {
        return Err(format!(
            "{what} {} belongs to user {}; expected user {us} or root, since another user could put \
             code into the host",
            path.display(),
            metadata.uid(),
        ));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(format!(
            "{what} {} has mode {mode:04o}, so other users can write to it; run: chmod go-w {}",
            path.display(),
            path.display(),
        ));
    }
    Ok(())
}
