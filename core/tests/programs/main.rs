//! Programs that fire and listen: commands, event libraries, Salt.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod client;
mod event_sockets;
mod exec;
mod from_salt;
mod python_client;
mod render;
mod salt_library;
#[path = "../script/mod.rs"]
mod script;
#[path = "../support/mod.rs"]
mod support;
