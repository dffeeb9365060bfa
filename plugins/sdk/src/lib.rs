//! Write an evbus plugin without unsafe code.
//!
//! A plugin is a `cdylib` crate that depends on this one. Copied into a plugin directory of a
//! running host, it is found, checked and used without a rebuild or a restart.
//!
//! # An ingress provider
//!
//! A configuration struct, `async fn connect`, `async fn publish` and one macro:
//!
//! ```
//! use evbus_sdk::{Batch, ConnectError, Context, Limits, Outcomes, Provider};
//! use evbus_sdk::schemars::{self, JsonSchema};
//! use evbus_sdk::serde::Deserialize;
//!
//! /// The configuration of an entry in the acct file.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(crate = "evbus_sdk::serde")]
//! #[schemars(crate = "evbus_sdk::schemars")]
//! struct Config {
//!     /// Written before every body.
//!     #[serde(default)]
//!     prefix: String,
//! }
//!
//! struct Console {
//!     prefix: String,
//! }
//!
//! impl Provider for Console {
//!     const NAMES: &'static [&'static str] = &["console"];
//!     type Config = Config;
//!
//!     async fn connect(config: Config, _context: Context) -> Result<Self, ConnectError> {
//!         Ok(Self { prefix: config.prefix })
//!     }
//!
//!     async fn publish(&self, batch: Batch) -> Outcomes {
//!         for event in batch.iter() {
//!             eprintln!("{}{}", self.prefix, String::from_utf8_lossy(event.body()));
//!         }
//!         Outcomes::accepted()
//!     }
//! }
//!
//! evbus_sdk::export_provider!(Console);
//! # fn main() {}
//! ```
//!
//! # What the SDK does
//!
//! * The instances of a plugin share a few threads and a tokio runtime: in `connect`, `publish` and `close`, tokio's
//!   timers, sockets and tasks work. A publish that blocks delays the destination it serves, and the others for a moment.
//! * A panic is contained. After one in `connect` or `publish`, the host creates a new instance and tries the events of the
//!   batch again; one in a task of [`Context::spawn`] ends only that task.
//! * `tracing` and `log` lines appear in the host's log under the name of the plugin and the pattern.
//! * The configuration is strict: a key without a field is an error that names the key, with or
//!   without `deny_unknown_fields`. The JSON Schema is generated from the struct.
//!
//! # A match plugin
//!
//! See [`Matcher`] and [`export_matcher!`].

mod batch;
mod carriers;
mod config;
mod expectation;
mod file;
mod instance;
mod known_keys;
#[cfg(feature = "loader")]
pub mod loader;
mod log_bridge;
mod matcher;
mod outcome;
mod plugin;
mod provider;
mod reactor;
mod reading;
mod tasks;
mod template;
mod time_span;

pub use batch::{Batch, Event, EventId};
pub use config::{ConfigFault, Secret, null_is_default, parse_config};
pub use file::{FileFault, check_file, read_file};
pub use log_bridge::LogScope;
pub use matcher::{Matcher, Matches, PatternFault};
pub use outcome::{ConnectError, MAX_RETRY_AFTER, Outcome, Outcomes};
pub use plugin::{matcher_plugin, provider_plugin};
pub use provider::{Context, Limits, Provider};
pub use tasks::Task;
pub use template::{Template, TemplateFault, Templated};
pub use time_span::TimeSpan;

pub use {schemars, serde, serde_json, tokio, tracing};

/// For the export macros and the host's test harness; not meant for plugin code.
#[doc(hidden)]
pub mod __private {
    pub use crate::outcome::WRONG_COUNT;
    pub use crate::plugin::prepare_library;
    pub use evbus_abi::__export_plugin_v1;
    pub use evbus_abi::v1::PluginV1Ref;
}

/// The ABI below this SDK, for test harnesses that act as the host. Plugins do not need it.
pub mod abi {
    pub use evbus_abi::*;
}

/// Exports a [`Provider`] as this shared library's plugin.
///
/// The plugin's id, version and description are the crate's name, version and description.
#[macro_export]
macro_rules! export_provider {
    ($provider:ty) => {
        $crate::__export_provider_as!(
            $provider,
            env!("CARGO_PKG_NAME"),
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_DESCRIPTION")
        );
    };
}

/// Like `export_provider`, with an identity other than the crate's. For tests of hosts.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_provider_as {
    ($provider:ty, $id:expr, $version:expr, $description:expr) => {
        $crate::__private::__export_plugin_v1!(
            $crate::abi::Manifest {
                id: $id,
                version: $version,
                description: $description,
                providers: <$provider as $crate::Provider>::NAMES,
                matchers: &[],
            },
            || -> $crate::__private::PluginV1Ref {
                $crate::__private::prepare_library();
                $crate::provider_plugin::<$provider>($id, $version, $description)
            }
        );
    };
}

/// Exports a [`Matcher`] as this shared library's plugin.
///
/// The plugin's id, version and description are the crate's name, version and description.
#[macro_export]
macro_rules! export_matcher {
    ($matcher:ty) => {
        $crate::__private::__export_plugin_v1!(
            $crate::abi::Manifest {
                id: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                description: env!("CARGO_PKG_DESCRIPTION"),
                providers: &[],
                matchers: <$matcher as $crate::Matcher>::NAMES,
            },
            || -> $crate::__private::PluginV1Ref {
                $crate::__private::prepare_library();
                $crate::matcher_plugin::<$matcher>(
                    env!("CARGO_PKG_NAME"),
                    env!("CARGO_PKG_VERSION"),
                    env!("CARGO_PKG_DESCRIPTION"),
                )
            }
        );
    };
}
