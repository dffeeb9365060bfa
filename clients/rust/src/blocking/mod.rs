//! The event library for programs without a runtime: the same, over sockets that block.
//!
//! Nothing here needs tokio, or starts a thread; called in an asynchronous task, it blocks the task's
//! thread, as reading a file does.

mod client;
mod events;
mod firing;
mod link;
mod sender;

pub use client::Client;
pub use events::Events;
pub use firing::Firing;
pub use sender::Sender;

use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::Error;

fn connect(path: &Path) -> Result<UnixStream, Error> {
    UnixStream::connect(path).map_err(|source| Error::Connect {
        path: path.to_owned(),
        source,
    })
}
