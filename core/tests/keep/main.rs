//! What a host promises to keep: acknowledgements, queues on disk, dead letters.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod acknowledgement;
mod dead_letter_bound;
mod deadletters;
mod file_size_limit;
mod fire_again;
mod foreign_hands;
mod replay;
mod small_disk;
mod state_dir;
#[path = "../support/mod.rs"]
mod support;
