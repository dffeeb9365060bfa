//! How a command fails.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use xtask::brokers::BrokerError;
use xtask::peers::PeersError;
use xtask::python::PythonError;
use xtask::system::SystemError;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line was wrong.
    Usage(String),
    /// Something failed, in one sentence.
    Failed(String),
    /// Something failed, and everything has been reported.
    Said,
    /// A signal asked to end.
    Interrupted,
}

impl Failure {
    /// The failure for an I/O error of an operation.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Failed(format!("could not {doing}: {error}"))
    }

    /// As [`Failure::io`], for one file.
    pub(crate) fn file(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{doing} {}", path.display()))
    }

    /// Prints it on standard error and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (code, sentence) = match self {
            Self::Usage(why) => (2, Some(why)),
            Self::Failed(why) => (1, Some(why)),
            Self::Said => (1, None),
            Self::Interrupted => (130, Some("interrupted".to_owned())),
        };
        if let Some(sentence) = sentence {
            eprintln!("error: {sentence}");
        }
        ExitCode::from(code)
    }
}

impl From<SystemError> for Failure {
    fn from(error: SystemError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<PeersError> for Failure {
    fn from(error: PeersError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<PythonError> for Failure {
    fn from(error: PythonError) -> Self {
        Self::Failed(error.to_string())
    }
}
