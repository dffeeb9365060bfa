//! Plugins: found in directories at run time, checked, loaded, described, and run in processes of their own.
//!
//! The path of a file: `discovery` lists the directories, `trusted_path` opens files that no other user can
//! have written, `elf` and `manifest` identify the plugin without running it, and `catalog` decides
//! which plugin serves which name. A plugin that is used is loaded: `loading` probes it in a process of
//! its own, unless `tried` remembers it, `image` makes an immutable copy, and `linker` opens the copy on
//! the thread of `loader` and checks its types. `watch` notices changes.
//!
//! Every wait for a plugin is limited: `caller` is a thread that may be left behind, `calls` has such threads for
//! the calls of all instances, `patience` sets the limits. `log` receives the log lines of plugins.
//!
//! `exit_guard` keeps plugins from deciding how the process ends, `code` releases code that only the
//! start needed, and `heap` returns memory freed by plugins and host to the system.
//!
//! This crate creates instances of plugins and protects the process from them. It serves no destination,
//! reads no acct file and keeps no events. It is the only crate of the host with unsafe code, all of it
//! in `linker`, `exit_guard`, `code` and `heap`.
//!
//! API boundary: [`Plugin`], [`Registry`], [`Catalog`] and what they give are re-exported by the crate `evbus`, and
//! so are [`child_main`] and [`ExitGuard`] for programs that run plugins in processes of their own; the rest is for
//! the crates of `core/`. Finding, loading and installing block.

mod caller;
mod calls;
mod candidate;
mod catalog;
#[allow(unsafe_code)]
mod code;
mod connect;
mod discovery;
mod elf;
#[allow(unsafe_code)]
mod exit_guard;
#[allow(unsafe_code)]
mod heap;
mod image;
mod install;
mod library;
#[allow(unsafe_code)]
mod linker;
mod loader;
mod loading;
mod log;
mod manifest;
mod patience;
mod process;
mod registry;
mod tried;
mod trusted_path;
mod watch;

pub use evbus_abi::ABI_VERSION;

pub(crate) use caller::{Caller, Wait};
pub use catalog::{Catalog, PluginReport, PluginState};
pub use code::release_startup_code;
pub use connect::ConnectFailure;
pub use discovery::{PluginDir, PluginDirSource, plugin_dirs};
pub use exit_guard::call as guarded;
pub(crate) use exit_guard::probing;
pub use exit_guard::{EXIT_CODE, ExitGuard};
pub use heap::return_freed_memory;
pub use install::install;
pub use library::{CompileError, Plugin};
pub use log::{About, admits, instance_rate, log, max_level};
pub use patience::{Over, Patience};
pub use process::{Isolated, LINKED, child_main};
pub use registry::{Registry, inspect};
pub use watch::PluginWatch;
