//! Listeners: the events they are sent, which each reads at its own pace.

pub(crate) mod broadcast;
pub(crate) mod connection;
pub(crate) mod encode;
pub(crate) mod frames;
pub(crate) mod log;
pub(crate) mod publisher;
