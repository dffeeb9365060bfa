//! Firing with an acknowledgement, with blocking calls.

use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use evbus_wire::{Fired, MAX_ANSWER_BYTES, PULL_SOCKET};
use serde::Serialize;

use super::connect;
use crate::Error;
use crate::connection::read;
use crate::sender::{Kept, Outgoing, judge};

/// Like [`crate::Sender`], but blocks the thread.
#[derive(Debug)]
pub struct Sender {
    stream: UnixStream,
    outgoing: Outgoing,
}

impl Sender {
    /// Connects to the host that serves the socket directory `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`]: no host is running there, or it does not let this user in.
    pub fn connect(dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            stream: connect(&dir.join(PULL_SOCKET))?,
            outgoing: Outgoing::default(),
        })
    }

    /// Sends an event; see [`crate::Sender::send`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::Sender::send`].
    pub fn send(&mut self, tag: &str, event: &Fired<'_>) -> Result<(), Error> {
        if self.outgoing.add(tag, event)? {
            self.flush()?;
        }
        Ok(())
    }

    /// Sends a new event; see [`crate::Sender::fire`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::Sender::fire`].
    pub fn fire(&mut self, tag: &str, body: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        if self.outgoing.add_new(tag, body)? {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the events gathered so far; see [`crate::Sender::flush`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::Sender::flush`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.stream.write_all(&self.outgoing.unsent)?;
        self.outgoing.unsent.clear();
        Ok(())
    }

    /// Sends the remaining events and waits until the host acknowledges all of them; see
    /// [`crate::Sender::finish`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::Sender::finish`].
    pub fn finish(mut self, limit: Duration) -> Result<Kept, Error> {
        if !self.outgoing.sent {
            return Ok(Kept::default());
        }
        self.finish_within(limit).map_err(|error| match error {
            Error::Broken(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                Error::Slow(limit)
            }
            error => error,
        })
    }

    fn finish_within(&mut self, limit: Duration) -> Result<Kept, Error> {
        let start = Instant::now();
        let left = || {
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            Ok(Some(left))
        };
        let mut rest = &self.outgoing.unsent[..];
        while !rest.is_empty() {
            self.stream.set_write_timeout(left()?)?;
            match self.stream.write(rest) {
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        let mut part = [0; MAX_ANSWER_BYTES];
        while answer.len() < MAX_ANSWER_BYTES {
            self.stream.set_read_timeout(left()?)?;
            match read(&mut self.stream, &mut part)? {
                0 => break,
                len => answer.extend_from_slice(&part[..len]),
            }
        }
        judge(&answer)
    }
}
