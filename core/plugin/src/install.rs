//! `evbus plugins install`: puts a file where the host finds it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{elf, inspect, place};
use evbus_files::{named_file, usable_dir};

/// A larger file is not a plugin, in bytes.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// Copies a plugin file into a directory, whole or not at all, with modes that the host accepts;
/// a running host uses it at once. The directory is created where it is absent. `program` tries the
/// file first, see [`Registry::trying`](super::Registry::trying).
///
/// # Errors
///
/// One sentence: the file is no plugin for this host, or the directory cannot be used.
pub fn install(file: &Path, dir: &Path, program: Option<&Path>) -> Result<PathBuf, String> {
    let mut bytes = Vec::new();
    named_file::read(file, MAX_BYTES, &mut bytes)
        .map_err(|error| format!("{}: {error}", file.display()))?;
    elf::read(&*bytes).map_err(|reason| format!("{}: {reason}", file.display()))?;
    let name = file
        .file_name()
        .ok_or_else(|| format!("{}: expected the path of a file", file.display()))?;
    if file.extension().is_none_or(|extension| extension != "so") {
        return Err(format!(
            "{}: expected a name that ends in .so, since the host looks at no other",
            file.display()
        ));
    }
    usable_dir::make(dir, 0o755).map_err(|error| format!("{}: {error}", dir.display()))?;
    place::names_in(dir)?;
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", dir.display());
    let mut copy = tempfile::Builder::new()
        .prefix(".installing-")
        .tempfile_in(dir)
        .map_err(|error| at(&error))?;
    copy.write_all(&bytes)
        .and_then(|()| {
            copy.as_file()
                .set_permissions(fs::Permissions::from_mode(0o644))
        })
        .and_then(|()| copy.as_file().sync_all())
        .map_err(|error| at(&error))?;
    // A file that would be refused shall not replace one that works.
    inspect(copy.path(), program).map_err(|reason| format!("{}: {reason}", file.display()))?;
    let target = dir.join(name);
    copy.persist(&target).map_err(|error| at(&error.error))?;
    Ok(target)
}
