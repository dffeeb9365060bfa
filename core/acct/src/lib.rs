//! The acct file: which providers exist, the profile patterns they serve, their connections.
//!
//! [`AcctSource`] reads the file. An encrypted file is decrypted (`crypto`) and unpacked (`pack`); a plain file is
//! rendered (`render`) and parsed by `yaml` (`events` are libyaml's; `scalar` decides what a plain word means, `key`
//! which keys are the same) or by `json`. The result is a tree of nodes, with positions if there was text. An
//! [`AcctDocument`] is the whole tree, for encrypting (`pack`) and showing (`emit`). For the host, `overrides` are
//! applied, [`AcctFile`] splits the tree into provider [`Section`]s, and a section returns its [`Entry`]s on request.
//! Only then are secrets given by reference (`secret`, `commands`) read; they are hidden from messages together with those that
//! the entry contains (`secret_keys`; [`Secrets`](evbus_destination::Secrets)). [`evbus_files::trust`] reads the files
//! that others must not be able to write. An entry carries the plugin's [`Config`](evbus_destination::Config) as JSON
//! and the host's own [`Policy`](evbus_destination::Policy).
//!
//! This crate only reads and writes acct files: it knows no plugin and serves no destination, and it does not
//! check what a plugin requires of its configuration.
//!
//! API boundary: [`AcctSource`], [`AcctFile`], [`AcctDocument`], [`AcctError`] and the types that they use are
//! re-exported by the crate `evbus`; the rest is for the crates of `core/`.
//!
//! Everything here blocks while it reads files and while commands that print secrets run; nothing keeps a
//! thread or a lock.

mod commands;
mod crypto;
mod document;
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
mod place;
mod policy_reader;
mod render;
mod running;
mod scalar;
mod secret;
mod secret_keys;
mod seen;
mod source;
mod syntax;
mod yaml;

#[cfg(test)]
mod tests;

pub use commands::{Commands, SECRET_TIMEOUT};
pub use crypto::{AcctKey, Cipher, CryptoError, KeySource};
pub use document::AcctDocument;
pub use entry::{Entry, Extent, ReadEntry};
pub use error::AcctError;
pub use evbus_jinja::{Location, Position};
pub use events::is_parsing;
pub use file::{AcctFile, DEFAULT_MATCH_PLUGIN, Section};
pub use overrides::JsonObject;
pub use policy_reader::byte_size;
pub use render::RenderPipe;
pub use running::end_commands;
pub use secret::MAX_SECRET_BYTES;
pub use source::{AcctSource, MAX_FILE_BYTES, load, parse};
