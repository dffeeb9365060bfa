#![doc = include_str!("../README.md")]

pub mod blocking;
mod builder;
mod client;
mod connection;
mod error;
mod event;
mod events;
mod firing;
mod framing;
mod inbox;
mod incoming;
mod link;
mod listener;
mod outgoing;
mod pending;
mod reception;
mod request;
mod sender;
mod tag_filter;

pub use builder::ClientBuilder;
pub use client::Client;
pub use error::Error;
pub use evbus_wire::{EventId, Fired, LostSync};
pub use event::Event;
pub use events::Events;
pub use firing::Firing;
pub use framing::PullFraming;
pub use incoming::{Gap, Incoming, Lost};
pub use listener::Listener;
pub use request::GetEvent;
pub use sender::{Kept, Sender};
pub use tag_filter::{MatchType, TagFilter};
