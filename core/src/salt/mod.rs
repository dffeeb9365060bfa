//! The event sockets: Salt's event bus, served on Unix sockets.
//!
//! A program that fires writes frames to the pull socket of a directory ([`Server`]); a listener
//! reads frames from its pub socket ([`Publisher`]). `docs/EVENT_SOCKETS.md` describes both, and
//! what of it is Salt's.

mod arrival;
pub mod client;
mod directory;
mod encode;
mod frame;
mod hub;
mod listener;
mod log;
pub(crate) mod mapping;
mod pack;
pub(crate) mod peer;
mod publisher;
mod pull;
mod server;
mod socket_file;
mod stamp;
mod token;

#[cfg(test)]
mod tests;

pub use directory::{PUB_SOCKET, PULL_SOCKET, SocketDir, SocketError};
pub use frame::{Framing, LostSync, MAX_FRAME_BYTES};
pub use publisher::{LISTENER_QUEUE_BYTES, Publisher, PublisherCounts};
pub(crate) use pull::{PullCounters, Taken};
pub(crate) use server::serve;
pub use server::{PullCounts, Server};
pub(crate) use socket_file::SocketFile;
