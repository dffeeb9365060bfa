//! Serial plugins: the form in which bodies reach destinations.

use std::fmt;
use std::str::FromStr;

use crate::python;
use crate::{Body, ContentType, Event, EventError, Origin, Parts};
use evbus_wire::mapping::{self, JsonWriter};

/// The form in which bodies reach destinations; Idem's serial plugins.
///
/// Every form is made of the body's JSON. `docs/EVENTS.md` says where that gives something else than
/// Idem's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Serial {
    /// JSON text.
    #[default]
    Json,
    /// msgpack, in its shortest forms.
    Msgpack,
    /// What Python's `str` makes of the body.
    Str,
}

impl FromStr for Serial {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "json" => Ok(Self::Json),
            "msgpack" => Ok(Self::Msgpack),
            "str" => Ok(Self::Str),
            _ => Err(format!("found {name:?}, expected json, msgpack or str")),
        }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Msgpack => "msgpack",
            Self::Str => "str",
        })
    }
}

impl Serial {
    /// Brings an event's body into this form, and finds the attributes of one that came through a
    /// socket. Does nothing for the common case: JSON that stays JSON.
    ///
    /// # Errors
    ///
    /// The body cannot be written in this form.
    pub fn apply(self, event: &mut Event) -> Result<(), EventError> {
        if let Some(other) = self.applied(event)? {
            *event = other;
        }
        Ok(())
    }

    /// As [`apply`](Self::apply), of an event that may be shared; nothing if it is in this form already.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    #[inline]
    pub fn applied(self, event: &Event) -> Result<Option<Event>, EventError> {
        match event.content_type {
            ContentType::Json if self == Self::Json => Ok(None),
            _ => self.converted(event),
        }
    }

    fn converted(self, event: &Event) -> Result<Option<Event>, EventError> {
        let from_salt =
            if event.origin == Origin::Salt && event.content_type == ContentType::Msgpack {
                let mut writer = JsonWriter::default();
                writer
                    .data(event.body())
                    .map_err(|error| self.fault(event.profile(), error.to_string()))?;
                Some(Event::from(Parts {
                    id: event.id,
                    time_unix_ns: event.time_unix_ns,
                    profile: event.profile(),
                    body: Body::Json(writer.text()),
                    tags: writer.tags(),
                    origin: event.origin,
                }))
            } else {
                None
            };
        let json = from_salt.as_ref().unwrap_or(event);
        if json.content_type != ContentType::Json {
            return Ok(from_salt);
        }
        match self {
            Self::Json => Ok(from_salt),
            Self::Msgpack => {
                let packed = mapping::json_to_msgpack(json.body())
                    .map_err(|reason| self.fault(json.profile(), reason))?;
                Ok(Some(json.with_body(Body::Msgpack(&packed))))
            }
            Self::Str => {
                let text = python::str_of_json(json.body())
                    .map_err(|reason| self.fault(json.profile(), reason))?;
                Ok(Some(json.with_body(Body::Text(&text))))
            }
        }
    }

    fn fault(self, profile: &str, reason: String) -> EventError {
        EventError::Unserializable {
            profile: profile.to_owned(),
            serial: match self {
                Self::Json => "JSON",
                Self::Msgpack => "msgpack",
                Self::Str => "text",
            },
            reason,
        }
    }
}
