//! Which directories are searched for plugins, and which files in them are considered.

use std::path::{Path, PathBuf};

use super::registry::is_looked_at;
use super::trusted_path::{self, Unusable};

/// Searched after the given directories, in this order, if they exist.
const SYSTEM_DIRS: [&str; 2] = ["/usr/local/lib/evbus/plugins", "/usr/lib/evbus/plugins"];

/// A directory that is searched for plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginDir {
    /// Where it is.
    pub path: PathBuf,
    /// Why it is searched.
    pub source: PluginDirSource,
}

/// Why a directory is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PluginDirSource {
    /// Given by a flag or by the embedding program.
    Given,
    /// From `EVBUS_PLUGIN_PATH`.
    Environment,
    /// A default; it need not exist.
    Default,
}

/// The directories to search, in order: those given, those of `EVBUS_PLUGIN_PATH` (joined by
/// colons), the user's (`$XDG_DATA_HOME/evbus/plugins`, `~/.local/share/evbus/plugins`) and the
/// system's. A directory that is listed twice is searched once.
pub fn plugin_dirs(given: &[PathBuf]) -> Vec<PluginDir> {
    let environment = std::env::var_os("EVBUS_PLUGIN_PATH").unwrap_or_default();
    let user = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")))
        .map(|data| data.join("evbus/plugins"));
    let given = given
        .iter()
        .cloned()
        .map(|path| (path, PluginDirSource::Given));
    let environment = std::env::split_paths(&environment)
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| (path, PluginDirSource::Environment));
    let defaults = user
        .into_iter()
        .chain(SYSTEM_DIRS.map(PathBuf::from))
        .map(|path| (path, PluginDirSource::Default));

    let mut dirs: Vec<PluginDir> = Vec::new();
    for (path, source) in given.chain(environment).chain(defaults) {
        if !dirs.iter().any(|dir| dir.path == path) {
            dirs.push(PluginDir { path, source });
        }
    }
    dirs
}

/// The plugin files of a directory, in name order.
///
/// # Errors
///
/// One sentence on why the directory is not used; an absent default is an empty one.
pub(crate) fn plugin_files(dir: &PluginDir) -> Result<Vec<PathBuf>, String> {
    // If it does not exist, it does not matter who owns the directories above.
    if dir.source == PluginDirSource::Default && !dir.path.exists() {
        return Ok(Vec::new());
    }
    let (origin, correct) = match dir.source {
        PluginDirSource::Environment => (
            ", but EVBUS_PLUGIN_PATH names it",
            "correct EVBUS_PLUGIN_PATH",
        ),
        PluginDirSource::Given | PluginDirSource::Default => ("", "give another"),
    };
    let names = trusted_path::names_in(&dir.path).map_err(|unusable| match unusable {
        Unusable::Absent => {
            format!("the directory does not exist{origin}; create it, or {correct}")
        }
        Unusable::NotADirectory => format!(
            "it is not a directory{origin}; expected the directory that contains the plugin files: {correct}"
        ),
        Unusable::Because(reason) => reason,
    })?;
    let mut files: Vec<PathBuf> = names
        .iter()
        .filter(|name| is_looked_at(name))
        .map(|name| dir.path.join(name))
        .collect();
    files.sort();
    Ok(files)
}
