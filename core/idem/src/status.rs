//! `idem-status`: the status of a run.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Body, Documented, Tags};

/// The status of a run. Source: Idem's documentation, "Event Profiles", idem-status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The run has finished.
    Finished,
    /// The run has been created.
    Created,
    /// Its sources are being gathered.
    Gathering,
    /// Its states are being compiled.
    Compiling,
    /// Its states are being run.
    Running,
    /// Its states cannot be compiled.
    CompilationError,
    /// Its sources cannot be gathered.
    GatherError,
    /// It failed while it ran.
    RuntimeError,
    /// The status is unknown.
    Undefined,
}

impl Status {
    /// All statuses, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Finished,
        Self::Created,
        Self::Gathering,
        Self::Compiling,
        Self::Running,
        Self::CompilationError,
        Self::GatherError,
        Self::RuntimeError,
        Self::Undefined,
    ];

    /// The name in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "FINISHED",
            Self::Created => "CREATED",
            Self::Gathering => "GATHERING",
            Self::Compiling => "COMPILING",
            Self::Running => "RUNNING",
            Self::CompilationError => "COMPILATION_ERROR",
            Self::GatherError => "GATHER_ERROR",
            Self::RuntimeError => "RUNTIME_ERROR",
            Self::Undefined => "UNDEFINED",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The tag `type` of [`StatusEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StatusType {
    /// `state-status`
    StateStatus,
}

/// `idem-status`: the status of a run.
///
/// ```json
/// {
///   "tags": {"ref": "idem.state.update_status", "type": "state-status"},
///   "message": "FINISHED",
///   "run_name": "The user supplied run-name"
/// }
/// ```
///
/// Source: Idem's documentation, "Event Profiles", idem-status.
pub type StatusEvent = Body<Tags<StatusType>, Status>;

impl Documented for StatusEvent {
    const PROFILE: &'static str = "idem-status";
}

impl StatusEvent {
    /// The event that reports this status.
    pub fn new(status: Status) -> Self {
        Self::tagged(
            Some("idem.state.update_status".to_owned()),
            StatusType::StateStatus,
            status,
        )
    }
}

impl From<Status> for StatusEvent {
    fn from(status: Status) -> Self {
        Self::new(status)
    }
}
