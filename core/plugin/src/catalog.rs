//! The available plugins, and which of them serves which name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use serde::Serialize;

use super::Plugin;
use super::candidate::{Candidate, Fate};
use super::loading::{Loading, PluginFile};

/// The state of one plugin file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginReport {
    /// The file; a directory that could not be used; or `None` for a linked plugin.
    pub file: Option<PathBuf>,
    /// Its state.
    #[serde(flatten)]
    pub state: PluginState,
    /// Its id, if that could be read.
    pub id: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// SHA-256 of the file, if it was read; see [`with_hash`](Self::with_hash).
    pub hash: Option<String>,
    /// The provider names it serves.
    pub providers: Vec<String>,
    /// The match plugin names it serves.
    pub matchers: Vec<String>,
    /// The candidate that it is about, where the file got far enough.
    #[serde(skip)]
    pub candidate: Option<u64>,
}

impl PluginReport {
    /// Adds the hash of the file, reading the file if necessary.
    #[must_use]
    pub fn with_hash(mut self) -> Self {
        if let (None, Some(file), Some(_)) = (&self.hash, &self.file, self.candidate) {
            self.hash = PluginFile::open(file).and_then(|file| file.hash()).ok();
        }
        self
    }
}

/// A plugin file's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum PluginState {
    /// Found and usable, but not loaded: nothing uses it.
    Discovered {
        /// If another file is used instead: why, in one sentence.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// In use.
    Loaded,
    /// Not used.
    Refused {
        /// One sentence: why, and what to do.
        reason: String,
    },
}

/// How many plugins are copied at a time.
const SIDE_BY_SIDE: usize = 8;

/// How many refused files a message names.
const SHOWN_REFUSALS: usize = 3;

/// A file (`None` for a linked plugin), and its candidate or why it is not used.
pub(crate) type Found = (Option<PathBuf>, Result<Arc<Candidate>, String>);

/// A file that was found.
#[derive(Debug, Clone)]
struct Entry {
    file: Option<PathBuf>,
    candidate: Option<Arc<Candidate>>,
    /// The state decided by the catalog; otherwise that of the candidate.
    decided: Option<PluginState>,
}

/// A snapshot of the plugins: reports on all files, and which plugin serves which name. A plugin is
/// loaded when an acct file uses it.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    entries: Vec<Entry>,
    providers: BTreeMap<String, Arc<Candidate>>,
    matchers: BTreeMap<String, Arc<Candidate>>,
    /// Names that nobody serves, because two files have the id of the plugin that would; with the reason.
    vanished: BTreeMap<String, String>,
    /// A sentence for each name that two plugins serve.
    shadowed: Vec<String>,
    loading: Arc<Loading>,
}

impl Catalog {
    /// Builds a catalog from the results of a scan, which are in order of precedence.
    ///
    /// Two files with the same id and different content are a fault, and neither is used, because it is
    /// unclear which is meant. A name that two ids serve goes to the earlier one.
    pub fn new(found: &[Found], loading: Arc<Loading>) -> Self {
        let mut catalog = Self {
            loading,
            ..Self::default()
        };
        let mut by_id: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (position, (_, candidate)) in found.iter().enumerate() {
            if let Ok(candidate) = candidate {
                by_id
                    .entry(candidate.id().to_owned())
                    .or_default()
                    .push(position);
            }
        }
        for (position, (file, candidate)) in found.iter().enumerate() {
            let (candidate, decided) = match candidate {
                Ok(candidate) => {
                    let namesakes = by_id.get(candidate.id()).map_or(&[][..], Vec::as_slice);
                    let decided = namesake_of(position, namesakes, found);
                    match &decided {
                        None => catalog.serve(candidate, file.as_deref()),
                        Some(PluginState::Refused { reason }) => {
                            catalog.note_vanished(candidate, file.as_deref(), reason);
                        }
                        _ => {}
                    }
                    (Some(Arc::clone(candidate)), decided)
                }
                Err(reason) => {
                    let reason = reason.clone();
                    (None, Some(PluginState::Refused { reason }))
                }
            };
            catalog.entries.push(Entry {
                file: file.clone(),
                candidate,
                decided,
            });
        }
        catalog
    }

