//! `idem-logger`: lines of a log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Body, Documented};

/// The tags of [`LoggerEvent`], which has no `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoggerTags {
    /// The module that wrote the line.
    pub module: String,
    /// The name of the level as in Python, such as `WARNING`.
    pub level: String,
    /// When it was written, in the form of Python's `asctime`: `2026-11-23 00:17:28,301`.
    pub timestamp: String,
    /// A reference to the function that fired the event; null and absent mean the same here.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Any other tags.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// `idem-logger`: a line of a log.
///
/// ```json
/// {
///   "tags": {
///     "module": "module that produced the log", "level": "log level name",
///     "timestamp": "asctime timestamp",
///     "ref": "A reference to the function on the hub that fired this event"
///   },
///   "message": "The log message",
///   "run_name": "The user supplied run-name"
/// }
/// ```
///
/// Source: Idem's documentation, "Event Profiles", logger. What Idem 25 fires with `--log-plugin=event`
/// is an [`UnwrappedLoggerEvent`]. `LogEvents` fires this one for a program's log.
pub type LoggerEvent = Body<LoggerTags, String>;

impl Documented for LoggerEvent {
    const PROFILE: &'static str = "idem-logger";
}

impl LoggerEvent {
    /// A line that `module` wrote; `level` is a name such as `WARNING`, `timestamp` has the form of
    /// Python's `asctime`, `reference` names the function that fires.
    pub fn new(
        module: &str,
        level: &str,
        timestamp: &str,
        reference: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            tags: LoggerTags {
                module: module.to_owned(),
                level: level.to_owned(),
                timestamp: timestamp.to_owned(),
                reference: Some(reference.to_owned()),
                more: Map::new(),
            },
            message: message.into(),
            run_name: String::new(),
        }
    }
}

/// `logger`: a line of a log, without the envelope.
///
/// ```json
/// {
///   "message": "00:17:28,301 [pop_config.log.init][WARNING ] No acct_key provided",
///   "module": "init", "level": "WARNING", "timestamp": "00:17:28"
/// }
/// ```
///
/// Source: Idem 25.0.1 with `--log-plugin=event`; the documentation describes [`LoggerEvent`] instead. Only
/// [`EventBuilder::unwrapped`](evbus_event::EventBuilder::unwrapped) can fire it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnwrappedLoggerEvent {
    /// The line.
    pub message: String,
    /// The module that wrote it.
    pub module: String,
    /// The level's name.
    pub level: String,
    /// When it was written.
    pub timestamp: String,
    /// Any other keys.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Documented for UnwrappedLoggerEvent {
    const PROFILE: &'static str = "logger";
}
