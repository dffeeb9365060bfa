//! How a client is set up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pending::PendingLimit;
use crate::{Client, Error, MatchType, PullFraming, blocking};

/// Settings of a client; each has a default.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before connect or connect_blocking"]
pub struct ClientBuilder {
    pub(crate) dir: PathBuf,
    pub(crate) match_type: MatchType,
    pub(crate) reconnect: bool,
    pub(crate) wait_for_host: bool,
    pub(crate) pull_framing: PullFraming,
    pub(crate) fire_timeout: Duration,
    pub(crate) pending: PendingLimit,
}

impl ClientBuilder {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            match_type: MatchType::default(),
            reconnect: true,
            wait_for_host: false,
            pull_framing: PullFraming::default(),
            fire_timeout: Duration::from_secs(1),
            pending: PendingLimit {
                events: 10_000,
                bytes: 64 << 20,
            },
        }
    }

    /// How tags are compared if a request does not specify it: Salt's `event_match_type`. `startswith` by
    /// default.
    pub fn match_type(mut self, match_type: MatchType) -> Self {
        self.match_type = match_type;
        self
    }

    /// Whether to reconnect when the connection ends. The first attempt follows after 50 ms; the delay then
    /// doubles up to one second, without a limit of attempts. On by default. If off, every request after
    /// the end returns [`Error::Closed`].
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Allows the client to start before its host: connecting cannot fail, and events arrive once a host is
    /// running. Off by default.
    pub fn wait_for_host(mut self, wait_for_host: bool) -> Self {
        self.wait_for_host = wait_for_host;
        self
    }

    /// How `fire_event` writes frames; `Prefixed` by default.
    pub fn pull_framing(mut self, pull_framing: PullFraming) -> Self {
        self.pull_framing = pull_framing;
        self
    }

    /// How long `fire_event` tries to connect; 1 second by default, as in Salt.
    pub fn fire_timeout(mut self, fire_timeout: Duration) -> Self {
        self.fire_timeout = fire_timeout;
        self
    }

    /// How many events, and how many bytes of events, are kept for subscriptions; 10,000 and 64 MiB by
    /// default. Beyond either limit the oldest are dropped, which is reported as a [`Gap`](crate::Gap).
    pub fn pending_limit(mut self, events: usize, bytes: usize) -> Self {
        self.pending = PendingLimit { events, bytes };
        self
    }

    /// Connects. Needs a tokio runtime with IO and time.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`]: no host is running there, or it does not let this user in.
    pub async fn connect(self) -> Result<Client, Error> {
        Client::open(&self).await
    }

    /// Connects a client for programs without a runtime.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    pub fn connect_blocking(self) -> Result<blocking::Client, Error> {
        blocking::Client::open(&self)
    }
}
