//! Faults are found and named: bad input, `evbus check`, the command line.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod acct_file;
mod as_run;
mod bad_input;
mod beside_a_host;
mod command_line;
mod events;
mod forged_lines;
mod other_user;
mod per_event;
mod same_words;
#[path = "../support/mod.rs"]
mod support;
