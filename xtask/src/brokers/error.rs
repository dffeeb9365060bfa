//! Why a broker is not available.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::system::SystemError;

/// Why a broker could not be installed, started, stopped or changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum BrokerError {
    /// The system lacks a program.
    System(SystemError),
    /// A file, a port or a process was not available.
    Io {
        /// What was being done.
        doing: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The server did not become ready.
    NotReady {
        /// Which server.
        broker: &'static str,
        /// What was found instead.
        why: String,
        /// The end of its log.
        log_tail: String,
    },
    /// The server did not end when asked to; it has been killed since.
    NotStopped {
        /// Which server.
        broker: &'static str,
        /// How long it was given.
        waited: Duration,
    },
    /// A tool that was run on the way failed.
    Tool {
        /// Its name.
        tool: &'static str,
        /// Its exit status and the end of what it printed.
        why: String,
    },
    /// The server answered a request with an error.
    Refused {
        /// What was asked for.
        request: String,
        /// Its answer.
        answer: String,
    },
}

impl BrokerError {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn file(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{doing} {}", path.display()))
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::Io { doing, source } => write!(f, "could not {doing}: {source}"),
            Self::NotReady {
                broker,
                why,
                log_tail,
            } => write!(
                f,
                "{broker} did not become ready: {why}; the end of its log:\n{log_tail}"
            ),
            Self::NotStopped { broker, waited } => write!(
                f,
                "{broker} did not end within {} s of SIGTERM and was killed",
                waited.as_secs()
            ),
            Self::Tool { tool, why } => write!(f, "{tool} failed: {why}"),
            Self::Refused { request, answer } => {
                write!(f, "the broker refused to {request}: {answer}")
            }
        }
    }
}

impl std::error::Error for BrokerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<SystemError> for BrokerError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}
