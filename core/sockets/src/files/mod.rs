//! The sockets as files: directories, locks, names, owners and groups.

pub(crate) mod directory;
pub(crate) mod error;
pub(crate) mod examine;
pub(crate) mod group;
pub(crate) mod lost_files;
pub(crate) mod names;
pub mod peer;
pub(crate) mod socket_file;
