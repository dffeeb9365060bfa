//! Plugins: found, replaced, hostile, in processes of their own.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod beside;
mod hostile_calls;
mod hostile_install;
mod hostile_matrix;
mod hostile_plugins;
mod hostile_start;
mod hostile_words;
mod isolation;
mod live_plugins;
mod memory_not_executable;
mod missing_plugins;
mod out_of_tree;
mod process_greeting;
mod process_isolation;
mod process_limit;
#[path = "../support/mod.rs"]
mod support;
