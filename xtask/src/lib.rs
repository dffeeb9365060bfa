//! What the development commands share with the tests of the other crates: the programs they need
//! from the system, private brokers to test against, and the real Salt
//! library and Idem.

pub mod brokers;
pub mod idem;
pub mod peers;
pub mod python;
pub mod salt;
pub mod system;

use std::path::PathBuf;

/// Cargo's target directory, where things that outlive one run are kept.
fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    )
}
