//! Firing as Salt's programs do, with blocking calls.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use evbus_wire::PULL_SOCKET;
use serde::Serialize;

use super::connect;
use crate::firing::{FAR, RETRY_DELAY};
use crate::outgoing::salt_frame;
use crate::{Error, PullFraming};

/// Like [`crate::Firing`], but blocks the thread.
#[derive(Debug, Clone)]
pub struct Firing {
    path: PathBuf,
    framing: PullFraming,
    timeout: Duration,
    connection: Arc<Mutex<Option<UnixStream>>>,
}

impl Firing {
    /// Fires at the host that serves the socket directory `dir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(PULL_SOCKET),
            framing: PullFraming::default(),
            timeout: Duration::from_secs(1),
            connection: Arc::default(),
        }
    }

    /// How frames are written; `Prefixed` by default.
    #[must_use]
    pub fn framing(mut self, framing: PullFraming) -> Self {
        self.framing = framing;
        self
    }

    /// How long to try to connect; 1 second by default, as in Salt.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Fires an event; see [`crate::Firing::fire_event`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::Firing::fire_event`].
    pub fn fire_event(&self, data: &(impl Serialize + ?Sized), tag: &str) -> Result<(), Error> {
        let frame = salt_frame(tag, data, self.framing)?;
        let now = Instant::now();
        let until = now.checked_add(self.timeout).unwrap_or(now + FAR);
        // If a thread panicked while it held the lock, it had already taken the connection out.
        let mut place = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            // Taken out, so that a connection that fails within a frame is not used again.
            let mut stream = match place.take() {
                Some(stream) => stream,
                None => self.connect(until)?,
            };
            match stream.write_all(&frame) {
                Ok(()) => {
                    *place = Some(stream);
                    return Ok(());
                }
                // The host has not received the whole frame, so it has not received the event.
                Err(error) if Instant::now() >= until => return Err(error.into()),
                Err(_) => {}
            }
        }
    }

    fn connect(&self, until: Instant) -> Result<UnixStream, Error> {
        loop {
            match connect(&self.path) {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() + RETRY_DELAY >= until => return Err(error),
                Err(_) => std::thread::sleep(RETRY_DELAY),
            }
        }
    }
}
