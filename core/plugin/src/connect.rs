//! Why an instance was not made.

/// Why there is no instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectFailure {
    /// Nothing but a change by somebody will help.
    pub permanent: bool,
    /// One sentence, of the plugin or of the host.
    pub reason: String,
}
