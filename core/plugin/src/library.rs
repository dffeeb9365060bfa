//! A loaded plugin and its calls.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use evbus_abi::v1::{
    CompletionV1, ConfigFaultV1, ConnectOutcomeV1, HostV1, MatcherFnsV1, PatternFaultV1,
    PatternSetV1, PluginV1Ref, ProviderV1,
};
use evbus_abi::{RResult, RStr, RString, RVec};
use serde_json::Value;
use zeroize::Zeroizing;

use super::caller::{Caller, NoAnswer, Wait};
use super::calls::Calls;
use super::connect::ConnectFailure;
use super::image::Image;
use super::log::{SecretsShown, Voice, max_level};
use super::manifest::Manifest;
use super::patience::Patience;
use super::{exit_guard, linker, loader};
use evbus_destination::Secrets;
use evbus_report::counted;
use evbus_report::foreign_text::{self, MAX_BYTES};

/// A longer schema is refused.
const MAX_SCHEMA_BYTES: usize = 1024 * 1024;

/// How many names of a plugin, or faults of a configuration, are accepted.
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
    /// The loaded copy, whatever happened to the file since; `None` for a linked plugin.
    image: Option<File>,
    provider: Option<ProviderV1>,
    provider_names: Vec<String>,
    matcher: Option<MatcherFnsV1>,
    matcher_names: Vec<String>,
    attach: extern "C" fn(HostV1),
    secrets: SecretsShown,
    patience: Patience,
    /// The thread for calls that belong to no instance: a call that hangs blocks nothing else.
    caller: OnceLock<Result<Caller, String>>,
}

/// Why a set of patterns cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileError {
    /// The position and the fault of every pattern that cannot be used.
    Patterns(Vec<(usize, String)>),
    /// The plugin did not answer, or is not a match plugin: one sentence.
    Plugin(String),
}

