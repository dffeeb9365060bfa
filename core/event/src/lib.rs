//! Events: what programs fire and destinations receive.
//!
//! An [`Event`] is made by its [`EventBuilder`], or from checked [`Parts`] by code that reads it from a wire or a
//! disk. This crate sends nothing anywhere, and knows nothing of destinations, sockets or files.
//!
//! API boundary: the crate `evbus` re-exports what programs that embed a host use; the rest is for the crates of
//! `core/`. Nothing here blocks.

mod builder;
mod envelope;
mod error_event;
pub mod json;
pub mod pop_serial;
mod python;
mod serial;
mod subject;
mod typed;

use std::fmt;

use evbus_expression::Parsed;

pub use builder::EventBuilder;
pub use envelope::tags_of_body;
pub use error_event::error_event;
pub use evbus_wire::mapping::StringTags;
pub use evbus_wire::now_unix_ns;
pub use evbus_wire::{EventId, MAX_BODY_BYTES, MAX_DEPTH};
pub use python::python_float;
pub use serial::Serial;
pub use subject::Subject;
pub use typed::TypedBody;

/// The profile of an event that is fired without one.
pub(crate) const DEFAULT_PROFILE: &str = "default";

/// The longest profile name, in bytes.
pub const MAX_PROFILE_BYTES: usize = evbus_wire::MAX_TAG_BYTES;

/// The format of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// One JSON value.
    Json,
    /// One msgpack value.
    Msgpack,
    /// Text.
    Text,
}

impl ContentType {
    /// The media type that destinations receive.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Msgpack => "application/msgpack",
            Self::Text => "text/plain",
        }
    }
}

/// A fired event.
///
/// It is immutable and to be shared: its bytes exist once, however many destinations it has, and all of
/// its texts are in one piece of memory. Id, time and attributes travel beside the body, never in it.
///
/// It is small: pieces of up to 120 bytes are freed without a lock by whichever thread is the last to need them.
pub struct Event {
    id: EventId,
    time_unix_ns: u64,
    /// A body that is not text.
    packed: Option<Box<[u8]>>,
    /// The body if it is text, the profile, the texts of the tags, and how long each of those is.
    text: Box<str>,
    /// How long the parts of it are, which is far below 4 GiB.
    body: u32,
    profile: u32,
    /// How many tags there are.
    tags: u16,
    content_type: ContentType,
    origin: Origin,
    /// The body, once an expression has referred to it.
    parsed: Parsed,
}

/// How long the length of a key or a value is, as text.
const LENGTH_BYTES: usize = 4;

/// A length of up to 28 bits as ASCII characters of seven bits each.
fn push_length(text: &mut String, length: usize) {
    for place in (0..LENGTH_BYTES).rev() {
        let bits = (length >> (7 * place)) & 0x7f;
        text.push(char::from(u8::try_from(bits).unwrap_or_default()));
    }
}

fn read_length(ascii: &[u8]) -> usize {
    ascii
        .iter()
        .fold(0, |length, bits| length << 7 | usize::from(*bits))
}

/// The body of an event that is being made.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// JSON.
    Json(&'a str),
    /// Text.
    Text(&'a str),
    /// msgpack.
    Msgpack(&'a [u8]),
}

/// How an event entered the host, which decides how it is sent to listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Fired in this process.
    Fired,
    /// Received through an event socket; the body is Salt's DATA, a msgpack map, unchanged.
    Salt,
}

/// The parts of an event, for code that has read and checked an event from a wire or a disk.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The same at every destination and every attempt.
    pub id: EventId,
    /// When it was fired, in nanoseconds since the Unix epoch.
    pub time_unix_ns: u64,
    /// Under what name it was fired.
    pub profile: &'a str,
    /// At most [`MAX_BODY_BYTES`] bytes.
    pub body: Body<'a>,
    /// The tags whose values are strings.
    pub tags: &'a StringTags,
    /// How the event came in.
    pub origin: Origin,
}

