//! Operating a host: started, queried, reloaded, stopped.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod bus;
mod control;
mod log_events;
mod many_destinations;
mod pid_namespace;
mod reload;
mod secrets;
mod service;
#[path = "../support/mod.rs"]
mod support;
mod systemd_unit;
