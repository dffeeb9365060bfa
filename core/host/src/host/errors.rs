//! Why a host does not start.

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
    /// The acct file cannot be used as it is.
    #[error("{}", lines(.0))]
    Acct(Vec<AcctError>),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// An event socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A directory to take a Salt master's events from is one of the host's own, which would take its
    /// own events for ever.
    #[error(
        "the socket directory {dir:?} is this host's own; give the socket directory of a Salt master"
    )]
    OwnDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// The host was told to end before it had started.
    #[error("the host is shutting down")]
    Ending,
    /// There are more destinations than this process may have files open for.
    #[error(transparent)]
    OpenFiles(#[from] TooFewOpenFiles),
    /// There is no place for the copies that plugins are loaded from.
    #[error("cannot use the directory {dir:?} for copies of plugins: {source}")]
    PluginCopies {
        /// The directory.
        dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A required destination is not there.
    #[error("destination {destination} is required but not connected: {reason}")]
    Required {
        /// Which one.
        destination: String,
        /// What stands in the way.
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
