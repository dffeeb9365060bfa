//! Files and directories that a configuration or an operator names.
//!
//! A file is opened so that nothing holds the host up, whatever it is, and read up to a bound
//! ([`named_file`]); a place is reached step by step, each judged on its descriptor ([`walk`]); a
//! directory is found or made where nobody else chooses what is there ([`usable_dir`]), or looked at without
//! changing it; a file is written where no link of another user leads ([`written_file`]); and the files of a configuration are
//! read only where nobody else could have written them ([`trust`]). Who could
//! change something, [`owners`] says. What is in a file means nothing to this crate.
//!
//! API boundary: for the crates of `core/` only. Everything here blocks for the file system; pipes have a
//! deadline.

pub mod named_file;
pub mod owners;
pub mod trust;
pub mod usable_dir;
pub mod walk;
pub mod written_file;
