//! The other ends of the sockets: firing at a running host, and listening to one.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::event::{Event, EventId};
use evbus_wire::mapping::data_to_json;
use evbus_wire::{
    ACKNOWLEDGED, Content, Decoder, Exact, Fired, Frame, LostSync, PUB_SOCKET, PULL_SOCKET,
};

/// How much is read, and gathered to be written, at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// What goes wrong between a program and a host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No host answers there.
    #[error(
        "cannot connect to the event socket {path:?}: {source}; is a host running with this socket directory?"
    )]
    Connect {
        /// The socket.
        path: std::path::PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The event cannot be sent; others can.
    #[error("the event for profile {profile:?} cannot be sent: {reason}")]
    Unsendable {
        /// The event's profile.
        profile: String,
        /// Why.
        reason: String,
    },
    /// The connection broke. Of the events sent since it was made, some may not have arrived.
    #[error("the connection to the host broke: {0}")]
    Broken(#[from] io::Error),
    /// The host ended before it had taken all events; some may have arrived.
    #[error(
        "the host closed the connection without saying that it has all events; some may not have arrived"
    )]
    Unconfirmed,
    /// The host says that it did not take all events.
    #[error("the host did not take all events, and its log says why; the others were taken")]
    Refused,
    /// The host did not take all events in time.
    #[error("the host did not take all events within {} seconds; it may be waiting for room", .0.as_secs_f64())]
    Slow(Duration),
    /// The host sent what is no frame.
    #[error("the host sent what cannot be read: {0}")]
    LostSync(#[from] LostSync),
}

async fn connect(dir: &Path, socket: &str) -> Result<UnixStream, ClientError> {
    let path = dir.join(socket);
    match UnixStream::connect(&path).await {
        Ok(stream) => Ok(stream),
        Err(source) => Err(ClientError::Connect { path, source }),
    }
}

/// Fires events at a running host.
#[derive(Debug)]
pub struct Sender {
    stream: UnixStream,
    unsent: Vec<u8>,
    /// Whether there was an event at all.
    sent: bool,
}

impl Sender {
    /// Connects to the host that serves the socket directory `dir`.
    ///
    /// # Errors
    ///
    /// There is none, or it does not let this user in.
    pub async fn connect(dir: &Path) -> Result<Self, ClientError> {
        Ok(Self {
            stream: connect(dir, PULL_SOCKET).await?,
            unsent: Vec::new(),
            sent: false,
        })
    }

    /// Sends an event with its id, its time and the exact text of its body. It is written when
    /// enough has been gathered, or with [`flush`](Self::flush) or [`finish`](Self::finish). Waits
    /// while the host has no room.
    ///
    /// # Errors
    ///
    /// The event is too long for a frame, or the connection broke.
    pub async fn send(&mut self, event: &Event) -> Result<(), ClientError> {
        let fired = Fired {
            json: event.body(),
            id: event.id(),
            time_unix_ns: event.time_unix_ns(),
        };
        let frame = Frame::of_evbus(event.profile(), &fired, Exact::Yes).map_err(|reason| {
            ClientError::Unsendable {
                profile: event.profile().to_owned(),
                reason,
            }
        })?;
        self.unsent.extend(frame.pieces().concat());
        self.sent = true;
        if self.unsent.len() >= BLOCK_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes all that has been gathered. That the host has it is known after
    /// [`finish`](Self::finish) only.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.stream.write_all(&self.unsent).await?;
        self.unsent.clear();
        Ok(())
    }

    /// Sends all that is left, and waits until the host says that it has taken every event; where a
    /// destination is `durable`, until they are on disk. Without an event it only closes.
    ///
    /// # Errors
    ///
    /// The connection broke, or the host has not taken all, or not within `limit`.
    pub async fn finish(mut self, limit: Duration) -> Result<(), ClientError> {
        let taken = async {
            if !self.sent {
                return Ok(());
            }
            self.flush().await?;
            self.stream.shutdown().await?;
            let mut answer = [0; 1];
            match (self.stream.read(&mut answer).await?, answer[0]) {
                (0, _) => Err(ClientError::Unconfirmed),
                (_, ACKNOWLEDGED) => Ok(()),
                _ => Err(ClientError::Refused),
            }
        };
        tokio::time::timeout(limit, taken)
            .await
            .map_err(|_| ClientError::Slow(limit))?
    }
}

/// Receives a host's events.
#[derive(Debug)]
pub struct Listener {
    stream: UnixStream,
    buffer: BytesMut,
    decoder: Decoder,
}

/// An event as listeners receive it.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The profile, which Salt calls the tag.
    pub tag: String,
    /// Salt's DATA: one msgpack map.
    pub data: Bytes,
    /// The id, where a program of this project fired the event.
    pub id: Option<EventId>,
    /// When such a program fired it, in nanoseconds since the Unix epoch.
    pub time_unix_ns: Option<u64>,
    payload: Bytes,
}

impl Received {
    /// DATA as JSON text, with `_stamp`.
    ///
    /// # Errors
    ///
    /// The text would be longer than a body may be.
    pub fn data_json(&self) -> Result<Vec<u8>, String> {
        data_to_json(&self.data)
    }

    /// The body as it was fired, as JSON text: for an event of a Salt program, DATA.
    ///
    /// # Errors
    ///
    /// As [`data_json`](Self::data_json).
    pub fn body_json(&self) -> Result<Vec<u8>, String> {
        Content::read(&self.payload)
            .map_err(|fault| fault.to_string())?
            .body_json()
    }
}

impl Listener {
    /// Connects to the host, or the Salt master, that serves the socket directory `dir`. All that
    /// it publishes from now on is received. Both framings are understood.
    ///
    /// # Errors
    ///
    /// There is none, or it does not let this user in.
    pub async fn connect(dir: &Path) -> Result<Self, ClientError> {
        Ok(Self {
            stream: connect(dir, PUB_SOCKET).await?,
            buffer: BytesMut::new(),
            decoder: Decoder::new(),
        })
    }

    /// Listens on a connection to a pub socket.
    #[cfg(test)]
    pub(super) fn over(stream: std::os::unix::net::UnixStream) -> Self {
        stream.set_nonblocking(true).expect("it is a socket");
        Self {
            stream: UnixStream::from_std(stream).expect("the test has a runtime"),
            buffer: BytesMut::new(),
            decoder: Decoder::new(),
        }
    }

    /// Waits for the next event; `None` when the host has closed the connection. Frames without an
    /// event are skipped. Dropping it while it waits loses nothing.
    ///
    /// A host cuts off listeners that read too slowly, which looks like its end.
    ///
    /// # Errors
    ///
    /// The connection broke, or the host sent what is no frame.
    pub async fn next(&mut self) -> Result<Option<Received>, ClientError> {
        loop {
            if let Some((payload, len)) = self.decoder.next(&self.buffer)? {
                let prefix = len - payload.len();
                let payload = self.buffer.split_to(len).freeze().slice(prefix..);
                if let Some(received) = received(&payload) {
                    return Ok(Some(received));
                }
                continue;
            }
            self.buffer.reserve(BLOCK_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

fn received(payload: &Bytes) -> Option<Received> {
    let content = Content::read(payload).ok()?;
    Some(Received {
        tag: content.tag.to_owned(),
        data: payload.slice_ref(content.data),
        id: content
            .head
            .as_ref()
            .map(|head| EventId::from_bytes(head.id)),
        time_unix_ns: content.head.as_ref().map(|head| head.time_unix_ns),
        payload: payload.clone(),
    })
}
