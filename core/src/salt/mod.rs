//! The event sockets: Salt's event bus, served on Unix sockets.
//!
//! A program that fires writes frames to the pull socket of a directory ([`Server`]); a listener
//! reads frames from its pub socket ([`Publisher`]). `docs/EVENT_SOCKETS.md` describes both, and
//! what of it is Salt's.

mod arrival;
mod departure;
mod directory;
mod examine;
mod follow;
mod group;
mod hub;
mod intake;
mod limits;
mod listener;
mod log;
mod lost_files;
mod names;
pub(crate) mod peer;
mod publisher;
mod pull;
mod room;
mod server;
mod slots;
mod socket_file;

#[cfg(test)]
mod tests;

pub(crate) use directory::SocketOptions;
pub use directory::{SocketDir, SocketError};
pub use evbus_wire::{Framing, LostSync, MAX_FRAME_BYTES, PUB_SOCKET, PULL_SOCKET};
pub(crate) use examine::is_alive;
pub(crate) use follow::{FollowCounters, Follower, is_among};
pub use follow::{SaltMaster, SaltMasterStatus};
pub use group::SocketGroup;
pub(crate) use intake::{Intake, Taken, Wanted};
pub use publisher::{LISTENER_QUEUE_BYTES, Publisher, PublisherCounts};
pub(crate) use pull::PullCounters;
pub(crate) use server::serve;
pub use server::{PullCounts, Server};
pub(crate) use socket_file::SocketFile;
