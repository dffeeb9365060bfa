//! The event sockets: Salt's event bus, served on Unix sockets.
//!
//! A sender writes frames to the pull socket of a directory ([`Server`], `senders`); a listener reads
//! frames from its pub socket ([`Publisher`], `listeners`). `files` handles the sockets as files, and
//! `salt_master` takes the events of a running Salt master. `docs/EVENT_SOCKETS.md` describes the
//! sockets, and which parts are Salt's. This crate decides nothing about an event and keeps none:
//! incoming events go to the [`Intake`] of the host.
//!
//! API boundary: [`SocketDir`], [`SocketGroup`], [`SaltMaster`], [`Publisher`] and the counts are
//! re-exported by the crate `evbus`; the rest is for the host. Needs a tokio runtime; only binding and
//! examining directories block.

mod files;
mod limits;
mod listeners;
mod salt_master;
mod senders;
mod server;

#[cfg(test)]
mod tests;

pub use evbus_wire::{Framing, LostSync, MAX_FRAME_BYTES, PUB_SOCKET, PULL_SOCKET};
pub use files::directory::{SocketDir, SocketOptions, is_among};
pub use files::error::SocketError;
pub use files::examine::{examine_control, is_served};
pub use files::group::SocketGroup;
pub use files::names::CONTROL_SOCKET;
pub use files::peer;
pub use files::socket_file::SocketFile;
pub use listeners::publisher::{LISTENER_QUEUE_BYTES, Publisher, PublisherCounts};
pub use salt_master::{FollowCounters, Follower, SaltMaster, SaltMasterStatus};
pub use senders::connection::PullCounters;
pub use senders::intake::{Confirmation, Intake, Taken, Wanted};
pub use server::{PullCounts, Server, serve};
