//! Plugins: found in directories at run time, checked, loaded, described, and run in processes of their own.
//!
//! A file's way: `discovery` lists the directories, `place` opens what another user cannot have written,
//! `elf` and `manifest` read who it is without running anything, `catalog` decides which plugin serves
//! which name. What is used is loaded: `loading` has it tried in a process of its own, unless `tried`
//! remembers it, `image` makes a copy that nobody can change, and `linker` opens that on the thread of
//! `loader`, and checks its types. `watch` notices changes.
//!
//! Nothing of a plugin is waited for without a limit: `caller` is a thread that may be left behind,
//! `patience` how long anybody waits. `log` takes what plugins say.
//!
//! `exit_guard` sees to it that a plugin does not decide how the process ends, `code` that what only the start needed is let go, `heap` that what plugins and host
//! free goes back to the system.
//!
//! This crate makes instances of plugins and keeps the process safe from them. It does not know what an event
//! is delivered to, reads no acct file, and keeps no event. It is the host's one crate with unsafe code, and all of
//! that is in `linker`, `exit_guard`, `code` and `heap`.
//!
//! API boundary: [`Plugin`], [`Registry`], [`Catalog`] and what they give are re-exported by the crate `evbus`, and
//! so are [`child_main`] and [`ExitGuard`] for programs that run plugins in processes of their own; the rest is for
//! the crates of `core/`. Finding, loading and installing block.

mod caller;
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
mod place;
mod process;
mod registry;
mod tried;
mod watch;

pub use evbus_abi::ABI_VERSION;

pub use caller::{Caller, Wait};
pub use catalog::{Catalog, PluginReport, PluginState};
pub use code::release_startup_code;
pub use connect::ConnectFailure;
pub use discovery::{PluginDir, PluginDirSource, plugin_dirs};
pub use exit_guard::{EXIT_CODE, ExitGuard};
pub use exit_guard::{call as guarded, probing};
pub use heap::return_freed_memory;
pub use install::install;
pub use library::{CompileError, Plugin};
pub use log::{About, admits, instance_rate, log, max_level};
pub use patience::{Over, Patience};
pub use process::{Isolated, LINKED, child_main};
pub use registry::{Registry, inspect};
pub use watch::PluginWatch;
