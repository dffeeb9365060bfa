//! Plugins: found in directories at run time, checked, loaded, and described.
//!
//! A file's way: `discovery` lists the directories, `permissions` refuses what another user could
//! have written, `elf` reads the headers without running anything, `library` opens a private copy
//! and checks its types, `catalog` decides which plugin serves which name, `watch` notices changes.
//!
//! `exit_guard` sees to it that a plugin does not decide how the process ends.
//!
//! This is the host's one module with unsafe code, and all of it is in `library` and `exit_guard`.

mod catalog;
mod discovery;
mod elf;
#[allow(unsafe_code)]
mod exit_guard;
mod install;
#[allow(unsafe_code)]
mod library;
mod permissions;
mod registry;
mod watch;

pub use evbus_abi::ABI_VERSION;

pub use catalog::{Catalog, PluginReport, PluginState};
pub use discovery::{PluginDir, PluginDirSource, plugin_dirs};
pub use exit_guard::{EXIT_CODE, ExitGuard};
pub use install::install;
pub use library::Plugin;
pub use registry::{Registry, inspect};
pub(crate) use watch::PluginWatch;
