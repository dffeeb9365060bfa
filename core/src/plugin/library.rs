//! Opens a plugin file: a private copy, the one symbol, the type check.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use evbus_abi::v1::{
    CompletionV1, ConfigFaultV1, ConnectOutcomeV1, HostV1, MatcherFnsV1, PatternSetV1, PluginV1Ref,
    ProviderV1,
};
use evbus_abi::{AbiHeaderRef, RResult, RStr, SYMBOL_V1, open_v1};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use serde_json::Value;

use super::exit_guard;

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
    /// Loads a plugin from the bytes of `path`, which `elf::check` has passed.
    ///
    /// Blocks for a copy of the file and for its constructors.
    ///
    /// # Errors
    ///
    /// One sentence; the details go to the log at debug level.
    pub(crate) fn load(path: &Path, bytes: &[u8], hash: &str) -> Result<Self, String> {
        let (mut plugin, image) =
            exit_guard::call("it was loaded", &path.to_string_lossy(), || {
                let (module, image) = open_copy(bytes, hash)?;
                Ok::<_, String>((Self::linked(module), image))
            })?;
        plugin.path = Some(path.to_owned());
        plugin.hash = Some(hash.to_owned());
        plugin.image = Some(image);
        Ok(plugin)
    }

    /// Loads a plugin in its own process from what the host has loaded ([`image`](Self::image)):
    /// the very same pages, which both processes share, and no second copy.
    ///
    /// # Errors
    ///
    /// As for `load`.
    pub(crate) fn of_image(mut image: File, path: &Path) -> Result<Self, String> {
        // The linker opens the descriptor anew, through the one place that gives it a path.
        let descriptor = PathBuf::from(format!("/proc/self/fd/{}", image.as_raw_fd()));
        let (module, image) = if descriptor.exists() {
            (open(&descriptor)?, image)
        } else {
            let mut bytes = Vec::new();
            image
                .read_to_end(&mut bytes)
                .map_err(|error| format!("it cannot be read: {error}"))?;
            open_copy(&bytes, "image")?
        };
        let mut plugin = Self::linked(module);
        plugin.path = Some(path.to_owned());
        plugin.image = Some(image);
        Ok(plugin)
    }

    /// Takes a plugin that is linked into this program, as `evbus_sdk::provider_plugin` makes it.
    pub fn linked(module: PluginV1Ref) -> Self {
        let info = module.info();
        let provider = module.provider().into_option();
        let matcher = module.matcher().into_option();
        let owned = |names: evbus_abi::RVec<evbus_abi::RString>| {
            names.into_iter().map(String::from).collect()
        };
        Self {
            id: info.id.to_string(),
            version: info.version.to_string(),
            description: info.description.to_string(),
            path: None,
            hash: None,
            image: None,
            provider_names: provider.map(|p| owned((p.names)())).unwrap_or_default(),
            matcher_names: matcher.map(|m| owned((m.names)())).unwrap_or_default(),
            provider,
            matcher,
        }
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

    /// JSON Schema of a destination's configuration; none for a match plugin.
    pub fn config_schema(&self) -> Option<Value> {
        let provider = self.provider.as_ref()?;
        let schema = exit_guard::call("it was asked for its schema", &self.id, || {
            (provider.config_schema)()
        });
        Some(serde_json::from_str(&schema).unwrap_or(Value::Bool(true)))
    }

    /// Faults of a configuration (JSON text), as path and message.
    pub(crate) fn check_config(&self, config: &str) -> Vec<(String, String)> {
        let Some(provider) = &self.provider else {
            return Vec::new();
        };
        let faults = exit_guard::call("it checked a configuration", &self.id, || {
            (provider.check_config)(config.into())
        });
        faults
            .into_iter()
            .map(|ConfigFaultV1 { path, message }| (path.into(), message.into()))
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
                .into_iter()
                .map(|fault| (fault.index as usize, fault.message.into()))
                .collect()),
        }
    }
}

/// Opens a private copy of a plugin and checks its types.
///
/// The copy exists so that overwriting the original in place cannot reach mapped pages (which
/// kills the process), and because the dynamic linker gives the old library for a path it has
/// seen. It is unlinked as soon as it is mapped, so nothing is left behind; the descriptor that
/// comes with the plugin keeps it for processes of its own.
fn open_copy(bytes: &[u8], hash: &str) -> Result<(PluginV1Ref, File), String> {
    let directory = tempfile::Builder::new()
        .prefix("evbus-plugin-")
        .tempdir()
        .map_err(|error| {
            format!(
                "no private copy of it could be made ({error}); set TMPDIR to a usable directory"
            )
        })?;
    let copy = directory.path().join(format!("{hash}.so"));
    let image = File::create(&copy)
        .and_then(|mut file| file.write_all(bytes))
        // For reading only: nobody who gets the descriptor can change what is mapped.
        .and_then(|()| File::open(&copy))
        .map_err(|error| {
            format!(
                "no private copy of it could be made ({error}); set TMPDIR to a usable directory"
            )
        })?;
    Ok((open(&copy)?, image))
}

/// Opens a library that nobody changes any more, and checks its types.
fn open(copy: &Path) -> Result<PluginV1Ref, String> {
    // SAFETY: opening runs the library's constructors. The file is a plugin by its symbol, written
    // by nobody but the host's user or root; trusting such files is what a plugin directory means.
    let library = unsafe { Library::open(Some(copy), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        tracing::debug!(%error, "dlopen");
        let error = error.to_string().replace(&*copy.to_string_lossy(), "it");
        format!(
            "the dynamic linker refuses it ({error}); link its libraries statically, and make \
                 sure that TMPDIR is not mounted noexec"
        )
    })?;
    // Symbol names are constants without NUL bytes, so this cannot fail.
    let symbol = CString::new(SYMBOL_V1).unwrap_or_default();
    // SAFETY: a symbol of this name is a static `LibHeader` of abi_stable by the contract, whose
    // first field is what `AbiHeaderRef` points to; it checks a magic string before anything else.
    let header: AbiHeaderRef = *unsafe { library.get(symbol.as_bytes_with_nul()) }
        .map_err(|_| format!("the dynamic linker does not find {SYMBOL_V1} in it"))?;
    // Never unloaded: threads and function pointers of the plugin live on.
    std::mem::forget(library);
    open_v1(header).map_err(|error| {
        tracing::debug!(detail = %error.detail, "plugin header refused");
        error.sentence
    })
}
