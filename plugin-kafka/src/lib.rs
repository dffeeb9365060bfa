//! Publishes events to Apache Kafka.
//!
//! One event becomes one message in every configured topic: the payload is the event's body,
//! byte for byte; id, time, content type and string tags travel as headers. An event is accepted
//! when the brokers have acknowledged it in every topic. README.md is the operator's reference.
//!
//! An event's way through the crate: `provider` hands a batch to librdkafka, whole and in order,
//! with `message` making the headers; librdkafka's delivery reports arrive on a thread of their
//! own in `client` and are counted in `reports`; `outcome` says what a failure means. A
//! message set that a broker finds too large is sent again in `oversize`, message by message; a
//! topic or partition that does not exist is looked for in `missing`. `config` is what stands in the
//! acct file, `properties` turns it into librdkafka's properties, `files` looks at the files they name. `connect`
//! makes a connection, `reach` sees that the cluster's own addresses lead to it, `link` watches it, `cause` says
//! why it fails.

mod cause;
mod client;
pub mod config;
mod connect;
mod files;
mod link;
mod message;
mod missing;
mod outcome;
mod oversize;
pub mod properties;
mod property_names;
mod provider;
mod reach;
mod refused;
mod reports;
mod security;

pub use provider::Kafka;

evbus_sdk::export_provider!(Kafka);
