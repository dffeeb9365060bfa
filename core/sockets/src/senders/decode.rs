//! Frames as events.

use evbus_wire::mapping::JsonWriter;
use evbus_wire::{Content, EvbusHead, Fault};

use evbus_event::{
    Body, Event, EventError, EventId, MAX_BODY_BYTES, Origin, Parts, StringTags, json, tags_of_body,
};

/// What came in a frame.
pub(crate) enum Decoded<'a> {
    /// An event of a program of Salt's, which is made where it goes to a destination.
    Salt(Content<'a>),
    /// An event of a program of ours; making it is part of checking it.
    Evbus(Content<'a>, Event),
}

impl<'a> Decoded<'a> {
    /// Reads and checks a payload. `writer` is memory for bodies.
    ///
    /// # Errors
    ///
    /// There is no event in it.
    pub(crate) fn read(payload: &'a [u8], writer: &mut JsonWriter) -> Result<Self, Fault> {
        let content = Content::read(payload)?;
        let Some(head) = &content.head else {
            return Ok(Self::Salt(content));
        };
        let exact = content.write_body(writer).map_err(|_| Fault::Body)?;
        let event = of_evbus(content.tag, head, exact, writer).ok_or(Fault::Body)?;
        Ok(Self::Evbus(content, event))
    }

    /// Whether it came from a program of ours.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Evbus(..))
    }

    /// What the event was fired under.
    pub(crate) fn profile(&self) -> &'a str {
        match self {
            Self::Salt(content) | Self::Evbus(content, _) => content.tag,
        }
    }

    /// The event, which has come at `now_unix_ns`.
    ///
    /// # Errors
    ///
    /// Its body is longer as JSON text than a body may be.
    pub(crate) fn into_event(
        self,
        now_unix_ns: u64,
        writer: &mut JsonWriter,
    ) -> Result<Event, EventError> {
        let content = match self {
            Self::Salt(content) => content,
            Self::Evbus(_, event) => return Ok(event),
        };
        writer
            .data(content.data)
            .map_err(|reason| EventError::Unserializable {
                profile: content.tag.to_owned(),
                serial: "JSON",
                reason: reason.to_owned(),
            })?;
        Ok(Event::from(Parts {
            id: EventId::new(now_unix_ns),
            time_unix_ns: now_unix_ns,
            profile: content.tag,
            body: Body::Json(writer.text()),
            tags: writer.tags(),
            origin: Origin::Salt,
        }))
    }
}

/// Makes an event of one that the host has listened to. `None` if it cannot be a body.
pub(crate) fn listened(event: &evbus_client::Event, now_unix_ns: u64) -> Option<Event> {
    if let (Some(id), Some(time_unix_ns)) = (event.id(), event.time_unix_ns()) {
        let body = event.body_json().ok()?;
        return checked(event.tag(), id, time_unix_ns, body.as_bytes());
    }
    // Listeners get DATA as they came.
    Some(Event::from(Parts {
        id: EventId::new(now_unix_ns),
        time_unix_ns: now_unix_ns,
        profile: event.tag(),
        body: Body::Msgpack(event.data()),
        tags: &StringTags::default(),
        origin: Origin::Salt,
    }))
}

/// The event of a program of ours: with the text that it sent, which is checked, or with what `writer`
/// wrote.
fn of_evbus(
    tag: &str,
    head: &EvbusHead<'_>,
    exact: Option<&[u8]>,
    writer: &JsonWriter,
) -> Option<Event> {
    let id = EventId::from_bytes(head.id);
    match exact {
        Some(json) => checked(tag, id, head.time_unix_ns, json),
        None => fired(tag, id, head.time_unix_ns, writer.text(), writer.tags()),
    }
}

/// An event whose body is JSON, if it is.
fn checked(profile: &str, id: EventId, time_unix_ns: u64, body: &[u8]) -> Option<Event> {
    let text = json::check(body).ok()?;
    fired(profile, id, time_unix_ns, text, &tags_of_body(body))
}

/// An event whose body is JSON, with the tags in it.
fn fired(
    profile: &str,
    id: EventId,
    time_unix_ns: u64,
    body: &str,
    tags: &StringTags,
) -> Option<Event> {
    if body.len() > MAX_BODY_BYTES {
        return None;
    }
    Some(Event::from(Parts {
        id,
        time_unix_ns,
        profile,
        body: Body::Json(body),
        tags,
        origin: Origin::Fired,
    }))
}
