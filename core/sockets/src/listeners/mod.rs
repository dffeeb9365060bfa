//! Programs that listen: what they are sent, and how each reads it at its own pace.

pub(crate) mod broadcast;
pub(crate) mod connection;
pub(crate) mod encode;
pub(crate) mod log;
pub(crate) mod publisher;
