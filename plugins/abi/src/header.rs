//! How a plugin's exported symbol becomes a checked root module.

use abi_stable::library::{AbiHeaderRef, LibHeader, LibraryError};

use crate::v1::PluginV1Ref;

/// Version of this contract. Hosts load plugins of the same major version.
pub const ABI_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Every version of the contract exports its header under this prefix followed by its number, so a
/// file tells which versions it speaks before any of its code runs.
pub const SYMBOL_PREFIX: &str = "evbus_plugin_v";

/// The one symbol a v1 plugin exports: a static `LibHeader`.
pub const SYMBOL_V1: &str = "evbus_plugin_v1";

/// Why a header was not accepted.
#[derive(Debug)]
pub struct OpenError {
    /// One sentence for the operator.
    pub sentence: String,
    /// Everything `abi_stable` has to say; may be thousands of characters, for the debug log.
    pub detail: String,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for OpenError {}

/// Checks a plugin's header against this crate's v1 types and returns its root module.
///
/// The header must come from [`SYMBOL_V1`] of a library that is never unloaded. Runs the plugin's
/// constructor function once per file; a panic in it is an error here. Does not block beyond that.
///
/// # Errors
///
/// One sentence naming what differs: another `abi_stable`, another major version of this contract,
/// another layout of a type, or a constructor that failed.
pub fn open_v1(header: AbiHeaderRef) -> Result<PluginV1Ref, OpenError> {
    header
        .upgrade()
        .and_then(LibHeader::init_root_module::<PluginV1Ref>)
        .map_err(|error| OpenError {
            sentence: sentence(&error),
            detail: error.to_string(),
        })
}

fn sentence(error: &LibraryError) -> String {
    match error {
        LibraryError::IncompatibleVersionNumber {
            expected_version,
            actual_version,
            ..
        } => format!(
            "it was built for plugin ABI {actual_version}, this host speaks {expected_version}; \
             rebuild it with a matching evbus-sdk"
        ),
        LibraryError::InvalidAbiHeader(_) | LibraryError::InvalidCAbi { .. } => {
            "its header comes from another abi_stable or another C ABI; rebuild it with this \
             host's evbus-sdk"
                .to_owned()
        }
        LibraryError::AbiInstability(_) => "its plugin ABI types have another layout than this \
            host's, though it claims the same version; rebuild it with a released evbus-sdk"
            .to_owned(),
        LibraryError::RootModule { .. } => {
            "its constructor failed; ask its author, or run with --log-level debug".to_owned()
        }
        _ => "its plugin header cannot be read; rebuild it with this host's evbus-sdk".to_owned(),
    }
}

/// Defines what a v1 plugin file consists of: its manifest, which the root module that `$make` makes
/// has to agree with, and the header.
///
/// Used by the SDK's export macros; plugin authors never call it themselves.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_plugin_v1 {
    ($manifest:expr, $make:expr) => {
        const _: () = {
            const MANIFEST: $crate::Manifest<'static> = $manifest;

            // SAFETY: no other item of this crate graph has the symbol's name, and the section holds
            // nothing but manifests. It is a symbol so that no linker drops it.
            #[allow(unsafe_code)]
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".evbus_plugin")]
            #[used]
            #[allow(non_upper_case_globals)]
            pub static evbus_plugin_manifest: [u8; MANIFEST.json_len()] = MANIFEST.to_json();

            extern "C" fn __evbus_root_module() -> $crate::__private::RootModuleResult {
                $crate::__private::__call_root_module_loader($make)
            }

            // SAFETY: `__evbus_root_module` returns the erased form of `PluginV1Ref`, the very type that the
            // header is made for; no other item of this crate graph has the symbol's name.
            #[allow(unsafe_code)]
            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals)]
            pub static evbus_plugin_v1: $crate::__private::LibHeader = unsafe {
                $crate::__private::LibHeader::from_constructor::<$crate::v1::PluginV1Ref>(
                    __evbus_root_module,
                    $crate::__private::CheckTypeLayout::Yes,
                )
            };
        };
    };
}
