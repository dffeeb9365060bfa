//! The control socket: how an operator controls a running host.
//!
//! Every socket directory of a host and its state directory have a socket [`CONTROL_SOCKET`]. A program
//! writes one JSON object per line (`{"evbus": 1, "ask": "status"}`) and reads one per line. `protocol`
//! defines the requests and answers, `server` is the host's side, [`Client`] the operator's.

mod answers;
mod client;
mod protocol;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use answers::Handle;
pub use client::{Client, ControlError, StatusAnswer};
pub use evbus_sockets::CONTROL_SOCKET;
pub use protocol::{
    DestinationStatus, HostStatus, PluginsStatus, Reloaded, StateDirStatus, Status,
};
pub(crate) use server::{Server, serve};

use evbus_delivery::LaneStatus;
use evbus_store::deadletters::Filter;

/// The requests that a host answers.
pub(crate) trait Controlled: Send + Sync + 'static {
    /// The host and its destinations at this moment. Never waits.
    fn status(&self) -> (HostStatus, Vec<LaneStatus>);

    /// Puts the dead letters that match the filter back into their queues; returns how many, or a sentence that says
    /// why not.
    fn replay(&self, filter: Filter) -> impl Future<Output = Result<u64, String>> + Send;

    /// Deletes the dead letters that match the filter; returns how many, or a sentence that says why not.
    fn purge(&self, filter: Filter) -> impl Future<Output = Result<u64, String>> + Send;

    /// Reads the acct file again; returns what that changed, or a sentence that says why nothing did.
    fn reload(&self) -> impl Future<Output = Result<Reloaded, String>> + Send;
}
