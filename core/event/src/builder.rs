//! Creates events.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::envelope::{self, string_tags, tags_of_body};
use crate::now_unix_ns;
use crate::{
    Body, DEFAULT_PROFILE, Event, EventError, EventId, MAX_BODY_BYTES, Origin, Parts, StringTags,
    check_profile, json,
};

/// Collects the tags, the run name and the id of an event, then creates it.
#[derive(Debug, Clone)]
pub struct EventBuilder {
    profile: String,
    tags: Map<String, Value>,
    run_name: String,
    id: Option<EventId>,
    time_unix_ns: Option<u64>,
}

impl Default for EventBuilder {
    /// An event for the profile `default`.
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
            id: None,
            time_unix_ns: None,
        }
    }

    /// Sets the id, for an event that was fired before; by default it is new. A receiver recognizes by the
    /// id that both are the same event.
    #[must_use]
    pub fn id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the time of firing, in nanoseconds since the Unix epoch; now by default.
    #[must_use]
    pub fn time_unix_ns(mut self, time: u64) -> Self {
        self.time_unix_ns = Some(time);
        self
    }

    /// Adds a tag, or replaces the tag with the same name. String tags also travel beside the body, as
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

    /// Sets the run name; empty by default.
    #[must_use]
    pub fn run_name(mut self, run_name: impl Into<String>) -> Self {
        self.run_name = run_name.into();
        self
    }

    /// Creates an event with `message` in the envelope, as Idem fires it.
    ///
    /// # Errors
    ///
    /// The profile name cannot be used, or the message cannot be written as JSON: it contains NaN or an
    /// infinity, a map with keys that have no text form (integers, booleans and finite numbers have one),
    /// or a value that is nested too deeply.
    pub fn message<M: Serialize + ?Sized>(self, message: &M) -> Result<Event, EventError> {
        let (profile, tags) = (&self.profile, &self.tags);
        enveloped(profile, tags, &self.run_name, message, |body, tags| {
            self.event(body, tags)
        })
    }

    /// Creates an event with `body` and no envelope, as Idem's lower layer (`broker.put`) fires it. Tags and
    /// run name of the builder are ignored.
    ///
    /// # Errors
    ///
    /// Those of [`message`](Self::message).
    pub fn unwrapped<B: Serialize + ?Sized>(self, body: &B) -> Result<Event, EventError> {
        json::written(
            &self.profile,
            |text| json::append(text, body),
            |body| self.event(body, &tags_of_body(body.as_bytes())),
        )
    }

    /// Creates an event with JSON text as its body, which is delivered byte for byte.
    ///
    /// # Errors
    ///
    /// The profile name cannot be used, or the text is not one JSON value.
    pub fn unwrapped_json(self, body: impl Into<Bytes>) -> Result<Event, EventError> {
        let body = body.into();
        if body.len() > MAX_BODY_BYTES {
            return Err(EventError::TooLarge { found: body.len() });
        }
        let text = json::check(&body)?;
        self.event(text, &tags_of_body(&body))
    }

    /// Creates an event with JSON text as the message in the envelope; the text stays unchanged.
    ///
    /// # Errors
    ///
    /// Those of [`unwrapped_json`](Self::unwrapped_json).
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

    fn event(&self, body: &str, tags: &StringTags) -> Result<Event, EventError> {
        let time_unix_ns = self.time_unix_ns.unwrap_or_else(now_unix_ns);
        let id = self.id.unwrap_or_else(|| EventId::new(time_unix_ns));
        event(&self.profile, id, time_unix_ns, body, tags)
    }
}

impl Event {
    /// As [`EventBuilder::message`], of a new event without tags, without a builder's copies and where it is to be shared.
    ///
    /// # Errors
    ///
    /// Those of [`EventBuilder::message`].
    pub fn of_message<M: Serialize + ?Sized>(
        profile: &str,
        run_name: &str,
        message: &M,
    ) -> Result<Arc<Self>, EventError> {
        enveloped(profile, &Map::new(), run_name, message, |body, tags| {
            let time_unix_ns = now_unix_ns();
            let id = EventId::new(time_unix_ns);
            event(profile, id, time_unix_ns, body, tags).map(Arc::new)
        })
    }
}

/// Writes a message in its envelope, and has an event made of it.
#[inline]
fn enveloped<M: Serialize + ?Sized, E>(
    profile: &str,
    tags: &Map<String, Value>,
    run_name: &str,
    message: &M,
    make: impl FnOnce(&str, &StringTags) -> Result<E, EventError>,
) -> Result<E, EventError> {
    json::written(
        profile,
        |text| envelope::append(text, tags, run_name, message),
        |body| make(body, &string_tags(tags)),
    )
}

fn event(
    profile: &str,
    id: EventId,
    time_unix_ns: u64,
    body: &str,
    tags: &StringTags,
) -> Result<Event, EventError> {
    check_profile(profile)?;
    if body.len() > MAX_BODY_BYTES {
        return Err(EventError::TooLarge { found: body.len() });
    }
    Ok(Event::from(Parts {
        id,
        time_unix_ns,
        profile,
        body: Body::Json(body),
        tags,
        origin: Origin::Fired,
    }))
}
