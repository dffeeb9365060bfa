//! Why a host cannot start.

use std::io;
use std::path::PathBuf;

use crate::deployment::{ReloadError, TooFewOpenFiles, lines};
use evbus_acct::AcctError;
use evbus_sockets::SocketError;
use evbus_store::StateError;

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The acct file is invalid.
    #[error("{}", lines(.0))]
    Acct(Vec<AcctError>),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// An event socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The given directory of a Salt master is one of the host's own, so the host would receive its own
    /// events in a loop.
    #[error(
        "the socket directory {dir:?} is this host's own; give the socket directory of a Salt master"
    )]
    OwnDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// The host was told to shut down before it had started.
    #[error("the host is shutting down")]
    Ending,
    /// This process may not open enough files for its destinations.
    #[error(transparent)]
    OpenFiles(#[from] TooFewOpenFiles),
    /// The directory for copies of plugins cannot be used.
    #[error("cannot use the directory {dir:?} for copies of plugins: {source}")]
    PluginCopies {
        /// The directory.
        dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A required destination is not connected.
    #[error("destination {destination} is required but not connected: {reason}")]
    Required {
        /// Which one.
        destination: String,
        /// Why it is not connected.
        reason: String,
    },
}

impl From<ReloadError> for StartError {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Acct(errors) => Self::Acct(errors),
            ReloadError::State(error) => Self::State(error),
            ReloadError::Ending => Self::Ending,
            ReloadError::OpenFiles(error) => Self::OpenFiles(error),
        }
    }
}