impl Plugin {
    /// Loads a plugin on the loader's thread. `path` is the file that `image` was copied from.
    ///
    /// # Errors
    ///
    /// One sentence; the details go to the log at debug level.
    pub(crate) fn load(
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
                    plugin.give_voice();
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
            patience: patience.clone(),
            ..plugin
        })
    }

    /// Loads a plugin in its own process from the host's copy ([`image`](Self::image)), whose pages both processes
    /// share. Calls `opened` when its constructors have run and before it is asked for its names.
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

    /// Uses a plugin that is linked into this program, as created by `evbus_sdk::provider_plugin`.
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
            attach: module.attach(),
            secrets: SecretsShown::default(),
            patience: Patience::default(),
            caller: OnceLock::new(),
        }
    }

    /// Connects the library to this process's log.
    fn give_voice(&self) {
        let voice = Voice::new(&self.id, self.secrets.clone());
        self.attach(HostV1::new(voice, max_level()));
    }

    /// Connects the library to the log.
    pub fn attach(&self, host: HostV1) {
        exit_guard::call("it was connected to the log", &self.id, || {
            (self.attach)(host);
        });
    }

    /// Calls the plugin on a separate thread; `doing` says what is done, as in "while it was loaded", and `late` what
    /// did not happen in time. Blocks, for ten seconds at most.
    fn ask<T: Send + 'static>(
        &self,
        (doing, late): (&'static str, &'static str),
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let caller = (self.caller)
            .get_or_init(|| Caller::start("evbus plugin"))
            .as_ref()
            .map_err(ToOwned::to_owned)?;
        let id = self.id.clone();
        let what = doing.strip_prefix("while ").unwrap_or(doing);
        let call = move || exit_guard::call(what, &id, work);
        (caller.run(&self.id, doing, (&self.patience, Wait::Sleeping), call)).map_err(|no_answer| {
            match no_answer {
                NoAnswer::Over(over) => over.sentence(late),
                NoAnswer::Behind(hanging) => format!(
                    "{late}, because it has hung for {} s {}; it is asked again once it answers",
                    hanging.since.elapsed().as_secs(),
                    hanging.doing
                ),
                NoAnswer::Failed(reason) => reason,
            }
        })
    }

    /// Whether the loaded plugin agrees with its file's manifest, by which it was selected.
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
                    "its manifest has {what} {said}, but the plugin itself reports {found}; rebuild it with this host's evbus-sdk"
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

    /// A one-line description.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The file it was loaded from; `None` for a linked plugin.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// SHA-256 of its file, in hexadecimal digits; `None` for a linked plugin.
    pub fn hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }

    /// A descriptor of exactly the file that was loaded; `None` for a linked plugin.
    pub fn image(&self) -> Option<BorrowedFd<'_>> {
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

    /// JSON Schema of a destination's configuration; `None` for a match plugin. Blocks for at most ten
    /// seconds.
    ///
    /// # Errors
    ///
    /// One sentence: the plugin does not return a schema in time, or one of more than 1 MiB.
    pub fn config_schema(&self) -> Result<Option<Value>, String> {
        let Some(provider) = self.provider else {
            return Ok(None);
        };
        let doing = (
            "while it was asked for its schema",
            "it did not return its schema",
        );
        let schema = self.ask(doing, move || (provider.config_schema)())?;
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

    /// Faults of a configuration (JSON text), as path and message. Blocks for at most ten seconds; a
    /// missing answer is a fault, too.
    pub fn check_config(
        &self,
        config: Zeroizing<String>,
        secrets: &Secrets,
    ) -> Vec<(String, String)> {
        let Some(provider) = self.provider else {
            return Vec::new();
        };
        let doing = (
            "while it checked a configuration",
            "it did not check the configuration",
        );
        self.secrets.note(secrets);
        let checked = self.ask(doing, move || {
            (provider.check_config)(config.as_str().into())
        });
        let faults = match checked {
            Ok(faults) => faults,
            Err(reason) => {
                let message = format!("plugin {} does not answer: {reason}", self.id);
                return vec![(String::new(), message)];
            }
        };
        // Secrets are hidden before truncating: a truncated secret would not be found.
        let owned = |text: &str| foreign_text::line(&secrets.hide(text), MAX_BYTES).into_owned();
        let mut listed: Vec<_> = (faults.iter().take(MAX_LISTED))
            .map(|ConfigFaultV1 { path, message }| (owned(path), owned(message)))
            .collect();
        let left_out = faults.len() - listed.len();
        if left_out > 0 {
            let faults = counted(left_out as u64, "more fault", "more faults");
            listed.push((String::new(), format!("{faults} not shown")));
        }
        listed
    }

    /// Asks for an instance on a thread that the plugin may block, as it may with every call of the instance.
    /// `done` gets the answer on a thread of the plugin, or nothing where it gives none.
    ///
    /// # Errors
    ///
    /// The system starts no thread for it.
    pub fn connect_apart(
        self: &Arc<Self>,
        config: &str,
        host: HostV1,
        done: impl FnOnce(Option<ConnectOutcomeV1>) + Send + 'static,
    ) -> Result<(), ConnectFailure> {
        let calls = Calls::start().map_err(|reason| ConnectFailure {
            permanent: false,
            reason,
        })?;
        let (plugin, awaited) = (Arc::clone(self), calls.awaited());
        let done = CompletionV1::new(move |answer: Option<ConnectOutcomeV1>| {
            done(answer.map(|made| made.map(|instance| awaited.instance(instance, &plugin.id))));
        });
        let (plugin, config) = (Arc::clone(self), Zeroizing::new(config.to_owned()));
        calls.then(move || plugin.connect(&config, host, done));
        Ok(())
    }

    /// Requests an instance; returns when the plugin does.
    pub(crate) fn connect(&self, config: &str, host: HostV1, done: CompletionV1<ConnectOutcomeV1>) {
        // Without a provider the completion is dropped, which counts as a failed attempt.
        if let Some(provider) = &self.provider {
            exit_guard::call("it was asked to connect", &self.id, || {
                (provider.connect)(config.into(), host, done);
            });
        }
    }

    /// Compiles a pattern set. Blocks for at most ten seconds.
    ///
    /// # Errors
    ///
    /// See [`CompileError`].
    pub fn compile(&self, patterns: &[&str]) -> Result<PatternSetV1, CompileError> {
        let Some(matcher) = self.matcher else {
            let reason = format!("plugin {} is not a match plugin", self.id);
            return Err(CompileError::Plugin(reason));
        };
        let count = patterns.len();
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        let doing = (
            "while it compiled patterns",
            "it did not compile the patterns",
        );
        let compiled = self.ask(doing, move || {
            let patterns: Vec<RStr<'_>> = patterns.iter().map(|p| RStr::from_str(p)).collect();
            (matcher.compile)(patterns.as_slice().into())
        });
        match compiled.map_err(CompileError::Plugin)? {
            RResult::ROk(set) => Ok(set),
            RResult::RErr(faults) => Err(CompileError::Patterns(
                faults
                    .iter()
                    .take(count + MAX_LISTED)
                    .map(|PatternFaultV1 { index, message }| {
                        let message = foreign_text::line(message, MAX_BYTES);
                        (*index as usize, message.into_owned())
                    })
                    .collect(),
            )),
        }
    }
}
