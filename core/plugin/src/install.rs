//! `evbus plugins install`: puts a file where the host finds it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Plugin, PluginDir, PluginReport, Registry, elf, inspect, trusted_path};
use evbus_files::{named_file, usable_dir};

/// A larger file is not a plugin, in bytes.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// Copies a plugin file into a directory, completely or not at all, with modes that the host accepts; a
/// running host uses it at once. The directory is created if it is missing. `searched` are the
/// directories that the host searches. `program` probes the file first, see
/// [`Registry::trying`](super::Registry::trying).
///
/// # Errors
///
/// One sentence: the file is not a plugin for this host, the directory cannot be used, or another file
/// that the host finds has the same plugin id, so that it would use neither.
pub fn install(
    file: &Path,
    dir: &Path,
    searched: &[PluginDir],
    program: Option<&Path>,
) -> Result<(PathBuf, Arc<Plugin>), String> {
    let mut bytes = Vec::new();
    named_file::read(file, MAX_BYTES, &mut bytes)
        .map_err(|error| format!("{}: {error}", file.display()))?;
    elf::read(&*bytes).map_err(|reason| format!("{}: {reason}", file.display()))?;
    let name = file
        .file_name()
        .ok_or_else(|| format!("{}: expected the path of a file", file.display()))?;
    if file.extension().is_none_or(|extension| extension != "so") {
        return Err(format!(
            "{}: the name must end in .so, because the host ignores other files",
            file.display()
        ));
    }
    usable_dir::make(dir, 0o755).map_err(|error| format!("{}: {error}", dir.display()))?;
    trusted_path::names_in(dir)?;
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
    // A file that would be refused must not replace one that works.
    let plugin =
        inspect(copy.path(), program).map_err(|reason| format!("{}: {reason}", file.display()))?;
    let target = dir.join(name);
    if let Some(other) = namesake(&plugin, &target, searched) {
        return Err(format!(
            "{}: {} has the same plugin id {} but different content, so a host would use neither; remove that file, or replace it by this one",
            file.display(),
            other.display(),
            plugin.id(),
        ));
    }
    copy.persist(&target).map_err(|error| at(&error.error))?;
    Ok((target, plugin))
}

/// Another file than `target` that has the plugin's id and different content.
fn namesake(plugin: &Plugin, target: &Path, searched: &[PluginDir]) -> Option<PathBuf> {
    let replaced = place_of(target);
    let reports = Registry::new(searched.to_vec(), Vec::new())
        .scan()
        .reports();
    let others = (reports.into_iter())
        .filter(|report| report.id.as_deref() == Some(plugin.id()))
        .map(PluginReport::with_hash)
        .filter(|report| report.hash.as_deref() != plugin.hash());
    // After the replacement, a link to the old file leads to the new one.
    let is_replaced =
        |other: &Path| place_of(other) == replaced || other.canonicalize().ok() == replaced;
    others
        .filter_map(|report| report.file)
        .find(|other| !is_replaced(other))
}

/// The file's name in the canonical path of its directory; the file itself may be a link.
fn place_of(file: &Path) -> Option<PathBuf> {
    Some(file.parent()?.canonicalize().ok()?.join(file.file_name()?))
}