/// Copies the parts.
impl From<Parts<'_>> for Event {
    fn from(parts: Parts<'_>) -> Self {
        let Parts { profile, tags, .. } = parts;
        let (content_type, body, packed) = match parts.body {
            Body::Json(body) => (ContentType::Json, body, None),
            Body::Text(body) => (ContentType::Text, body, None),
            Body::Msgpack(body) => (ContentType::Msgpack, "", Some(body.into())),
        };
        let (mut texts, mut count) = (0, 0_u16);
        for (key, value) in tags.iter() {
            texts += key.len() + value.len() + 2 * LENGTH_BYTES;
            // At most `MAX_TAGS`.
            count += 1;
        }
        let mut text = String::with_capacity(body.len() + profile.len() + texts);
        text.push_str(body);
        text.push_str(profile);
        for (key, value) in tags.iter() {
            text.push_str(key);
            text.push_str(value);
        }
        for (key, value) in tags.iter() {
            push_length(&mut text, key.len());
            push_length(&mut text, value.len());
        }
        let short = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self {
            id: parts.id,
            time_unix_ns: parts.time_unix_ns,
            content_type,
            origin: parts.origin,
            packed,
            text: text.into_boxed_str(),
            body: short(body),
            profile: short(profile),
            tags: count,
            parsed: Parsed::default(),
        }
    }
}

impl Event {
    /// Starts an event that is fired under `profile`.
    ///
    /// ```
    /// use evbus_event::Event;
    ///
    /// let event = Event::builder("idem-status")
    ///     .tag("type", "state-status")
    ///     .run_name("nightly")
    ///     .message("FINISHED")?;
    /// assert_eq!(
    ///     event.body(),
    ///     br#"{"tags":{"type":"state-status"},"message":"FINISHED","run_name":"nightly"}"#
    /// );
    /// # Ok::<(), evbus_event::EventError>(())
    /// ```
    pub fn builder(profile: impl Into<String>) -> EventBuilder {
        EventBuilder::new(profile.into())
    }

    /// The event's id: the same at every destination and every attempt.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// When it was fired, in nanoseconds since the Unix epoch.
    pub fn time_unix_ns(&self) -> u64 {
        self.time_unix_ns
    }

    /// The name it was fired under; never empty.
    pub fn profile(&self) -> &str {
        &self.text[self.body as usize..self.texts()]
    }

    /// The body, as destinations receive it.
    pub fn body(&self) -> &[u8] {
        match &self.packed {
            Some(packed) => packed,
            None => self.text[..self.body as usize].as_bytes(),
        }
    }

    /// What the body's bytes are.
    pub fn content_type(&self) -> ContentType {
        self.content_type
    }

    /// The tags whose values are strings, in the order in which they were given.
    pub fn attributes(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let (mut rest, lengths) = self.text[self.texts()..].split_at(self.tag_texts());
        let lengths = lengths.as_bytes().chunks_exact(2 * LENGTH_BYTES);
        lengths.map(move |lengths| {
            let (key, value) = lengths.split_at(LENGTH_BYTES);
            let (tag, after) = rest.split_at(read_length(key) + read_length(value));
            rest = after;
            tag.split_at(read_length(key))
        })
    }

    /// Where the texts of the tags begin.
    fn texts(&self) -> usize {
        self.body as usize + self.profile as usize
    }

    /// How long they are.
    fn tag_texts(&self) -> usize {
        self.text.len() - self.texts() - usize::from(self.tags) * 2 * LENGTH_BYTES
    }

