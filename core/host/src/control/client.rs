//! The client of a running host's control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evbus_wire::{SocketPath, in_words};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::CONTROL_SOCKET;
use super::protocol::{Ask, Done, Purged, Reloaded, Replayed, Status};
use evbus_store::deadletters::Filter;

/// How long a host may take to report its status, which costs it little.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest answer, in bytes: that of a host with a hundred thousand destinations.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No host answers there.
    #[error(
        "no host answers on the control socket {path:?}: {}; {}",
        in_words(.source),
        advice(.source)
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The connection ended before the answer did: the host has ended, or serves other users.
    #[error(
        "the host at {path:?} closed the connection without an answer; it has shut down, or serves another user"
    )]
    Gone {
        /// The socket.
        path: PathBuf,
    },
    /// The host accepted the connection but did not answer.
    #[error("the host at {path:?} did not answer within {} seconds", PATIENCE.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The host refused the request; its reason.
    #[error("{0}")]
    Refused(String),
    /// The answer is not what was expected.
    #[error("cannot read the answer from {path:?}: {reason}")]
    Unreadable {
        /// The socket.
        path: PathBuf,
        /// Why it cannot be read.
        reason: String,
    },
}

impl ControlError {
    /// What the system answered, in words, if no host can be asked there.
    pub fn no_connection(&self) -> Option<String> {
        match self {
            Self::Connect { source, .. } => Some(in_words(source)),
            _ => None,
        }
    }
}

/// What to do about a connection that was not made.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "run the command as the host's user",
        _ => {
            "check that a host is running with this directory (`evbus run` with --sock-dir or --state-dir), or use the directory of one that is"
        }
    }
}

/// An answer to a status request.
#[derive(Debug, Clone)]
pub struct StatusAnswer {
    /// The part that this version understands.
    pub status: Status,
    /// The whole answer, on one line.
    pub json: Box<RawValue>,
}

/// A connection to a host's control socket. A host closes a connection that sends no request for some
/// seconds.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the host that serves `dir`, a socket directory or a state directory.
    ///
    /// # Errors
    ///
    /// No host answers, or it does not admit this user.
    pub async fn connect(dir: &Path) -> Result<Self, ControlError> {
        let path = dir.join(CONTROL_SOCKET);
        let connecting = async { UnixStream::connect(SocketPath::new(&path)?.as_path()).await };
        match connecting.await {
            Ok(stream) => Ok(Self {
                path,
                stream: BufReader::new(stream),
            }),
            Err(source) => Err(ControlError::Connect { path, source }),
        }
    }

    /// Requests the status of the host and its destinations.
    ///
    /// # Errors
    ///
    /// The host has shut down, does not answer within 20 seconds, or its answer cannot be read.
    pub async fn status(&mut self) -> Result<StatusAnswer, ControlError> {
        let asked = timeout(PATIENCE, self.ask::<Box<RawValue>>(Ask::Status)).await;
        let json = asked.map_err(|_| ControlError::Silent {
            path: self.path.clone(),
        })??;
        let status = serde_json::from_str(json.get()).map_err(|error| self.unreadable(&error))?;
        Ok(StatusAnswer { status, json })
    }

    /// Puts the dead letters that the filter selects back into their queues, and returns their number.
    /// Waits as long as the host needs.
    ///
    /// # Errors
    ///
    /// The host has shut down, or reports why it cannot.
    pub async fn replay(&mut self, filter: Filter) -> Result<u64, ControlError> {
        let answer: Replayed = self.ask(Ask::Replay(filter)).await?;
        Ok(answer.replayed)
    }

    /// Deletes the dead letters that the filter selects, and returns their number. Waits as long as the
    /// host needs.
    ///
    /// # Errors
    ///
    /// The host has shut down, or reports why it cannot.
    pub async fn purge(&mut self, filter: Filter) -> Result<u64, ControlError> {
        let answer: Purged = self.ask(Ask::Purge(filter)).await?;
        Ok(answer.purged)
    }

    /// Makes the host reload its acct file, and returns what that changed. Waits as long as the host
    /// needs.
    ///
    /// # Errors
    ///
    /// The host has shut down, or reports why it cannot; then it continues as before.
    pub async fn reload(&mut self) -> Result<Reloaded, ControlError> {
        let Done { reloaded, .. } = self.ask(Ask::Reload).await?;
        Ok(reloaded)
    }

    async fn ask<A: DeserializeOwned>(&mut self, ask: Ask) -> Result<A, ControlError> {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        let mut line = ask.write();
        line.push(b'\n');
        let gone = |path: &Path| ControlError::Gone {
            path: path.to_owned(),
        };
        if self.stream.write_all(&line).await.is_err() {
            return Err(gone(&self.path));
        }
        line.clear();
        let mut limited = (&mut self.stream).take(MAX_ANSWER_BYTES);
        // To the client, a broken connection and a closed one are the same.
        let read = limited.read_until(b'\n', &mut line).await;
        if read.is_err() || line.last() != Some(&b'\n') {
            return Err(gone(&self.path));
        }
        if let Ok(Refusal { error }) = serde_json::from_slice(&line) {
            return Err(ControlError::Refused(error));
        }
        serde_json::from_slice(&line).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &serde_json::Error) -> ControlError {
        ControlError::Unreadable {
            path: self.path.clone(),
            reason: error.to_string(),
        }
    }
}
