//! Why a Python environment is not available.

use std::fmt;
use std::io;
use std::path::Path;

use crate::system::SystemError;

/// Why a Python environment could not be made, or something not installed in it.
#[derive(Debug)]
#[non_exhaustive]
pub enum PythonError {
    /// The system lacks a program.
    System(SystemError),
    /// A file or a process was not available.
    Io {
        /// What was being done.
        doing: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A program that was run on the way failed.
    Step {
        /// What it was supposed to do.
        doing: String,
        /// Its exit status and the end of what it printed.
        why: String,
    },
}

impl PythonError {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn file(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{doing} {}", path.display()))
    }
}

impl fmt::Display for PythonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::Io { doing, source } => write!(f, "could not {doing}: {source}"),
            Self::Step { doing, why } => write!(f, "could not {doing}: {why}"),
        }
    }
}

impl std::error::Error for PythonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            Self::Io { source, .. } => Some(source),
            Self::Step { .. } => None,
        }
    }
}

impl From<SystemError> for PythonError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}
