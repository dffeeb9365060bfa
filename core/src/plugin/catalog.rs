//! Which plugins there are and which of them serves which name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use semver::Version;
use serde::Serialize;

use super::Plugin;

/// What became of one plugin file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginReport {
    /// The file; a directory where that could not be used; none for a plugin that is linked in.
    pub file: Option<PathBuf>,
    /// What became of it.
    #[serde(flatten)]
    pub state: PluginState,
    /// Its id, where it got far enough to say.
    pub id: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// SHA-256 of the file.
    pub hash: Option<String>,
    /// The provider names it serves.
    pub providers: Vec<String>,
    /// The match plugin names it serves.
    pub matchers: Vec<String>,
}

/// A plugin file's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
#[non_exhaustive]
pub enum PluginState {
    /// Found and usable, but another file is used.
    Discovered {
        /// One sentence: which, and why.
        reason: String,
    },
    /// In use.
    Loaded,
    /// Not used.
    Refused {
        /// One sentence: why, and what to do.
        reason: String,
    },
}

/// How many refused files a message names.
const SHOWN_REFUSALS: usize = 3;

/// A file (none for a plugin that is linked in), and the plugin in it or why there is none.
pub(crate) type Found = (Option<PathBuf>, Result<Arc<Plugin>, String>);

/// A snapshot of the plugins: reports of all files, and who serves what.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    reports: Vec<PluginReport>,
    providers: BTreeMap<String, Arc<Plugin>>,
    matchers: BTreeMap<String, Arc<Plugin>>,
    /// Names that nobody serves because another file has the id of the one that does; and why.
    vanished: BTreeMap<String, String>,
    /// A sentence for each name that two plugins serve.
    shadowed: Vec<String>,
}

impl Catalog {
    /// Sorts out what a scan found, in order of precedence.
    ///
    /// Of two plugins with one id the newer version wins, the earlier one of equals; the other is
    /// refused where it serves a name that the winner does not, since that is another plugin. A
    /// name that two ids serve goes to the earlier one.
    pub(crate) fn new(found: Vec<Found>) -> Self {
        let mut catalog = Self::default();
        let mut winners: BTreeMap<String, (usize, Arc<Plugin>)> = BTreeMap::new();
        for (position, (_, plugin)) in found.iter().enumerate() {
            let Ok(plugin) = plugin else { continue };
            match winners.get(plugin.id()) {
                Some((_, winner)) if !is_newer(plugin, winner) => {}
                _ => {
                    winners.insert(plugin.id().to_owned(), (position, Arc::clone(plugin)));
                }
            }
        }
        for (position, (file, plugin)) in found.into_iter().enumerate() {
            let plugin = match plugin {
                Ok(plugin) => plugin,
                Err(reason) => {
                    catalog.reports.push(PluginReport {
                        file,
                        state: PluginState::Refused { reason },
                        id: None,
                        version: None,
                        hash: None,
                        providers: Vec::new(),
                        matchers: Vec::new(),
                    });
                    continue;
                }
            };
            // Every loaded plugin's id is among the winners.
            let winner = winners.get(plugin.id());
            let state = match winner {
                Some((at, winner)) if *at != position => catalog.superseded(&plugin, winner),
                _ => {
                    catalog.serve(&plugin);
                    PluginState::Loaded
                }
            };
            catalog.reports.push(PluginReport {
                file,
                state,
                id: Some(plugin.id().to_owned()),
                version: Some(plugin.version().to_owned()),
                hash: plugin.hash().map(ToOwned::to_owned),
                providers: plugin.provider_names().to_vec(),
                matchers: plugin.matcher_names().to_vec(),
            });
        }
        catalog
    }

