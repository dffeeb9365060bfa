#![allow(clippy::doc_markdown, reason = "the README is a page of its own, too")]
#![doc = include_str!("../README.md")]
//!
//! # Inside the crate
//!
//! Publishes events to Apache Kafka.
//!
//! One event becomes one message in every configured topic: the payload is the event's body,
//! byte for byte; id, time, content type and string tags travel as headers. An event is accepted
//! when the brokers have acknowledged it in every topic. README.md is the operator's reference.
//!
//! The path of an event through the crate: `address` says where it goes; `provider` passes a batch to librdkafka,
//! complete and in order, with the headers that `message` creates; librdkafka's delivery reports arrive on a thread of
//! their own in `client` and are counted in `reports`; `outcome` turns failures into outcomes.
//! `oversize` resends a message set that a broker finds too large, message by message; `missing` looks
//! for a topic or partition that does not exist. `config` is the configuration in the acct file,
//! `properties` turns it into librdkafka's properties, `files` checks the files they name. `connect`
//! makes a connection, `reach` checks that the addresses advertised by the cluster are reachable, `link`
//! watches the connection, `cause` explains why it fails.

mod address;
mod cause;
mod client;
pub mod config;
mod connect;
mod contradictions;
mod files;
mod link;
mod message;
mod missing;
mod outcome;
mod oversize;
mod pace;
pub mod properties;
mod property_names;
mod provider;
mod reach;
mod refused;
mod reports;
mod security;

pub use provider::Kafka;

evbus_sdk::export_provider!(Kafka);
