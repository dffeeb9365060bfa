//! A loaded plugin, and what can be asked of it.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use evbus_abi::v1::{
    CompletionV1, ConfigFaultV1, ConnectOutcomeV1, HostV1, MatcherFnsV1, PatternFaultV1,
    PatternSetV1, PluginV1Ref, ProviderV1,
};
use evbus_abi::{RResult, RStr, RString, RVec};
use serde_json::Value;

use super::image::Image;
use super::loader::{self, Patience};
use super::manifest::Manifest;
use super::{exit_guard, linker};
use crate::foreign_text::{self, MAX_BYTES};

/// A longer schema is refused.
const MAX_SCHEMA_BYTES: usize = 1024 * 1024;

/// So many names of a plugin, or faults of a configuration, are taken.
const MAX_LISTED: usize = 1000;

/// A loaded plugin. It stays loaded until the process ends: its code may run in threads of its own
/// at any time.
#[derive(Debug)]
pub struct Plugin {
    id: String,
    version: String,
    description: String,
    path: Option<PathBuf>,
    hash: Option<String>,
    /// What was loaded, whatever became of the file since; none for one that is linked in.
    image: Option<File>,
    provider: Option<ProviderV1>,
    provider_names: Vec<String>,
    matcher: Option<MatcherFnsV1>,
    matcher_names: Vec<String>,
}

impl Plugin {
    /// Loads a plugin on the thread for that. `path` is the file that `image` is a copy of.
    ///
    /// # Errors
    ///
    /// One sentence; the details go to the log at debug level.
    pub(super) fn load(
        path: &Path,
        hash: &str,
        manifest: &Manifest,
        image: Image,
        patience: &Patience,
    ) -> Result<Self, String> {
        let who = path.display().to_string();
        let manifest = manifest.clone();
        let loading = {
            let who = who.clone();
            move || {
                exit_guard::call("it was loaded", &who, || {
                    let (module, image) = linker::open(image)?;
                    let plugin = Self::of_module(module);
                    plugin.agrees_with(&manifest)?;
                    Ok((plugin, image))
                })
            }
        };
        let doing = ("while it was loaded", "it was not loaded");
        let loaded: Result<_, String> = loader::run(&who, doing, patience, loading)?;
        let (plugin, image) = loaded?;
        Ok(Self {
            path: Some(path.to_owned()),
            hash: Some(hash.to_owned()),
            image: Some(image),
            ..plugin
        })
    }

    /// Loads a plugin in its own process from what the host has made ([`image`](Self::image)):
    /// the very same pages, which both processes share, and no second copy. Calls `opened` when its
    /// constructors are done and it is asked for its names.
    ///
    /// # Errors
    ///
    /// As for `load`.
    pub(crate) fn of_image(
        image: OwnedFd,
        path: &Path,
        opened: impl FnOnce(),
    ) -> Result<Self, String> {
        let image = Image::received(image);
        let (module, image) = linker::open(image)?;
        opened();
        let mut plugin = Self::of_module(module);
        plugin.path = Some(path.to_owned());
        plugin.image = Some(image);
        Ok(plugin)
    }

    /// Takes a plugin that is linked into this program, as `evbus_sdk::provider_plugin` makes it.
    pub fn linked(module: PluginV1Ref) -> Self {
        Self::of_module(module)
    }

    fn of_module(module: PluginV1Ref) -> Self {
        let info = module.info();
        let provider = module.provider().into_option();
        let matcher = module.matcher().into_option();
        let owned = |text: &str| foreign_text::line(text, MAX_BYTES).into_owned();
        let names = |names: RVec<RString>| {
            let names = names.iter().take(MAX_LISTED);
            names.map(|name| owned(name)).collect()
        };
        Self {
            id: owned(&info.id),
            version: owned(&info.version),
            description: owned(&info.description),
            path: None,
            hash: None,
            image: None,
            provider_names: provider.map(|p| names((p.names)())).unwrap_or_default(),
            matcher_names: matcher.map(|m| names((m.names)())).unwrap_or_default(),
            provider,
            matcher,
        }
    }

