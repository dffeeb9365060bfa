//! Real brokers: Kafka, `RabbitMQ`, and files beside them.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod all_three;
mod check_connect;
#[path = "../consumers/mod.rs"]
mod consumers;
mod document;
mod fatal;
mod pages;
mod restart;
#[path = "../salt_events/mod.rs"]
mod salt_events;
mod salt_run;
#[path = "../support/mod.rs"]
mod support;