    fn note_vanished(&mut self, candidate: &Candidate, file: Option<&Path>, reason: &str) {
        for name in candidate.providers().iter().chain(candidate.matchers()) {
            self.vanished
                .entry(name.clone())
                .or_insert_with(|| format!("{}: {reason}", shown(file)));
        }
    }

    fn serve(&mut self, candidate: &Arc<Candidate>, file: Option<&Path>) {
        for (names, map, kind) in [
            (candidate.providers(), &mut self.providers, "provider"),
            (candidate.matchers(), &mut self.matchers, "match plugin"),
        ] {
            for name in names {
                if let Some(other) = map.get(name) {
                    self.shadowed.push(format!(
                        "{kind} {name} is served by plugin {} ({}); {} ({}) also serves it and is not used for it",
                        other.id(),
                        shown(other.path()),
                        candidate.id(),
                        shown(file),
                    ));
                } else {
                    map.insert(name.clone(), Arc::clone(candidate));
                }
            }
        }
    }

    /// Loads the plugins that serve these providers and this match plugin, each once; the others are
    /// left alone. Blocks meanwhile, for little more than ten seconds per plugin that hangs.
    pub fn load_used<'a>(&self, providers: impl IntoIterator<Item = &'a str>, matcher: &str) {
        let providers = providers.into_iter();
        let providers = providers.filter_map(|name| self.providers.get(name));
        let matcher = self.matchers.get(matcher);
        let used: BTreeMap<u64, &Candidate> = providers
            .chain(matcher)
            .map(|candidate| (candidate.number(), &**candidate))
            .collect();
        let used: Vec<&Candidate> = used.into_values().collect();
        used.chunks(SIDE_BY_SIDE).for_each(|some| self.load(some));
    }

    /// Copies them in parallel, and loads them one after the other.
    fn load(&self, some: &[&Candidate]) {
        thread::scope(|scope| {
            let copying: Vec<_> = (some.iter())
                .map(|candidate| {
                    let copy = || candidate.copy(&self.loading);
                    // If no thread can be started, this thread does the work.
                    (thread::Builder::new().name("evbus copier".to_owned()))
                        .spawn_scoped(scope, copy)
                        .ok()
                })
                .collect();
            for (candidate, copying) in some.iter().zip(copying) {
                let copied = match copying {
                    Some(copying) => (copying.join())
                        .unwrap_or_else(|_| Some(Err("copying it panicked".to_owned()))),
                    None => candidate.copy(&self.loading),
                };
                if let Some(copied) = copied {
                    candidate.load(&self.loading, copied);
                }
            }
        });
    }

    /// Keeps plugins of `before` for names that no other plugin serves now: a file that was removed, or
    /// replaced by an unusable one, must not end a working destination.
    pub fn keep(&mut self, before: &Self) {
        for (old, new) in [
            (&before.providers, &mut self.providers),
            (&before.matchers, &mut self.matchers),
        ] {
            for (name, candidate) in old {
                let is_served = new.get(name).is_some_and(|new| !new.is_refused());
                if candidate.plugin().is_none() || is_served {
                    continue;
                }
                tracing::warn!(
                    "{name} is still served by the loaded plugin {} {}, although its file {} was removed or refused",
                    candidate.id(),
                    candidate.version(),
                    shown(candidate.path()),
                );
                new.insert(name.clone(), Arc::clone(candidate));
            }
        }
    }

    /// How many loaded plugins serve a name, including those whose files were removed.
    pub fn in_use(&self) -> usize {
        let serving = self.providers.values().chain(self.matchers.values());
        let mut serving: Vec<_> = serving
            .filter(|candidate| candidate.plugin().is_some())
            .map(Arc::as_ptr)
            .collect();
        serving.sort_unstable();
        serving.dedup();
        serving.len()
    }

    /// The current state of every file, in search order.
    pub fn reports(&self) -> Vec<PluginReport> {
        self.entries.iter().map(Entry::report).collect()
    }

    /// The plugin that serves a provider name, if it is loaded.
    pub fn provider(&self, name: &str) -> Option<Arc<Plugin>> {
        self.providers.get(name)?.plugin()
    }

    /// The match plugin with this name, if it is loaded.
    pub fn matcher(&self, name: &str) -> Option<Arc<Plugin>> {
        self.matchers.get(name)?.plugin()
    }

    /// Whether there are no plugins.
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty() && self.matchers.is_empty() && self.vanished.is_empty()
    }

    /// Why a name is not served although a plugin file provides it: the file cannot be loaded, or
    /// another file has its id.
    pub fn vanished(&self, name: &str) -> Option<String> {
        let candidates = [self.providers.get(name), self.matchers.get(name)];
        candidates
            .into_iter()
            .flatten()
            .find_map(|candidate| match candidate.fate() {
                Fate::Refused(reason) => Some(format!("{}: {reason}", shown(candidate.path()))),
                _ => None,
            })
            .or_else(|| self.vanished.get(name).cloned())
    }

    /// One sentence for each name that more than one plugin serves.
    pub fn shadowed(&self) -> &[String] {
        &self.shadowed
    }

    /// Why files were refused: one sentence for each of the first three, and the number of further ones.
    pub fn refusals(&self) -> String {
        let refused: Vec<String> = (self.reports().iter())
            .filter_map(|report| match &report.state {
                PluginState::Refused { reason } => {
                    Some(format!("{}: {reason}", shown(report.file.as_deref())))
                }
                _ => None,
            })
            .collect();
        if refused.is_empty() {
            return String::new();
        }
        let more = match refused.len().saturating_sub(SHOWN_REFUSALS) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let shown = &refused[..refused.len().min(SHOWN_REFUSALS)];
        format!(" (refused plugin files: {}{more})", shown.join("; "))
    }

    /// The names of all match plugins.
    pub fn matcher_names(&self) -> impl Iterator<Item = &str> {
        self.matchers.keys().map(String::as_str)
    }

    /// The provider names that are served.
    pub fn provider_names(&self) -> impl Iterator<Item = &str> {
        self.providers.keys().map(String::as_str)
    }
}

