//! One connection's events.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::task::{Poll, ready};

use evbus_wire::PUB_SOCKET;

use crate::connection::Connection;
use crate::inbox::Inbox;
use crate::{Error, Event};

/// Receives all that a host publishes, over one connection, until that ends. [`Client`](crate::Client)
/// is for programs that choose by tag, wait for a limited time, or outlive the host.
#[derive(Debug)]
pub struct Listener {
    connection: Connection,
    inbox: Inbox,
}

impl Listener {
    /// Connects to the host, or the Salt master, that serves the socket directory `dir`. All that
    /// it publishes from now on is received. Both framings are understood. Needs a tokio runtime
    /// with IO.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`]: there is none, or it does not let this user in.
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
    /// The system's, about the socket.
    pub fn over(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        Ok(Self {
            connection: Connection::over(stream)?,
            inbox: Inbox::default(),
        })
    }

    /// Waits for the next event; `None` when the host has closed the connection. Frames without an
    /// event are skipped. Dropping it while it waits loses nothing.
    ///
    /// A host cuts off listeners that read too slowly, which looks like its end.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`]: the connection broke. [`Error::LostSync`]: the host sent what is no frame.
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
