//! Helps to write messages that people can read.
//!
//! Text from outside is truncated and cleaned ([`foreign_text`]), numbers agree with their nouns ([`counted`]), sizes have units ([`size()`]), bytes
//! become digits ([`hex()`]), what the system refused is said without its numbers ([`system_text()`]), and frequent occurrences are logged once per burst ([`OncePerBurst`]) or at a limited
//! rate ([`LogRate`]). This crate writes nothing itself, and knows nothing of events, plugins or files.
//!
//! API boundary: for the crates of `core/` only. Nothing here blocks or fails.

mod counted;
pub mod foreign_text;
mod hex;
mod log_rate;
mod once_per_burst;
mod size;
mod system_text;

pub use counted::counted;
pub use hex::hex;
pub use log_rate::LogRate;
pub use once_per_burst::OncePerBurst;
pub use size::size;
pub use system_text::system_text;
