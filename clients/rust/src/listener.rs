//! One connection's events.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::task::{Poll, ready};

use evbus_wire::PUB_SOCKET;

use crate::connection::Connection;
use crate::inbox::Inbox;
use crate::{Error, Event};

/// Receives every event that a host publishes, over one connection, until that ends. Use
/// [`Client`](crate::Client) to select events by tag, to wait for a limited time, or to outlive the host.
#[derive(Debug)]
pub struct Listener {
    connection: Connection,
    inbox: Inbox,
}

impl Listener {
    /// Connects to the host, or the Salt master, that serves the socket directory `dir`. Every
    /// event that it publishes from now on is received. Both framings are understood. Needs a tokio runtime
    /// with IO.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`]: no host is running there, or it does not let this user in.
    pub async fn connect(dir: &Path) -> Result<Self, Error> {
        let connection = Connection::open(&dir.join(PUB_SOCKET)).await?;
        Ok(Self {
            connection,
            inbox: Inbox::default(),
        })
    }

    /// Listens on a connection to a pub socket. Needs a tokio runtime with IO.
    ///
    /// # Errors
    ///
    /// The operating system's error about the socket.
    pub fn over(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        Ok(Self {
            connection: Connection::over(stream)?,
            inbox: Inbox::default(),
        })
    }

    /// Waits for the next event; `None` when the host has closed the connection. Frames without an
    /// event are skipped. Dropping the future loses nothing.
    ///
    /// A host disconnects listeners that read too slowly, which looks as if the host had ended.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`]: the connection was lost. [`Error::LostSync`]: the host sent something other than a
    /// frame.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| {
            loop {
                if let Some(event) = self.inbox.next()? {
                    return Poll::Ready(Ok(Some(event)));
                }
                match ready!(self.connection.poll_read(cx))? {
                    [] => return Poll::Ready(Ok(None)),
                    bytes => self.inbox.fill(bytes),
                }
            }
        })
        .await
    }
}
