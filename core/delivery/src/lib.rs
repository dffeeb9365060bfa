//! Delivery: from an event that is fired to the answers of its destinations.
//!
//! The [`Bus`] takes an event and passes it to the listeners and to every [`Lane`] that the [`Router`]
//! finds for it; a lane keeps it in its queue until its plugin has answered for it. `fired` reports the
//! result, `internal` is the provider that the embedding program reads itself. This crate reads no acct
//! file, opens no socket and finds no plugins: the host decides which lanes exist, and receives their
//! results.
//!
//! API boundary: [`Bus`], [`LaneStatus`], [`Router`], [`InternalReader`], [`PutError`] and what they show are
//! re-exported by the crate `evbus`; the rest is for the host. Needs a tokio runtime; nothing here blocks one.

mod bus;
mod fired;
mod internal;
mod lane;
mod listeners;
mod router;

pub use bus::{Bus, FiredMany, Routes, WeakBus};
pub use fired::{EndReason, Fired, FiredCounts, PutError, Receipts};
pub use internal::{
    INTERNAL, INTERNAL_QUEUE_BYTES, INTERNAL_QUEUE_EVENTS, InternalEvent, InternalQueues,
    InternalReader,
};
pub use lane::log_scope::lane as lane_at_work;
pub use lane::{
    Connector, Counts, InstanceState, Lane, LaneStatus, OnDead, PausedBy, Setup, Shared, closed,
    reason,
};
pub use listeners::Listeners;
pub use router::{Route, Router, Undecided};
