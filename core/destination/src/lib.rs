//! A destination as the acct file describes it: what the code that serves one needs to know.
//!
//! A [`Destination`] names one entry, its [`Policy`] says what the host does for it, its [`Config`] is passed to
//! its plugin, and its [`Secrets`] are kept out of every message. The module [`environment`] keeps the key of the acct
//! file from the processes that a host starts. This crate reads no file and serves nothing: `acct` makes these values, and
//! lanes and plugins use them.
//!
//! API boundary: the crate `evbus` re-exports what programs that embed a host use; the rest is for the crates
//! of `core/`. Nothing here blocks.

mod config;
pub mod environment;
mod policy;
pub mod secret_forms;
mod secrets;

use std::fmt;

use evbus_report::foreign_text;
use serde::Serialize;

pub use config::{Config, wipe};
pub use policy::{
    BatchCaps, DeadLetterLimits, DeadLettersFull, Dedup, DiskLimits, Isolation, Policy,
    QueueLimits, Rate, Retry, WhenFull,
};
pub use secrets::Secrets;

/// Names one entry of the acct file. Displayed as `PROVIDER[INDEX] PATTERN`, on one line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Destination {
    /// The provider, as written in the file.
    pub provider: String,
    /// The profile pattern.
    pub pattern: String,
    /// The number of the entry among those of its provider, in file order, from 0.
    pub index: usize,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Both come from the acct file unchanged, and this becomes part of messages.
        let shown = foreign_text::shown;
        write!(
            f,
            "{}[{}] {}",
            shown(&self.provider),
            self.index,
            shown(&self.pattern)
        )
    }
}
