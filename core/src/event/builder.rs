//! How events are made.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::envelope::{Envelope, attributes, attributes_of_body};
use super::now_unix_ns;
use super::{
    ContentType, DEFAULT_PROFILE, Event, EventError, EventId, MAX_BODY_BYTES, Origin,
    check_profile, json,
};

/// Collects what stands around a message, then makes the event.
#[derive(Debug, Clone)]
pub struct EventBuilder {
    profile: String,
    tags: Map<String, Value>,
    run_name: String,
}

impl Default for EventBuilder {
    /// An event for the profile [`DEFAULT_PROFILE`].
    fn default() -> Self {
        Self::new(DEFAULT_PROFILE.to_owned())
    }
}

impl EventBuilder {
    pub(super) fn new(profile: String) -> Self {
        Self {
            profile,
            tags: Map::new(),
            run_name: String::new(),
        }
    }

    /// Adds a tag; one of the same name is replaced. String tags also travel beside the body, as
    /// Kafka headers and AMQP properties.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Adds tags.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item = (String, Value)>) -> Self {
        self.tags.extend(tags);
        self
    }

    /// Names the run the event belongs to; empty by default.
    #[must_use]
    pub fn run_name(mut self, run_name: impl Into<String>) -> Self {
        self.run_name = run_name.into();
        self
    }

    /// Makes an event with `message` in the envelope, as Idem fires it.
    ///
    /// # Errors
    ///
    /// The profile name cannot be used, or the message cannot be written as JSON: it holds NaN or an
    /// infinity, a map with keys that have no text (integers, booleans and finite numbers have one),
    /// or a value nested too deeply.
    pub fn message<M: Serialize + ?Sized>(self, message: &M) -> Result<Event, EventError> {
        let body = json::to_bytes(
            &self.profile,
            &Envelope {
                tags: &self.tags,
                message,
                run_name: &self.run_name,
            },
        )?;
        let attributes = attributes(&self.tags);
        event(self.profile, body, attributes)
    }

    /// Makes an event with `body` alone, as Idem's lower layer (`broker.put`) fires it. Tags and
    /// run name of the builder are not used.
    ///
    /// # Errors
    ///
    /// As [`message`](Self::message).
    pub fn unwrapped<B: Serialize + ?Sized>(self, body: &B) -> Result<Event, EventError> {
        let body = json::to_bytes(&self.profile, body)?;
        let attributes = attributes_of_body(&body);
        event(self.profile, body, attributes)
    }

    /// Makes an event whose body is JSON text, delivered byte for byte.
    ///
    /// # Errors
    ///
    /// The profile name cannot be used, or the text is not one JSON value.
    pub fn unwrapped_json(self, body: impl Into<Bytes>) -> Result<Event, EventError> {
        let body = body.into();
        if body.len() > MAX_BODY_BYTES {
            return Err(EventError::TooLarge { found: body.len() });
        }
        json::check(&body)?;
        let attributes = attributes_of_body(&body);
        event(self.profile, body, attributes)
    }

    /// Makes an event with JSON text as the message in the envelope; the text stays as it is.
    ///
    /// # Errors
    ///
    /// As [`unwrapped_json`](Self::unwrapped_json).
    pub fn message_json(self, message: &str) -> Result<Event, EventError> {
        if message.len() > MAX_BODY_BYTES {
            return Err(EventError::TooLarge {
                found: message.len(),
            });
        }
        json::check(message.as_bytes())?;
        let raw: &serde_json::value::RawValue =
            serde_json::from_str(message).map_err(|error| EventError::NotJson {
                reason: error.to_string(),
            })?;
        self.message(raw)
    }
}

fn event(
    profile: String,
    body: Bytes,
    attributes: Vec<evbus_abi::v1::AttributeV1>,
) -> Result<Event, EventError> {
    check_profile(&profile)?;
    if body.len() > MAX_BODY_BYTES {
        return Err(EventError::TooLarge { found: body.len() });
    }
    let time_unix_ns = now_unix_ns();
    Ok(Event {
        id: EventId::new(time_unix_ns),
        time_unix_ns,
        profile: profile.into_boxed_str(),
        body,
        content_type: ContentType::Json,
        attributes,
        origin: Origin::Fired,
    })
}
