//! The host: acct file, plugins, bus and sockets put together and kept up.
//!
//! [`Host`] starts everything, follows the acct file and the plugin directories, and shuts down. A [`Plan`] is an acct
//! file and the plugins brought together, `deployment` the destinations at work, `control` how operators ask a running
//! host, and [`LogEvents`] the log as events. This crate delivers nothing itself and reads no format itself: it
//! wires the crates below it.
//!
//! API boundary: everything public here is re-exported by the crate `evbus`. Needs a tokio runtime; what blocks is
//! given to threads for that.

pub mod control;
mod deployment;
mod host;
mod log_events;
mod plan;

pub use deployment::{ReloadError, TooFewOpenFiles};
pub use host::{Examination, Host, HostBuilder, StartError};
pub use log_events::{LOG_EVENTS_QUEUE, LogEvents};
pub use plan::{Plan, Planned, Trial};
