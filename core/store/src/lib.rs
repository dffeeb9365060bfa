//! The state directory: events that wait on disk, and dead letters.
//!
//! It keeps the events of lanes, and returns them whatever happens to the process or the disk. It
//! delivers nothing, decides nothing about an event, and does not use plugins.
//!
//! API boundary: [`StateDir`] and [`deadletters`] are re-exported by the crate `evbus`; [`Journal`] and
//! its types are for lanes. Opening and `deadletters` block for the disk; a journal's other functions
//! pass work to its thread and do not block.
//!
//! Every destination has a store of its own, one `SQLite` file in `queues/`, so that a slow, full or
//! damaged store affects only one destination. A store is written by one thread (`journal` talks to it),
//! which gathers changes and commits them together. Every record has a checksum. A damaged file is moved
//! to `quarantine/`, and its readable records are copied into a new one (`salvage`).
//!
//! [`StateDir`] holds the lock of the directory and its limits. `deadletters` serves the command `evbus
//! deadletters`, with and without a running host.

mod ahead;
mod burying;
mod carve;
pub mod deadletters;
mod full_disk;
mod image;
mod journal;
mod letters;
mod lock;
mod log_bound;
mod pack;
mod pending;
mod place;
mod queue;
mod reads;
mod receipt;
mod record;
mod salvage;
mod schema;
mod shrink;
mod state_dir;
mod wal;
mod writer;

pub use journal::{Journal, record_bytes};
pub use letters::LetterCounts;
pub use pending::{Burial, Loaded, OnReplayed};
pub use receipt::Receipt;
pub use record::Stored;
pub use state_dir::{StateDir, StateError, StateLimits};

use evbus_report::hex;
use salvage::beside;
use sha2::{Digest as _, Sha256};

/// The entry of an acct file that a store belongs to, stable when the file is reloaded or rearranged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreName {
    /// The provider, as written in the file.
    pub provider: String,
    /// The profile pattern.
    pub pattern: String,
    /// Counts the provider's entries with exactly this pattern, from 0.
    pub nth: usize,
}

impl StoreName {
    /// The name of the file, without its ending: readable, and unique by a part of a hash.
    fn file_stem(&self) -> String {
        let readable = |text: &str| -> String {
            text.chars()
                .map(|c| {
                    if c.is_ascii_alphanumeric() || "-.".contains(c) {
                        c
                    } else {
                        '_'
                    }
                })
                .take(32)
                .collect()
        };
        let digest = Sha256::digest(format!("{}\n{}\n{}", self.provider, self.nth, self.pattern));
        let (provider, pattern) = (readable(&self.provider), readable(&self.pattern));
        format!("{provider}-{pattern}-{}", hex(&digest[..6]))
    }
}

#[cfg(test)]
mod bound_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod end_tests;
#[cfg(test)]
mod odd_file_tests;
#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod tests;
