//! Idem: its events, its templates and its serial forms, compared with the real one.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod events;
mod expressions;
#[path = "../json_server/mod.rs"]
mod json_server;
mod pop_evbus;
mod pop_serial;
#[path = "../torture/random.rs"]
#[allow(dead_code)]
mod random;
mod real_idem;
mod render_idem;
#[path = "../script/mod.rs"]
mod script;
#[path = "../support/mod.rs"]
mod support;