impl Entry {
    fn report(&self) -> PluginReport {
        let candidate = self.candidate.as_deref();
        let fate = candidate.map_or(Fate::Discovered, Candidate::fate);
        let state = self.decided.clone().unwrap_or(match fate {
            Fate::Discovered => PluginState::Discovered { reason: None },
            Fate::Loaded(_) => PluginState::Loaded,
            Fate::Refused(reason) => PluginState::Refused { reason },
        });
        let names = |names: fn(&Candidate) -> &[String]| candidate.map_or(&[][..], names).to_vec();
        PluginReport {
            file: self.file.clone(),
            state,
            id: candidate.map(|candidate| candidate.id().to_owned()),
            version: candidate.map(|candidate| candidate.version().to_owned()),
            hash: candidate
                .and_then(Candidate::known_hash)
                .map(ToOwned::to_owned),
            candidate: candidate.map(Candidate::number),
            providers: names(Candidate::providers),
            matchers: names(Candidate::matchers),
        }
    }
}

/// The state of a file because of others with its id, whose positions are `namesakes`; `None` if this file is used.
fn namesake_of(position: usize, namesakes: &[usize], found: &[Found]) -> Option<PluginState> {
    // The content is read only if there is something to compare it with.
    let id_and_content = |position: usize| {
        let (file, candidate) = &found[position];
        let hash = candidate.as_ref().ok().and_then(|c| c.hash());
        (file.as_deref(), hash)
    };
    let id = found[position].1.as_ref().map_or("", |c| c.id());
    let first = *namesakes.first()?;
    if namesakes.len() == 1 {
        return None;
    }
    if found[first].0.is_none() {
        // A linked plugin cannot be removed, so it is the one that is used.
        return (first != position).then(|| PluginState::Refused {
            reason: format!(
                "a plugin with the same id {id} is linked into this program and is used instead; remove the file"
            ),
        });
    }
    let (_, content) = id_and_content(position);
    let other =
        (namesakes.iter().map(|at| id_and_content(*at))).find(|(_, other)| *other != content);
    if let Some((other, _)) = other {
        return Some(PluginState::Refused {
            reason: format!(
                "it has the same plugin id {id} as {} but different content, so neither is used; remove one of the two files, or give one plugin a different id",
                shown(other)
            ),
        });
    }
    (first != position).then(|| PluginState::Discovered {
        reason: Some(format!(
            "it is identical to {}, which is used instead",
            shown(id_and_content(first).0)
        )),
    })
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(
        || "this program".to_owned(),
        |path| path.display().to_string(),
    )
}
