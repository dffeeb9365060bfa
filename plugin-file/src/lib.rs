#![allow(clippy::doc_markdown, reason = "the README is a page of its own, too")]
#![doc = include_str!("../README.md")]
//!
//! # Inside the crate
//!
//! Appends events to a file, one line each: the provider `file`.
//!
//! `README.md` is the operator's reference. The path of an event through this crate:
//!
//! * [`Config`] is the configuration of a destination in the acct file,
//! * `provider` takes batches and answers for them,
//! * `message` turns an event into a line, `lines` holds those of a batch,
//! * `base` is the directory in which events may choose a file, and `files` those of them that are open,
//! * `target` is where lines go: a `regular` file that follows moves, rotates and gets whole lines as
//!   far as there is `room`, or a `stream` such as standard output; `place` finds it, past what others put in
//!   the way,
//! * `outcome` reports what failed, and whether another attempt may succeed.
//!
//! A batch is one `write`, unless space is scarce, and, unless configured otherwise, one `fdatasync`.
//! File calls block; the SDK keeps threads for the other destinations meanwhile.

mod base;
mod config;
mod files;
mod lines;
mod message;
mod outcome;
mod place;
mod provider;
mod regular;
mod room;
mod rotate;
mod stream;
mod target;

pub use config::{Config, Format, Fsync, Mode, Rotate};
pub use provider::FileProvider;

evbus_sdk::export_provider!(FileProvider);
