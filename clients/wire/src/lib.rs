//! The wire format of the event sockets, which a host and its senders and listeners speak, whether they
//! belong to evbus or to Salt.
//!
//! A frame is one msgpack map with a body: a tag, two newlines, and DATA, one more map. [`Decoder`]
//! finds frames in a stream, [`Content`] reads one, [`Frame`] writes one; [`mapping`] turns DATA into
//! JSON text and back. `docs/EVENT_SOCKETS.md` describes the format, and which parts of it are Salt's.
//!
//! Nothing here reads or writes a socket, blocks (except [`SocketPath`], for a directory), or allocates more
//! than the input requires within the limits below.

mod answer;
mod encode;
mod finite;
mod frame;
mod id;
mod in_words;
mod json;
pub mod mapping;
mod pack;
mod socket_path;
mod stamp;
mod token;

#[cfg(test)]
mod tests;

pub use answer::{Answer, MAX_ANSWER_BYTES};
pub use encode::{Exact, Fired, Frame};
pub use finite::Finite;
pub use frame::{Content, Decoder, EvbusHead, Fault, Framing, LostSync, MAX_FRAME_BYTES};
pub use id::{EventId, NotAnId, now_unix_ns};
pub use in_words::in_words;
pub use json::{JsonFloat, JsonString, JsonToken, JsonTokens};
pub use socket_path::{MAX_ADDRESS_BYTES, SocketPath};
pub use stamp::stamp;

/// The socket that listeners connect to; Salt's name.
pub const PUB_SOCKET: &str = "master_event_pub.ipc";

/// The socket that programs fire events at; Salt's name.
pub const PULL_SOCKET: &str = "master_event_pull.ipc";

/// The largest body, in bytes: what a frame can carry.
pub const MAX_BODY_BYTES: usize = 100 * 1024 * 1024;

/// The longest tag, in bytes. A tag is the profile name of an event.
pub const MAX_TAG_BYTES: usize = 64 * 1024;

/// The deepest nesting of a body.
pub const MAX_DEPTH: usize = 128;
