//! The envelope around a documented message.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::presence::{Nullable, given, nullable};
use evbus_event::{Event, EventBuilder, EventError, TypedBody};

/// An event body in the envelope, with typed tags `T` and a message `M`. It has no other keys.
///
/// Each documented event is an alias of this type, such as [`StatusEvent`](crate::StatusEvent).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Body<T, M> {
    /// What the event is about.
    pub tags: T,
    /// The message.
    pub message: M,
    /// The name of the run that it belongs to.
    pub run_name: String,
}

/// A body whose format is documented.
pub trait Documented: Serialize + DeserializeOwned + JsonSchema {
    /// The profile it is fired under.
    const PROFILE: &'static str;
}

impl<T, M> Body<T, M> {
    /// Sets the run name.
    #[must_use]
    pub fn run_name(mut self, run_name: impl Into<String>) -> Self {
        self.run_name = run_name.into();
        self
    }
}

impl<T: Serialize, M: Serialize> Body<T, M>
where
    Self: Documented,
{
    /// Creates the event, to be fired with `Bus::put_event`.
    ///
    /// # Errors
    ///
    /// A value cannot be written as JSON, or the body is too large or nested too deeply.
    pub fn event(&self) -> Result<Event, EventError> {
        self.event_with(Event::builder(<Self as Documented>::PROFILE))
    }
}

impl<T: Serialize, M: Serialize> TypedBody for Body<T, M>
where
    Self: Documented,
{
    const PROFILE: &'static str = <Self as Documented>::PROFILE;

    fn event_with(&self, mut builder: EventBuilder) -> Result<Event, EventError> {
        let tags =
            serde_json::to_value(&self.tags).map_err(|error| EventError::Unserializable {
                profile: <Self as Documented>::PROFILE.to_owned(),
                serial: "JSON",
                reason: error.to_string(),
            })?;
        if let Value::Object(tags) = tags {
            builder = builder.tags(tags);
        }
        if !self.run_name.is_empty() {
            builder = builder.run_name(&*self.run_name);
        }
        builder.message(&self.message)
    }
}

/// The tags of every documented event except log events. `K` is the enum of the event's values of `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tags<K> {
    /// A reference to the function that fired the event. Idem fires null if it found none.
    #[serde(rename = "ref", deserialize_with = "nullable")]
    #[schemars(with = "Nullable<String>")]
    pub reference: Option<String>,
    /// What kind of message it is.
    #[serde(rename = "type")]
    pub kind: K,
    /// Information that can link the event to acct credentials in the calling function. Documented
    /// for states, runs and exec functions; any JSON value, null included.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schemars(with = "Value")]
    pub acct_details: Option<Value>,
    /// Any other tags.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl<K, M> Body<Tags<K>, M> {
    /// A body with these tags and no run name.
    pub(crate) fn tagged(reference: Option<String>, kind: K, message: M) -> Self {
        Self {
            tags: Tags {
                reference,
                kind,
                acct_details: None,
                more: Map::new(),
            },
            message,
            run_name: String::new(),
        }
    }

    /// Sets the function that fires the event, instead of the documented one.
    #[must_use]
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.tags.reference = Some(reference.into());
        self
    }

    /// Sets the account that the event concerns.
    #[must_use]
    pub fn acct_details(mut self, details: impl Into<Value>) -> Self {
        self.tags.acct_details = Some(details.into());
        self
    }

    /// Adds another tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.tags.more.insert(key.into(), value.into());
        self
    }
}
