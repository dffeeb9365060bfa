//! Why an instance was not created.

/// Why there is no instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectFailure {
    /// Whether only a change by the operator can help.
    pub permanent: bool,
    /// One sentence, from the plugin or the host.
    pub reason: String,
}
