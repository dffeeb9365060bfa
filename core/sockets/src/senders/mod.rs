//! Programs that fire: their connections, what stands in their frames, and the memory they may take.

pub(crate) mod connection;
pub(crate) mod decode;
pub(crate) mod intake;
pub(crate) mod memory_budget;
pub(crate) mod slots;
