//! Opens a plugin's shared library, for test harnesses (feature `loader`).
//!
//! A harness does not use the host's loader, so that a plugin is tested only against the ABI.
#![allow(unsafe_code)]

use std::path::Path;

use evbus_abi::v1::PluginV1Ref;
use evbus_abi::{AbiHeaderRef, SYMBOL_V1, open_v1};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// Why a file was not opened as a plugin.
#[derive(Debug)]
pub struct OpenFailure {
    /// One sentence.
    pub sentence: String,
    /// All details; may be long.
    pub detail: String,
}

impl std::fmt::Display for OpenFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for OpenFailure {}

/// Opens a plugin file that a test names; it stays mapped until the process ends. Runs the file's
/// constructors, and blocks for that.
///
/// # Errors
///
/// The file is not a shared library, or not a plugin with this ABI.
pub fn open(path: &Path) -> Result<PluginV1Ref, OpenFailure> {
    let failure = |what: &str, error: libloading::Error| OpenFailure {
        sentence: format!("{what} {}: {error}", path.display()),
        detail: format!("{error:?}"),
    };
    // SAFETY: the file is one that the test names; its constructors are as trusted as the test.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| failure("cannot open", error))?;
    // SAFETY: a symbol of this name is a static `LibHeader` in every file that follows the
    // contract, and `AbiHeaderRef` is a transparent pointer to its first part; it checks the
    // header's magic before anything else.
    let header = unsafe { library.get::<AbiHeaderRef>(SYMBOL_V1) }
        .map(|symbol| *symbol)
        .map_err(|error| failure("no plugin header in", error))?;
    // Never unloaded: threads of the plugin run its code until the process ends.
    std::mem::forget(library);
    open_v1(header).map_err(|error| OpenFailure {
        sentence: format!("{}: {}", path.display(), error.sentence),
        detail: error.detail,
    })
}
