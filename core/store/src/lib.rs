//! The state directory: events that wait on disk, and dead letters.
//!
//! It keeps what lanes hand in, and gives it back after whatever happens to the process or the disk. It
//! delivers nothing, decides nothing about an event, and knows nothing of plugins.
//!
//! API boundary: [`StateDir`] and [`deadletters`] are re-exported by the crate `evbus`; [`Journal`] and what
//! goes in and out of it is for lanes. Opening and `deadletters` block for the disk; a journal's other
//! functions hand over to its thread and do not.
//!
//! Every destination has a store of its own, one `SQLite` file in `queues/`, so that a store that is
//! slow, full or damaged is one destination's trouble. A store is written by one thread (`journal`
//! talks to it), which gathers what has come in and commits it at once. Whatever is read carries a
//! checksum. A file that cannot be used is moved to `quarantine/`, and what can be read of it goes
//! into a new one (`salvage`).
//!
//! [`StateDir`] holds the lock of the directory and its limits. `deadletters` is what the command
//! `evbus deadletters` uses, beside a running host and without one.

mod burying;
mod carve;
pub mod deadletters;
mod full_disk;
mod image;
mod journal;
mod letters;
mod log_bound;
mod pending;
mod place;
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

/// Which entry of an acct file a store belongs to, however often the file is read or rearranged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreName {
    /// The provider, as it stands in the file.
    pub provider: String,
    /// The profile pattern.
    pub pattern: String,
    /// Counts the provider's entries with this very pattern, from 0.
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
mod reader_tests;
#[cfg(test)]
mod tests;
