//! The event library for programs without an async runtime: the same interface over blocking sockets.
//!
//! Nothing here needs tokio or starts a thread. In an asynchronous task, a call blocks the task's thread, as
//! reading a file does.

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

use evbus_wire::SocketPath;

use crate::Error;

fn connect(path: &Path) -> Result<UnixStream, Error> {
    let connected = SocketPath::new(path).and_then(|path| UnixStream::connect(path.as_path()));
    connected.map_err(|source| Error::Connect {
        path: path.to_owned(),
        source,
    })
}
