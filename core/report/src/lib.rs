//! What the host says to people, made fit to be read.
//!
//! Text that comes from outside is cut and cleaned ([`foreign_text`]), numbers agree with their nouns
//! ([`counted`]), bytes have digits ([`hex()`]), and what may happen very often is logged once per burst
//! ([`OncePerBurst`]) or so many times a second ([`LogRate`]). This crate writes nothing itself, and knows nothing of events, plugins or files.
//!
//! API boundary: for the crates of `core/` only. Nothing here blocks or fails.

mod counted;
pub mod foreign_text;
mod hex;
mod log_rate;
mod once_per_burst;

pub use counted::counted;
pub use hex::hex;
pub use log_rate::LogRate;
pub use once_per_burst::OncePerBurst;
