//! A plugin file that could be used: known from its manifest, and loaded when something needs it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::Plugin;
use super::loading::{CHANGED, Copied, Loading, PluginFile};
use super::manifest::Manifest;

/// What happened to a candidate.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// Nothing has needed it yet.
    Discovered,
    Loaded(Arc<Plugin>),
    /// It cannot be loaded; one sentence says why.
    Refused(String),
}

/// A plugin: its manifest, and the plugin itself once it is loaded.
#[derive(Debug)]
pub struct Candidate {
    /// `None` for a linked plugin.
    path: Option<PathBuf>,
    /// Distinguishes it from every other candidate.
    number: u64,
    /// Computed when it is needed.
    hash: OnceLock<String>,
    id: String,
    version: String,
    providers: Vec<String>,
    matchers: Vec<String>,
    /// `None` for a linked plugin.
    manifest: Option<Manifest>,
    fate: Mutex<Fate>,
}

impl Candidate {
    /// A plugin file.
    pub(crate) fn new(path: &Path, manifest: Manifest) -> Self {
        Self {
            path: Some(path.to_owned()),
            number: next(),
            hash: OnceLock::new(),
            id: manifest.id.clone(),
            version: manifest.version.clone(),
            providers: manifest.providers.clone(),
            matchers: manifest.matchers.clone(),
            manifest: Some(manifest),
            fate: Mutex::new(Fate::Discovered),
        }
    }

    /// A plugin linked into this program.
    pub(crate) fn linked(plugin: Arc<Plugin>) -> Self {
        Self {
            path: None,
            number: next(),
            hash: OnceLock::new(),
            id: plugin.id().to_owned(),
            version: plugin.version().to_owned(),
            providers: plugin.provider_names().to_vec(),
            matchers: plugin.matcher_names().to_vec(),
            manifest: None,
            fate: Mutex::new(Fate::Loaded(plugin)),
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The hash of its file's content. Blocks to read the file if the hash is not known; `None` if it cannot be read,
    /// and for a linked plugin.
    pub(crate) fn hash(&self) -> Option<&str> {
        if self.hash.get().is_none() {
            let read = PluginFile::open(self.path.as_deref()?).and_then(|file| file.hash());
            // If another thread was faster, it has read the same hash.
            let _ = self.hash.set(read.ok()?);
        }
        self.known_hash()
    }

    /// The hash, if it was computed before.
    pub(crate) fn known_hash(&self) -> Option<&str> {
        self.hash.get().map(String::as_str)
    }

    pub(crate) fn providers(&self) -> &[String] {
        &self.providers
    }

    pub(crate) fn matchers(&self) -> &[String] {
        &self.matchers
    }

    pub(crate) fn fate(&self) -> Fate {
        self.fate.lock().clone()
    }

    /// The plugin, if it is loaded.
    pub(crate) fn plugin(&self) -> Option<Arc<Plugin>> {
        match &*self.fate.lock() {
            Fate::Loaded(plugin) => Some(Arc::clone(plugin)),
            _ => None,
        }
    }

    /// Whether it could not be loaded.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(*self.fate.lock(), Fate::Refused(_))
    }

    /// Copies it, unless somebody has tried to load it. Blocks, see [`Loading::copy`].
    pub(crate) fn copy(&self, loading: &Loading) -> Option<Result<Copied, String>> {
        let (Fate::Discovered, Some(path), Some(manifest)) =
            (self.fate(), &self.path, &self.manifest)
        else {
            return None;
        };
        Some(loading.copy(path, manifest))
    }

    /// Loads the copy. Blocks, see [`Loading::load`].
    pub(crate) fn load(&self, loading: &Loading, copied: Result<Copied, String>) {
        let (Some(path), Some(manifest)) = (&self.path, &self.manifest) else {
            return;
        };
        let unchanged = |copied: Copied| {
            let hash = self.hash.get_or_init(|| copied.hash.clone());
            let is_same = *hash == copied.hash;
            is_same.then_some(copied).ok_or_else(|| CHANGED.to_owned())
        };
        let loaded = copied
            .and_then(unchanged)
            .and_then(|copied| loading.load(path, manifest, copied));
        *self.fate.lock() = match loaded {
            Ok(plugin) => {
                tracing::info!(
                    "plugin {}: {} {} loaded",
                    path.display(),
                    self.id,
                    self.version
                );
                Fate::Loaded(plugin)
            }
            Err(reason) => Fate::Refused(reason),
        };
    }
}

fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);

    NEXT.fetch_add(1, Ordering::Relaxed)
}
