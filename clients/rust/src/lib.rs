//! The event library of evbus.

mod connection;
mod error;
mod event;
mod fnmatch;
mod inbox;
mod listener;
mod outgoing;
mod sender;
mod tag_filter;

pub use error::Error;
pub use evbus_wire::{EventId, Fired};
pub use event::Event;
pub use listener::Listener;
pub use sender::Sender;
pub use tag_filter::{MatchType, TagFilter};
