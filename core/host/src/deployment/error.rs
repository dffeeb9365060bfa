//! Why a deployment stays unchanged.

use evbus_acct::AcctError;
use evbus_store::StateError;

use super::TooFewOpenFiles;

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The acct file is invalid.
    #[error("{}", lines(.0))]
    Acct(Vec<AcctError>),
    /// The store of a new destination cannot be opened.
    #[error(transparent)]
    State(#[from] StateError),
    /// The host began to shut down.
    #[error("the host is shutting down")]
    Ending,
    /// This process may not open enough files for its destinations.
    #[error(transparent)]
    OpenFiles(#[from] TooFewOpenFiles),
}

impl ReloadError {
    /// Logs each fault of a refused reload on a line of its own.
    pub fn log(&self) {
        self.log_after(match self {
            Self::Acct(_) => "the acct file is invalid; keeping the previous configuration",
            Self::State(_) | Self::Ending | Self::OpenFiles(_) => {
                "cannot apply the acct file; keeping the previous configuration"
            }
        });
    }

    /// Logs each fault on its own line, with `what` in front of it.
    pub(crate) fn log_after(&self, what: &str) {
        // Each fault of an acct file is one line.
        for sentence in self.to_string().lines() {
            tracing::error!("{what}: {sentence}");
        }
    }
}

/// Each fault on its own line.
pub(crate) fn lines(errors: &[AcctError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
