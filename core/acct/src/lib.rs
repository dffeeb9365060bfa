//! The acct file: which providers exist, the profile patterns they serve, their connections.
//!
//! The way through this module is the file's: [`AcctSource`] reads it. An encrypted file is decrypted
//! (`crypto`) and unpacked (`pack`); a plain one is rendered (`render`) and read by `yaml` (`events` are
//! libyaml's; `scalar` decides what a plain word means, `key` which keys are the same) or `json`. Either way it is a tree of nodes, with positions where
//! there was a text. Of the tree, an [`AcctDocument`] is everything, for encrypting (`pack`) and showing
//! (`emit`). For the host, `overrides` are put in, [`AcctFile`] splits it into provider [`Section`]s, and
//! a section gives its [`Entry`]s when it is asked for them; that is when secrets given by reference
//! (`secret`) are read; with those that stand in the entry (`secret_keys`) they are hidden
//! ([`Secrets`](evbus_destination::Secrets)). [`evbus_files::trust`] reads the files that others must not have written. An entry carries the plugin's [`Config`] as JSON and the host's own [`Policy`].
//!
//! This crate only reads and writes acct files: it knows no plugin and serves no destination, and what a plugin
//! requires of its configuration is for others to check.
//!
//! API boundary: [`AcctSource`], [`AcctFile`], [`AcctDocument`], [`AcctError`] and what they are made with are
//! re-exported by the crate `evbus`; the rest is for the crates of `core/`.
//!
//! Everything here blocks for reading files, and for the commands that give secrets; nothing keeps a
//! thread or a lock.

mod crypto;
mod document;
mod duration;
mod emit;
mod entry;
mod error;
mod events;
mod file;
mod json;
mod key;
mod merge;
mod node;
mod overrides;
mod pack;
mod policy_reader;
mod render;
mod running;
mod scalar;
mod secret;
mod secret_keys;
mod source;
mod syntax;
mod yaml;

#[cfg(test)]
mod tests;

pub use crypto::{AcctKey, Cipher, CryptoError, KeySource};
pub use document::AcctDocument;
pub use duration::duration;
pub use entry::Entry;
pub use entry::ReadEntry;
pub use error::AcctError;
pub use evbus_destination::{
    BatchCaps, Config, DeadLetterLimits, DeadLettersFull, DiskLimits, Isolation, Policy,
    QueueLimits, Retry, WhenFull,
};
pub use evbus_jinja::{Location, Position, TemplateError};
pub use file::{AcctFile, DEFAULT_MATCH_PLUGIN, Section};
pub use overrides::JsonObject;
pub use policy_reader::byte_size;
pub use render::RenderPipe;
pub use running::end_commands;
pub use secret::{MAX_SECRET_BYTES, SECRET_TIMEOUT};
pub use source::{AcctSource, MAX_FILE_BYTES, load, parse};
