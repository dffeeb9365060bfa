//! Firing with an answer: the host says when it has everything.

use std::path::Path;
use std::time::Duration;

use evbus_wire::{
    Answer, EventId, Exact, Finite, Fired, Frame, MAX_ANSWER_BYTES, PULL_SOCKET, now_unix_ns,
};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::Error;
use crate::connection::{BLOCK_BYTES, connect};
use crate::outgoing::{check_tag, unsendable};

/// Fires events at a running host of evbus, and learns that it has taken them. A Salt master never
/// answers, so [`finish`](Self::finish) fails there.
#[derive(Debug)]
pub struct Sender {
    stream: UnixStream,
    outgoing: Outgoing,
}

impl Sender {
    /// Connects to the host that serves the socket directory `dir`. Needs a tokio runtime with IO.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`]: there is none, or it does not let this user in.
    pub async fn connect(dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            stream: connect(&dir.join(PULL_SOCKET)).await?,
            outgoing: Outgoing::default(),
        })
    }

    /// Sends an event with its id, its time and the exact text of its body. It is written when
    /// 64 KiB have been gathered, or with [`flush`](Self::flush) or [`finish`](Self::finish). Waits
    /// while the host has no room.
    ///
    /// # Errors
    ///
    /// [`Error::Unsendable`]: the event has no tag, or is too long for a frame. [`Error::Broken`]: the
    /// connection broke.
    pub async fn send(&mut self, tag: &str, event: &Fired<'_>) -> Result<(), Error> {
        if self.outgoing.add(tag, event)? {
            self.flush().await?;
        }
        Ok(())
    }

    /// As [`send`](Self::send): a new event, fired now, whose body is any value that has a JSON form.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); also [`Error::Unsendable`] for a body without a JSON form.
    pub async fn fire(&mut self, tag: &str, body: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        if self.outgoing.add_new(tag, body)? {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes all that has been gathered. That the host has it is known after
    /// [`finish`](Self::finish) only.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`]: the connection broke.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.stream.write_all(&self.outgoing.unsent).await?;
        self.outgoing.unsent.clear();
        Ok(())
    }

    /// Sends all that is left, and waits until the host says that it keeps every event: at each
    /// destination that it belongs to, on disk where that is `durable`. Without an event it only
    /// closes.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`], [`Error::Unconfirmed`], [`Error::Refused`]: the host has not kept all, or
    /// does not say so. [`Error::Slow`]: not within `limit`.
    pub async fn finish(mut self, limit: Duration) -> Result<Kept, Error> {
        let taken = async {
            if !self.outgoing.sent {
                return Ok(Kept::default());
            }
            self.flush().await?;
            self.stream.shutdown().await?;
            let mut answer = Vec::new();
            let mut stream = self.stream.take(MAX_ANSWER_BYTES as u64);
            stream.read_to_end(&mut answer).await?;
            judge(&answer)
        };
        tokio::time::timeout(limit, taken)
            .await
            .map_err(|_| Error::Slow(limit))?
    }
}

/// What a host says of events that it keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// At least one event matches no destination's pattern: listeners alone had it.
    pub has_unmatched: bool,
}

/// What the host's answer says.
pub(crate) fn judge(answer: &[u8]) -> Result<Kept, Error> {
    match Answer::read(answer) {
        Some(Answer::Kept) => Ok(Kept::default()),
        Some(Answer::Unmatched) => Ok(Kept {
            has_unmatched: true,
        }),
        Some(Answer::NotKept(reason)) => Err(Error::Refused { reason }),
        // Nothing, or nothing that a host says.
        None => Err(Error::Unconfirmed),
    }
}

/// Frames on their way to one connection.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// At most a block and a frame.
    pub(crate) unsent: Vec<u8>,
    /// Whether there was an event at all.
    pub(crate) sent: bool,
}

impl Outgoing {
    /// Adds an event; tells whether there is enough to be written.
    pub(crate) fn add(&mut self, tag: &str, event: &Fired<'_>) -> Result<bool, Error> {
        check_tag(tag)?;
        let frame = Frame::of_evbus(tag, event, Exact::Yes).map_err(unsendable(tag))?;
        for piece in frame.pieces() {
            self.unsent.extend_from_slice(piece);
        }
        self.sent = true;
        Ok(self.unsent.len() >= BLOCK_BYTES)
    }

    pub(crate) fn add_new(
        &mut self,
        tag: &str,
        body: &(impl Serialize + ?Sized),
    ) -> Result<bool, Error> {
        let json = serde_json::to_vec(&Finite(body))
            .map_err(|error| unsendable(tag)(error.to_string()))?;
        let time_unix_ns = now_unix_ns();
        let event = Fired {
            json: &json,
            id: EventId::new(time_unix_ns),
            time_unix_ns,
        };
        self.add(tag, &event)
    }
}
