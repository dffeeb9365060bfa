//! Acct files: encrypted, edited, read beside the real Idem.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod command;
mod edit;
mod hosts;
#[path = "../json_server/mod.rs"]
mod json_server;
mod memory;
mod python;
#[path = "../support/mod.rs"]
mod support;
