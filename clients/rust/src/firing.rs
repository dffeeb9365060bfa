//! Firing as Salt's programs do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evbus_wire::PULL_SOCKET;
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use crate::connection::connect;
use crate::outgoing::salt_frame;
use crate::{Error, PullFraming};

/// How long to wait before another attempt to connect.
pub(crate) const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Fires events without listening. Clones share one connection, which is opened for the first event and
/// reopened when it has ended.
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

    /// Fires an event as Salt's `fire_event` does: `data`, which must become a map, travels as msgpack
    /// with `_stamp`, the time, in place of any it has. Bytes stay bytes where the type says bytes.
    /// Waits while the host has no room. Needs a tokio runtime with IO and time.
    ///
    /// Success means that the operating system has the event, not that the host has it: a host that ends at
    /// this moment may lose the event. Use [`Sender`](crate::Sender) for an acknowledgement. If the future
    /// is dropped, the event is either fired completely or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Unsendable`]: the tag is empty or longer than 64 KiB, the data are not a map, or the
    /// frame would be longer than 100 MiB. [`Error::Connect`]: no host answered within the timeout.
    /// [`Error::Broken`]: the host disconnects whenever the event is written.
    pub async fn fire_event(
        &self,
        data: &(impl Serialize + ?Sized),
        tag: &str,
    ) -> Result<(), Error> {
        let frame = salt_frame(tag, data, self.framing)?;
        // A time too distant for the clock is replaced by one day.
        let now = Instant::now();
        let until = now.checked_add(self.timeout).unwrap_or(now + FAR);
        let mut place = self.connection.lock().await;
        loop {
            // Taken out, so that a connection that fails within a frame is not used again.
            let mut stream = match place.take() {
                Some(stream) => stream,
                None => self.connect(until).await?,
            };
            match stream.write_all(&frame).await {
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

    async fn connect(&self, until: Instant) -> Result<UnixStream, Error> {
        loop {
            let error = match timeout_at(until, connect(&self.path)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => Error::Connect {
                    path: self.path.clone(),
                    source: std::io::ErrorKind::TimedOut.into(),
                },
            };
            let retry = Instant::now() + RETRY_DELAY;
            if retry >= until {
                return Err(error);
            }
            sleep(RETRY_DELAY).await;
        }
    }
}

pub(crate) const FAR: Duration = Duration::from_hours(24);
