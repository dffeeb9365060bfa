//! Why a deployment stays as it was.

use evbus_acct::AcctError;
use evbus_store::StateError;

use super::TooFewOpenFiles;

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The acct file cannot be used as it is.
    #[error("{}", lines(.0))]
    Acct(Vec<AcctError>),
    /// The store of a new destination cannot be opened.
    #[error(transparent)]
    State(#[from] StateError),
    /// The host was told to end meanwhile.
    #[error("the host is shutting down")]
    Ending,
    /// There are more destinations than this process may have files open for.
    #[error(transparent)]
    OpenFiles(#[from] TooFewOpenFiles),
}

impl ReloadError {
    /// Logs it, each fault in a line of its own behind `what` came of it.
    pub fn log(&self, what: &str) {
        // Each fault of an acct file is one line.
        for sentence in self.to_string().lines() {
            tracing::error!("{what}: {sentence}");
        }
    }
}

/// Each fault in a line of its own.
pub(crate) fn lines(errors: &[AcctError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
