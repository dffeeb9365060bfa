//! The acct file: which providers exist, the profile patterns they serve, their connections.
//!
//! The way through this module is the text's: [`load`] reads the file, `yaml` turns its events into a
//! tree of positioned nodes (`scalar` decides what a plain word means), [`AcctFile`] splits the tree
//! into provider [`Section`]s, and a section gives its [`Entry`]s when it is asked for them. An entry
//! carries the plugin's configuration as JSON and the host's own [`Policy`].
//!
//! Everything here blocks only for reading the file; nothing keeps a thread or a lock.

mod entry;
mod error;
mod file;
mod node;
mod policy;
mod policy_reader;
mod scalar;
mod source;
mod syntax;
mod yaml;

#[cfg(test)]
mod tests;

pub use entry::Entry;
pub use error::{AcctError, Location, Position};
pub use file::{AcctFile, DEFAULT_MATCH_PLUGIN, Section};
pub use policy::{BatchCaps, DiskLimits, Isolation, Policy, QueueLimits, Retry, WhenFull};
pub use policy_reader::byte_size;
pub use source::{MAX_FILE_BYTES, load, parse};