    /// What becomes of a plugin whose id another one has.
    fn superseded(&mut self, plugin: &Plugin, winner: &Plugin) -> PluginState {
        let lacking = |of: fn(&Plugin) -> &[String]| {
            let names = of(plugin).iter();
            names.filter(move |name| !of(winner).contains(name))
        };
        let lost: Vec<String> = lacking(Plugin::provider_names)
            .chain(lacking(Plugin::matcher_names))
            .cloned()
            .collect();
        if lost.is_empty() {
            return PluginState::Discovered {
                reason: format!(
                    "version {} of {} is used instead, from {}",
                    winner.version(),
                    winner.id(),
                    place(winner.path())
                ),
            };
        }
        let reason = format!(
            "it has the id {} of {}, which is used instead and does not serve {}; remove one of the two files, or give one plugin an id of its own",
            plugin.id(),
            place(winner.path()),
            lost.join(", "),
        );
        for name in lost {
            self.vanished
                .insert(name, format!("{}: {reason}", place(plugin.path())));
        }
        PluginState::Refused { reason }
    }

    fn serve(&mut self, plugin: &Arc<Plugin>) {
        for (names, map, kind) in [
            (plugin.provider_names(), &mut self.providers, "provider"),
            (plugin.matcher_names(), &mut self.matchers, "match plugin"),
        ] {
            for name in names {
                if let Some(other) = map.get(name) {
                    let sentence = format!(
                        "{kind} {name} is served by plugin {} ({}); {} ({}) serves it too and is not used for it",
                        other.id(),
                        place(other.path()),
                        plugin.id(),
                        place(plugin.path()),
                    );
                    tracing::warn!("{sentence}");
                    self.shadowed.push(sentence);
                } else {
                    map.insert(name.clone(), Arc::clone(plugin));
                }
            }
        }
    }

    /// Keeps what `before` served and nobody serves any more: a file that was removed, or replaced by
    /// one that cannot be used, must not take a working destination away.
    pub(crate) fn keep(&mut self, before: &Self) {
        for (old, new) in [
            (&before.providers, &mut self.providers),
            (&before.matchers, &mut self.matchers),
        ] {
            for (name, plugin) in old {
                if !new.contains_key(name) {
                    tracing::warn!(
                        "{name} is served by plugin {} {} as it was loaded, though its file {} is gone or refused",
                        plugin.id(),
                        plugin.version(),
                        place(plugin.path()),
                    );
                    new.insert(name.clone(), Arc::clone(plugin));
                }
            }
        }
    }

    /// How many plugins serve a name, those included whose file is gone.
    pub(crate) fn in_use(&self) -> usize {
        let serving = self.providers.values().chain(self.matchers.values());
        let mut serving: Vec<_> = serving.map(Arc::as_ptr).collect();
        serving.sort_unstable();
        serving.dedup();
        serving.len()
    }

    /// What became of every file, in the order of the search.
    pub fn reports(&self) -> &[PluginReport] {
        &self.reports
    }

    /// The plugin that serves a provider name.
    pub fn provider(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.providers.get(name)
    }

    /// The match plugin of a name.
    pub fn matcher(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.matchers.get(name)
    }

    /// Whether there is no plugin at all.
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty() && self.matchers.is_empty()
    }

    /// Why nobody serves a name that a plugin file serves which has another one's id.
    pub fn vanished(&self, name: &str) -> Option<&str> {
        self.vanished.get(name).map(String::as_str)
    }

    /// A sentence for each name that more than one plugin serves.
    pub fn shadowed(&self) -> &[String] {
        &self.shadowed
    }

    /// Why files were refused: a sentence for each of the first three, and how many there are more.
    pub(crate) fn refusals(&self) -> String {
        let refused: Vec<String> = (self.reports.iter())
            .filter_map(|report| match &report.state {
                PluginState::Refused { reason } => {
                    Some(format!("{}: {reason}", place(report.file.as_deref())))
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

fn place(path: Option<&Path>) -> String {
    path.map_or_else(
        || "this program".to_owned(),
        |path| path.display().to_string(),
    )
}

/// A version that is no semantic version is older than any that is.
fn is_newer(plugin: &Plugin, than: &Plugin) -> bool {
    let version = |plugin: &Plugin| Version::parse(plugin.version()).ok();
    version(plugin) > version(than)
}
