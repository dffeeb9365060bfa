//! Firing with an acknowledgement: the host confirms when it has everything.

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

/// Fires events at a running host of evbus, which acknowledges them. A Salt master never acknowledges
/// events, so [`finish`](Self::finish) fails there.
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
    /// [`Error::Connect`]: no host is running there, or it does not let this user in.
    pub async fn connect(dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            stream: connect(&dir.join(PULL_SOCKET)).await?,
            outgoing: Outgoing::default(),
        })
    }

    /// Sends an event with its id, its time and the exact text of its body. It is written once
    /// 64 KiB have been gathered, or by [`flush`](Self::flush) or [`finish`](Self::finish). Waits
    /// while the host has no room.
    ///
    /// # Errors
    ///
    /// [`Error::Unsendable`]: the event has no tag, or is too long for a frame. [`Error::Broken`]: the
    /// connection was lost.
    pub async fn send(&mut self, tag: &str, event: &Fired<'_>) -> Result<(), Error> {
        if self.outgoing.add(tag, event)? {
            self.flush().await?;
        }
        Ok(())
    }

    /// Like [`send`](Self::send), for a new event that is fired now. The body is any value with a JSON form.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send); also [`Error::Unsendable`] for a body without a JSON form.
    pub async fn fire(&mut self, tag: &str, body: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        if self.outgoing.add_new(tag, body)? {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes the events gathered so far. Only [`finish`](Self::finish) confirms that the host has them.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`]: the connection was lost.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.stream.write_all(&self.outgoing.unsent).await?;
        self.outgoing.unsent.clear();
        Ok(())
    }

    /// Sends the remaining events and waits until the host acknowledges that it keeps every event at each
    /// matching destination, on disk if the destination is `durable`. Without any event it only closes the
    /// connection.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`], [`Error::Unconfirmed`], [`Error::Refused`]: the host did not keep all events, or did
    /// not confirm it. [`Error::Slow`]: the host did not answer within `limit`.
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

/// A host's acknowledgement of the events that it keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// At least one event matches no destination; only listeners received it.
    pub has_unmatched: bool,
}

/// Reads the host's answer.
pub(crate) fn judge(answer: &[u8]) -> Result<Kept, Error> {
    match Answer::read(answer) {
        Some(Answer::Kept) => Ok(Kept::default()),
        Some(Answer::Unmatched) => Ok(Kept {
            has_unmatched: true,
        }),
        Some(Answer::NotKept(reason)) => Err(Error::Refused { reason }),
        // No answer, or one that no host sends.
        None => Err(Error::Unconfirmed),
    }
}

/// Frames on their way to one connection.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// At most one block and one frame.
    pub(crate) unsent: Vec<u8>,
    /// Whether there was any event.
    pub(crate) sent: bool,
}

impl Outgoing {
    /// Adds an event; returns whether there is enough to be written.
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
