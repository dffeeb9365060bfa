//! Plugins: found, replaced, hostile, in processes of their own.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod hostile_calls;
mod hostile_plugins;
mod isolation;
mod live_plugins;
mod missing_plugins;
mod out_of_tree;
mod process_isolation;
#[path = "../support/mod.rs"]
mod support;