    /// Whether the plugin says of itself what its file says: by that it was chosen.
    fn agrees_with(&self, manifest: &Manifest) -> Result<(), String> {
        let names = |names: &[String]| format!("{names:?}");
        let text = |text: &str| format!("{text:?}");
        for (what, found, said) in [
            ("id", text(&self.id), text(&manifest.id)),
            ("version", text(&self.version), text(&manifest.version)),
            (
                "description",
                text(&self.description),
                text(&manifest.description),
            ),
            (
                "providers",
                names(&self.provider_names),
                names(&manifest.providers),
            ),
            (
                "matchers",
                names(&self.matcher_names),
                names(&manifest.matchers),
            ),
        ] {
            if found != said {
                let found = foreign_text::line(&found, MAX_BYTES);
                return Err(format!(
                    "its manifest says {what} {said}, the plugin itself says {found}; rebuild it with \
                     this host's evbus-sdk"
                ));
            }
        }
        Ok(())
    }

    /// Its unique name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its own version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// One line on what it does.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The file it came from; none for one that is linked in.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// SHA-256 of its file, in hexadecimal digits; none for one that is linked in.
    pub fn hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }

    /// A descriptor of exactly what was loaded; none for a plugin that is linked in.
    pub(crate) fn image(&self) -> Option<BorrowedFd<'_>> {
        self.image.as_ref().map(File::as_fd)
    }

    /// The provider names it serves.
    pub fn provider_names(&self) -> &[String] {
        &self.provider_names
    }

    /// The names under which it is a match plugin.
    pub fn matcher_names(&self) -> &[String] {
        &self.matcher_names
    }

    /// Whether it is a match plugin.
    pub(crate) fn is_matcher(&self) -> bool {
        self.matcher.is_some()
    }

    /// JSON Schema of a destination's configuration; none for a match plugin. Blocks, for ten seconds at
    /// most.
    ///
    /// # Errors
    ///
    /// One sentence: the plugin gives none in time, or one of more than 1 MiB.
    pub fn config_schema(&self) -> Result<Option<Value>, String> {
        let Some(provider) = self.provider else {
            return Ok(None);
        };
        let id = self.id.clone();
        let doing = (
            "while it was asked for its schema",
            "it did not give its schema",
        );
        let schema = loader::run(&self.id, doing, &Patience::default(), move || {
            exit_guard::call("it was asked for its schema", &id, || {
                (provider.config_schema)()
            })
        })?;
        if schema.len() > MAX_SCHEMA_BYTES {
            return Err(format!(
                "its schema has {} bytes; expected at most {MAX_SCHEMA_BYTES}",
                schema.len()
            ));
        }
        Ok(Some(
            serde_json::from_str(&schema).unwrap_or(Value::Bool(true)),
        ))
    }

    /// Faults of a configuration (JSON text), as path and message.
    pub(crate) fn check_config(&self, config: &str) -> Vec<(String, String)> {
        let Some(provider) = &self.provider else {
            return Vec::new();
        };
        let faults = exit_guard::call("it checked a configuration", &self.id, || {
            (provider.check_config)(config.into())
        });
        let owned = |text: &str| foreign_text::line(text, MAX_BYTES).into_owned();
        faults
            .iter()
            .take(MAX_LISTED)
            .map(|ConfigFaultV1 { path, message }| (owned(path), owned(message)))
            .collect()
    }

    /// Asks for an instance; returns at once.
    pub(crate) fn connect(&self, config: &str, host: HostV1, done: CompletionV1<ConnectOutcomeV1>) {
        // Without a provider the completion is dropped: a failed attempt.
        if let Some(provider) = &self.provider {
            exit_guard::call("it was told to connect", &self.id, || {
                (provider.connect)(config.into(), host, done);
            });
        }
    }

    /// Compiles a pattern set.
    ///
    /// # Errors
    ///
    /// The position and the fault of each pattern that cannot be used.
    pub(crate) fn compile(&self, patterns: &[&str]) -> Result<PatternSetV1, Vec<(usize, String)>> {
        let Some(matcher) = &self.matcher else {
            return Err(vec![(0, format!("plugin {} is no match plugin", self.id))]);
        };
        let patterns: Vec<RStr<'_>> = patterns.iter().map(|p| RStr::from_str(p)).collect();
        let compiled = exit_guard::call("it compiled patterns", &self.id, || {
            (matcher.compile)(patterns.as_slice().into())
        });
        match compiled {
            RResult::ROk(set) => Ok(set),
            RResult::RErr(faults) => Err(faults
                .iter()
                .take(patterns.len() + MAX_LISTED)
                .map(|PatternFaultV1 { index, message }| {
                    let message = foreign_text::line(message, MAX_BYTES);
                    (*index as usize, message.into_owned())
                })
                .collect()),
        }
    }
}
