//! Error events: an event was not delivered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::presence::{Nullable, nullable};

/// An event was not delivered: fired by Idem, and by the host, under the profile of the event that was
/// lost.
///
/// ```json
/// {
///   "tags": {
///     "ref": "idem.event.publish_error_callback_handler",
///     "plugin": "the provider that did not deliver it", "type": "the lost event's other tags"
///   },
///   "run_name": "The user supplied run-name",
///   "publish_event_error_message": "why it was not delivered"
/// }
/// ```
///
/// Source: Idem 25.0.1, `idem.event.publish_error_callback_handler`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorEvent {
    /// The tags of the lost event; `ref` and `plugin` are this event's own.
    pub tags: ErrorTags,
    /// The run that the lost event belongs to; null if it had none.
    #[serde(deserialize_with = "nullable")]
    #[schemars(with = "Nullable<String>")]
    pub run_name: Option<String>,
    /// Why it was not delivered.
    pub publish_event_error_message: String,
}

/// The tags of [`ErrorEvent`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorTags {
    /// `idem.event.publish_error_callback_handler`
    #[serde(rename = "ref")]
    pub reference: String,
    /// The provider that did not deliver the event.
    #[serde(deserialize_with = "nullable")]
    #[schemars(with = "Nullable<String>")]
    pub plugin: Option<String>,
    /// The lost event's other tags.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}
