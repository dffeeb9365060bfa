//! The plugin files of this process: loaded ones stay, changed ones are examined again.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Stat;

use super::candidate::Candidate;
use super::catalog::Found;
use super::discovery::{PluginDir, plugin_files};
use super::loading::{Loading, PluginFile};
use super::patience::Patience;
use super::{Catalog, Plugin};

/// Plugin files, each examined once until it changes.
///
/// A file with the same content as a loaded one is not loaded again, whatever its name. A file with
/// changed content is loaded beside the old version, which continues to serve those who still use it.
#[derive(Debug, Default)]
pub struct Registry {
    dirs: Vec<PluginDir>,
    linked: Vec<Arc<Candidate>>,
    seen: HashMap<PathBuf, (Stamp, Result<Arc<Candidate>, String>)>,
    /// Those that were loaded or are still in use somewhere.
    known: Vec<Arc<Candidate>>,
    loading: Arc<Loading>,
}

/// Changes whenever a file's content may have changed.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64, u32, u32)>;

impl Registry {
    /// A registry that searches these directories, in order. Plugins that are `linked` into this
    /// program come first.
    pub fn new(dirs: Vec<PluginDir>, linked: Vec<Arc<Plugin>>) -> Self {
        let linked = linked.into_iter().map(Candidate::linked).map(Arc::new);
        Self {
            dirs,
            linked: linked.collect(),
            ..Self::default()
        }
    }

    /// First probes each file that was never loaded in a process of `program` (see
    /// `HostBuilder::isolation_program`), and remembers in `state_dir`, if there is one, which files
    /// passed. Without a program, files are loaded without a probe.
    #[must_use]
    pub fn trying(mut self, program: Option<Arc<Path>>, state_dir: Option<&Path>) -> Self {
        self.change(|loading| loading.trying(program, state_dir));
        self
    }

    /// Loads copies that it keeps in a directory of mode 0700, which a debugger can read, instead of
    /// copies in memory.
    #[must_use]
    pub fn keeping_copies(mut self, dir: Option<PathBuf>) -> Self {
        self.change(|loading| loading.keeping_copies(dir));
        self
    }

    fn change(&mut self, change: impl FnOnce(&mut Loading)) {
        // Nobody else holds it before the first scan.
        if let Some(loading) = Arc::get_mut(&mut self.loading) {
            change(loading);
        }
    }

    /// The directories that are searched.
    pub fn dirs(&self) -> &[PluginDir] {
        &self.dirs
    }

    /// Ends all waiting for plugins.
    pub fn patience(&self) -> Patience {
        self.loading.patience().clone()
    }

    /// Makes the next scan try files again that could not be loaded.
    pub fn forget_refusals(&mut self) {
        (self.known).retain(|candidate| !candidate.is_refused());
        (self.seen).retain(|_, (_, found)| {
            found
                .as_ref()
                .is_ok_and(|candidate| !candidate.is_refused())
        });
    }

    /// Examines every file of every directory without running any of its code: the catalog loads the
    /// plugins that are used.
    ///
    /// Blocks for reading; unchanged files cost only a `stat`. An unusable file is listed in the
    /// catalog's reports with its reason and stops nothing.
    pub fn scan(&mut self) -> Catalog {
        let mut found: Vec<Found> = (self.linked.iter())
            .map(|candidate| (None, Ok(Arc::clone(candidate))))
            .collect();
        let mut files = HashSet::new();
        for dir in self.dirs.clone() {
            let listed = match plugin_files(&dir) {
                Ok(listed) => listed,
                Err(reason) => {
                    found.push((Some(dir.path), Err(reason)));
                    continue;
                }
            };
            for path in listed {
                let candidate = self.look_at(&path);
                files.insert(path.clone());
                found.push((Some(path), candidate));
            }
        }
        self.seen.retain(|path, _| files.contains(path));
        // Loaded plugins stay known, so that they are not loaded again when their file returns.
        (self.known)
            .retain(|candidate| candidate.plugin().is_some() || Arc::strong_count(candidate) > 1);
        Catalog::new(&found, Arc::clone(&self.loading))
    }

    /// What is in a file, from the last scan where it has not changed since.
    fn look_at(&mut self, path: &Path) -> Result<Arc<Candidate>, String> {
        let stamp = stamp(path);
        if let Some((seen, found)) = self.seen.get(path)
            && *seen == stamp
        {
            return found.clone();
        }
        let (stamp, found) = match PluginFile::open(path) {
            Ok(file) => {
                let found = self.candidate(path, &file);
                (stamp_of(&file.found), found)
            }
            Err(reason) => (stamp, Err(reason)),
        };
        self.seen.insert(path.to_owned(), (stamp, found.clone()));
        found
    }

    fn candidate(&mut self, path: &Path, file: &PluginFile) -> Result<Arc<Candidate>, String> {
        let manifest = file.manifest()?;
        let is_loaded =
            |known: &&Arc<Candidate>| known.id() == manifest.id && known.plugin().is_some();
        let mut loaded = self.known.iter().filter(is_loaded).peekable();
        // Only a loaded plugin can save loading the new file, whose content nobody knows yet.
        if loaded.peek().is_some() {
            let hash = file.hash()?;
            if let Some(same) = loaded.find(|known| known.hash() == Some(&*hash)) {
                return Ok(Arc::clone(same));
            }
        }
        let candidate = Arc::new(Candidate::new(path, manifest));
        self.known.push(Arc::clone(&candidate));
        Ok(candidate)
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
        found.mode(),
        found.uid(),
    ))
}

/// The same of a file that is open.
#[allow(
    clippy::unnecessary_cast,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::useless_conversion,
    clippy::unnecessary_wraps,
    reason = "the types differ between machines; a file that is not there has no stamp"
)]
fn stamp_of(found: &Stat) -> Stamp {
    Some((
        found.st_dev as u64,
        found.st_ino as u64,
        found.st_size as u64,
        found.st_mtime as i64,
        found.st_mtime_nsec as i64,
        found.st_ctime as i64,
        found.st_ctime_nsec as i64,
        found.st_mode as u32,
        found.st_uid as u32,
    ))
}

/// Opens one file, as a host would. `program` probes it first, see
/// [`Registry::trying`].
///
/// # Errors
///
/// One sentence: why a host would refuse it.
pub fn inspect(file: &Path, program: Option<&Path>) -> Result<Arc<Plugin>, String> {
    let manifest = PluginFile::open(file)?.manifest()?;
    let mut loading = Loading::default();
    loading.trying(program.map(Arc::from), None);
    let copied = loading.copy(file, &manifest)?;
    loading.load(file, &manifest, copied)
}

/// Whether a host looks at a file of this name.
pub(crate) fn is_looked_at(name: &OsStr) -> bool {
    Path::new(name).extension() == Some(OsStr::new("so"))
}
