#![allow(clippy::doc_markdown, reason = "the README is a page of its own, too")]
#![doc = include_str!("../README.md")]
//!
//! # Inside the crate
//!
//! Publishes events to `RabbitMQ` and other AMQP 0-9-1 brokers, with publisher confirms.
//!
//! The operator's reference is this crate's README. The path of an event through it:
//!
//! ```text
//! Batch -> provider   one batch at a time, one outcome per event
//!       -> link       the connection, held up by itself; `cause` says why there is none
//!       -> place      does the exchange or the queue exist?
//!       -> address    event -> exchange, routing key
//!       -> queues     on the default exchange: is there a queue? declare it
//!       -> message    event -> properties, headers
//!       -> publisher  all of a batch into the channel, then all confirms; splits a batch whose
//!                     channel the broker closed until the bad event stands alone
//!       -> unconfirmed  what a broker that blocks the connection has, so that it is not sent again
//!       -> outcome    what the broker said -> accepted | retry | rejected
//! ```
//!
//! lapin's own recovery is deliberately not used. It gives up after a number of attempts, and it reopens
//! a channel in place, so that a publish cannot tell which confirms are still pending. Here, a lost
//! connection fails everything unconfirmed, and a new one starts with nothing pending.

mod address;
mod cause;
mod config;
mod connect;
mod endpoint;
mod link;
mod message;
mod outcome;
mod place;
mod provider;
mod publisher;
mod queues;
mod tls;
mod unconfirmed;

pub use config::{Config, ConnectionConfig, Property, SslOptions};
pub use provider::Pika;

evbus_sdk::export_provider!(Pika);
