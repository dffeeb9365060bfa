//! Frames as events.

use evbus_wire::mapping::{JsonWriter, NoJson};
use evbus_wire::{Content, EvbusHead, Fault};

use evbus_event::{
    Body, Event, EventId, MAX_BODY_BYTES, Origin, Parts, StringTags, json, tags_of_body,
};

/// A frame that was read.
pub(crate) enum Decoded<'a> {
    /// An event of a program of Salt's, whose data are checked by [`Decoded::salt_event`] or
    /// [`Decoded::check`].
    Salt(Content<'a>),
    /// An event of a program of ours; making it is part of checking it.
    Evbus(Content<'a>, Event),
}

impl<'a> Decoded<'a> {
    /// Reads a payload. `writer` is memory for bodies.
    ///
    /// # Errors
    ///
    /// There is no event in it.
    pub(crate) fn read(payload: &'a [u8], writer: &mut JsonWriter) -> Result<Self, Fault> {
        let content = Content::find(payload)?;
        let Some(head) = &content.head else {
            return Ok(Self::Salt(content));
        };
        content.check()?;
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

    /// Checks what a program of Salt's sent, if nothing is made of it.
    ///
    /// # Errors
    ///
    /// It is not an event.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match self {
            Self::Salt(content) => content.check(),
            Self::Evbus(..) => Ok(()),
        }
    }

    /// Makes the event of a program of Salt's, which has come at `now_unix_ns`, and checks it thereby.
    /// `None` for one of ours.
    ///
    /// # Errors
    ///
    /// It is not an event, or its body is longer as JSON text than a body may be.
    pub(crate) fn salt_event(
        &self,
        now_unix_ns: u64,
        writer: &mut JsonWriter,
    ) -> Result<Option<Event>, NoJson> {
        let Self::Salt(content) = self else {
            return Ok(None);
        };
        // There is no head, so nothing is exact.
        content.write_body(writer)?;
        Ok(Some(Event::from(Parts {
            id: EventId::new(now_unix_ns),
            time_unix_ns: now_unix_ns,
            profile: content.tag,
            body: Body::Json(writer.text()),
            tags: writer.tags(),
            origin: Origin::Salt,
        })))
    }

    /// The event of a program of ours.
    pub(crate) fn into_event(self) -> Option<Event> {
        match self {
            Self::Salt(_) => None,
            Self::Evbus(_, event) => Some(event),
        }
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
