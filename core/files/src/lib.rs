//! Files and directories that a configuration or an operator names.
//!
//! A file is opened so that nothing blocks the host, whatever the file is, and read up to a limit
//! ([`named_file`]); a place is reached step by step, each checked on its descriptor ([`walk`]); a directory is found
//! or created where no other user controls what is there ([`usable_dir`]), or inspected without changing it; a file is
//! written where no link of another user leads ([`written_file`]); and the files of a configuration are read only if
//! nobody else could have written them ([`trust`]); one process at a time holds a [`lock`]. [`owners`] reports who could change something. This crate does
//! not interpret what is in a file.
//!
//! API boundary: for the crates of `core/` only. Everything here blocks for the file system; pipes have a
//! deadline.

pub mod lock;
pub mod named_file;
pub mod owners;
pub mod trust;
pub mod usable_dir;
pub mod walk;
pub mod written_file;