    /// Where its body is kept parsed for expressions.
    pub fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// The same event with this JSON as its body, in the serial form that it has; the tags stay.
    ///
    /// # Errors
    ///
    /// The text cannot be written in that form, or is larger than [`MAX_BODY_BYTES`].
    pub fn with_json(&self, json: &str) -> Result<Self, EventError> {
        if json.len() > MAX_BODY_BYTES {
            return Err(EventError::TooLarge { found: json.len() });
        }
        let form = match self.content_type {
            ContentType::Json => Serial::Json,
            ContentType::Msgpack => Serial::Msgpack,
            ContentType::Text => Serial::Str,
        };
        let other = self.with_body(Body::Json(json));
        Ok(form.applied(&other)?.unwrap_or(other))
    }

    /// The same event with another body; the tags stay.
    fn with_body(&self, body: Body<'_>) -> Self {
        Self::from(Parts {
            id: self.id,
            time_unix_ns: self.time_unix_ns,
            profile: self.profile(),
            body,
            tags: &self.attributes().collect(),
            origin: self.origin,
        })
    }

    /// How the event came in.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// What the event costs a queue, in bytes.
    pub fn size(&self) -> usize {
        let packed = self.packed.as_ref().map_or(0, |packed| packed.len());
        packed + self.texts() + self.tag_texts()
    }
}

impl fmt::Debug for Event {
    // Bodies may hold anything, so they stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &format_args!("{}", self.id))
            .field("profile", &self.profile())
            .field("bytes", &self.body().len())
            .finish_non_exhaustive()
    }
}

/// Why an event could not be created. Nothing of it was sent anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The profile name cannot be used.
    #[error(
        "the profile name {found}; expected 1 to {MAX_PROFILE_BYTES} bytes without two newlines in a row"
    )]
    Profile {
        /// What is wrong with it.
        found: &'static str,
    },
    /// The body cannot be serialized.
    #[error(
        "the body of the event for profile {profile:?} cannot be written as {serial}: {reason}"
    )]
    Unserializable {
        /// The event's profile.
        profile: String,
        /// The requested serial form.
        serial: &'static str,
        /// The reason.
        reason: String,
    },
    /// The body is not JSON.
    #[error(
        "the body is not JSON: {reason}; expected one JSON value, such as {{\"key\": 1}} or \"text\" with its quotes"
    )]
    NotJson {
        /// Where it stops being JSON.
        reason: String,
    },
    /// The body is nested too deeply.
    #[error("the body is nested {found} levels deep; expected at most {MAX_DEPTH}")]
    TooDeep {
        /// How many levels it has.
        found: usize,
    },
    /// The body is too large.
    #[error("the body is {found} bytes long; expected at most {MAX_BODY_BYTES}")]
    TooLarge {
        /// Its length in bytes.
        found: usize,
    },
}

/// Checks whether an event can be fired under a name.
///
/// # Errors
///
/// [`EventError::Profile`], with what is wrong with it.
pub(crate) fn check_profile(profile: &str) -> Result<(), EventError> {
    let found = if profile.is_empty() {
        "is empty"
    } else if profile.len() > MAX_PROFILE_BYTES {
        "is too long"
    } else if profile.contains("\n\n") {
        // Salt's sockets end a tag at the first two newlines.
        "has two newlines in a row"
    } else {
        return Ok(());
    };
    Err(EventError::Profile { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_piece_of_memory_that_is_freed_without_a_lock() {
        let counters = 2 * size_of::<usize>();
        assert!(size_of::<Event>() + counters <= 120);
    }

    #[test]
    fn tags_of_any_length_are_found_again() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
            let value = "é".repeat(length);
            let tags = [("k", value.as_str()), ("", "v")].into_iter().collect();
            let event = Event::from(Parts {
                id: EventId::new(1),
                time_unix_ns: 1,
                profile: "p",
                body: Body::Msgpack(b"\x80"),
                tags: &tags,
                origin: Origin::Salt,
            });
            assert_eq!(event.attributes().len(), 2);
            let found: Vec<_> = event.attributes().collect();
            assert_eq!(found, [("k", value.as_str()), ("", "v")], "{length}");
            assert_eq!(event.size(), 4 + value.len());
        }
    }
}
