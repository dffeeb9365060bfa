//! Senders: their connections, their frames, and the memory they may use.

pub(crate) mod connection;
pub(crate) mod decode;
pub(crate) mod departures;
pub(crate) mod intake;
pub(crate) mod memory_budget;
pub(crate) mod reading;
pub(crate) mod slots;
