//! The plugins of this process: what is loaded stays, what changes is loaded anew.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::catalog::Found;
use super::discovery::{PluginDir, plugin_files};
use super::{Catalog, Plugin, elf, permissions};

/// No plugin is this large; a larger file is refused before it is read.
const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// Plugins by the content of their files.
///
/// A file whose content was seen before, under whatever name, is not loaded again. One whose
/// content changed is loaded beside the old one, which goes on serving whoever still uses it.
#[derive(Debug)]
pub struct Registry {
    dirs: Vec<PluginDir>,
    linked: Vec<Arc<Plugin>>,
    seen: HashMap<PathBuf, (Stamp, Result<Arc<Plugin>, String>)>,
    by_hash: HashMap<String, Arc<Plugin>>,
}

/// Changes whenever a file's content may have changed.
type Stamp = (u64, u64, u64, i64, i64, i64, i64, u32, u32);

impl Registry {
    /// A registry that searches these directories, in order. Plugins that are `linked` into this
    /// program come first.
    pub fn new(dirs: Vec<PluginDir>, linked: Vec<Arc<Plugin>>) -> Self {
        Self {
            dirs,
            linked,
            seen: HashMap::new(),
            by_hash: HashMap::new(),
        }
    }

    /// The directories that are searched.
    pub fn dirs(&self) -> &[PluginDir] {
        &self.dirs
    }

    /// Looks at every file of every directory and loads what is new.
    ///
    /// Blocks for reading and loading; files that did not change cost a `stat`. A file that cannot
    /// be used is in the catalog's reports with its reason and stops nothing.
    pub fn scan(&mut self) -> Catalog {
        let mut found: Vec<Found> = self
            .linked
            .iter()
            .map(|plugin| (None, Ok(Arc::clone(plugin))))
            .collect();
        let mut files = Vec::new();
        for dir in &self.dirs {
            match plugin_files(dir) {
                Ok(listed) => files.extend(listed),
                Err(reason) => found.push((Some(dir.path.clone()), Err(reason))),
            }
        }
        self.seen.retain(|path, _| files.contains(path));
        for (path, loaded) in self.load_changed(&files) {
            if let Ok((hash, plugin)) = &loaded.1 {
                self.by_hash
                    .entry(hash.clone())
                    .or_insert_with(|| Arc::clone(plugin));
            }
            self.seen
                .insert(path, (loaded.0, loaded.1.map(|(_, plugin)| plugin)));
        }
        for path in files {
            if let Some((_, loaded)) = self.seen.get(&path) {
                let loaded = loaded.clone();
                found.push((Some(path), loaded));
            }
        }
        Catalog::new(found)
    }

    /// Loads the files that changed, side by side: at start-up that is all of them, and reading,
    /// hashing and linking them takes most of the time until the host is ready.
    fn load_changed(&self, files: &[PathBuf]) -> Vec<(PathBuf, LoadedFile)> {
        std::thread::scope(|scope| {
            let loading: Vec<_> = files
                .iter()
                .filter_map(|path| {
                    let stamp = stamp(path);
                    let known = self.seen.get(path).is_some_and(|(seen, _)| *seen == stamp);
                    (!known).then(|| {
                        let task = scope.spawn(move || load(path, &self.by_hash));
                        (path, stamp, task)
                    })
                })
                .collect();
            loading
                .into_iter()
                .map(|(path, stamp, task)| {
                    let loaded = task
                        .join()
                        .unwrap_or_else(|_| Err("loading it failed unexpectedly".to_owned()));
                    (path.clone(), (stamp, loaded))
                })
                .collect()
        })
    }
}

/// A file's stamp, and what loading it gave.
type LoadedFile = (Stamp, Result<(String, Arc<Plugin>), String>);

fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).map_or_else(
        |_| Stamp::default(),
        |m| {
            (
                m.dev(),
                m.ino(),
                m.len(),
                m.mtime(),
                m.mtime_nsec(),
                m.ctime(),
                m.ctime_nsec(),
                m.mode(),
                m.uid(),
            )
        },
    )
}

/// Opens one file, as a scan would.
///
/// # Errors
///
/// One sentence: why a host would refuse it.
pub fn inspect(file: &Path) -> Result<Arc<Plugin>, String> {
    load(file, &HashMap::new()).map(|(_, plugin)| plugin)
}

fn load(
    path: &Path,
    by_hash: &HashMap<String, Arc<Plugin>>,
) -> Result<(String, Arc<Plugin>), String> {
    // A link is as trustworthy as the place it leads to.
    let target = fs::canonicalize(path).map_err(|error| format!("it cannot be read: {error}"))?;
    permissions::check(&target)?;
    if let Some(parent) = target.parent() {
        permissions::check(parent)?;
    }
    let metadata = fs::metadata(&target).map_err(|error| format!("it cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("it is no regular file; expected a shared library".to_owned());
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(format!(
            "it is {} bytes long; expected at most {MAX_FILE_BYTES}",
            metadata.len()
        ));
    }
    let bytes = fs::read(&target).map_err(|error| format!("it cannot be read: {error}"))?;
    elf::check(&bytes)?;
    let hash = hex(&Sha256::digest(&bytes));
    if let Some(plugin) = by_hash.get(&hash) {
        return Ok((hash, Arc::clone(plugin)));
    }
    let plugin = Plugin::load(path, &bytes, &hash)?;
    Ok((hash, Arc::new(plugin)))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('?');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
