//! The host: acct file, plugins, bus and sockets put together and kept running.
//!
//! [`Host`] starts everything, follows the acct file and the plugin directories, and shuts down. A
//! [`Plan`] combines an acct file with the plugins, `deployment` is the destinations at work, `control`
//! answers operators, and [`LogEvents`] fires the log as events. It connects the crates below
//! it: this crate does not deliver events itself, and the only format it parses is that of the control socket.
//!
//! API boundary: everything public here is re-exported by the crate `evbus`. Needs a tokio runtime;
//! blocking work runs on threads of its own.

pub mod control;
mod deployment;
mod host;
mod log_events;
mod plan;

pub use deployment::{ReloadError, TooFewOpenFiles};
pub use host::{Examination, Host, HostBuilder, StartError};
pub use log_events::{LOG_EVENTS_QUEUE, LogEvents};
pub use plan::{Given, Plan, Planned, Trial};
