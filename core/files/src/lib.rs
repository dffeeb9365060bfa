//! Files and directories that a configuration or an operator names.
//!
//! A file is opened so that nothing holds the host up, whatever it is, and read up to a bound
//! ([`named_file`]); a place is reached step by step, each judged on its descriptor ([`walk`]); and a
//! directory is looked at without changing it ([`usable_dir`]). This crate decides nothing about owners and
//! modes, and never writes.
//!
//! API boundary: for the crates of `core/` only. Everything here blocks for the file system; pipes have a
//! deadline.

pub mod named_file;
pub mod usable_dir;
pub mod walk;
