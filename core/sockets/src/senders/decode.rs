//! Frames as events.

use bytes::Bytes;
use evbus_wire::{Content, Fault};

use evbus_event::{
    ContentType, Event, EventId, MAX_BODY_BYTES, Origin, Parts, attributes_of_body, json,
};

/// What came in a frame.
pub(crate) enum Decoded<'a> {
    /// An event of a program of Salt's, which is made where it goes to a destination.
    Salt(Content<'a>),
    /// An event of a program of ours; making it is part of checking it.
    Evbus(Content<'a>, Event),
}

impl<'a> Decoded<'a> {
    /// Reads and checks a payload.
    ///
    /// # Errors
    ///
    /// There is no event in it.
    pub(crate) fn read(payload: &'a [u8]) -> Result<Self, Fault> {
        let content = Content::read(payload)?;
        let Some(head) = &content.head else {
            return Ok(Self::Salt(content));
        };
        let body = content.body_json().map_err(|_| Fault::Body)?;
        let id = EventId::from_bytes(head.id);
        let event = of_evbus(content.tag, body, id, head.time_unix_ns).ok_or(Fault::Body)?;
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
    pub(crate) fn into_event(self, now_unix_ns: u64) -> Event {
        match self {
            Self::Salt(content) => of_salt(content.tag, content.data, now_unix_ns),
            Self::Evbus(_, event) => event,
        }
    }
}

/// Makes an event of one that the host has listened to. `None` if it cannot be a body.
pub(crate) fn listened(event: &evbus_client::Event, now_unix_ns: u64) -> Option<Event> {
    match (event.id(), event.time_unix_ns()) {
        (Some(id), Some(time_unix_ns)) => {
            let body = event.body_json().ok()?;
            of_evbus(event.tag(), body.into_bytes(), id, time_unix_ns)
        }
        _ => Some(of_salt(event.tag(), event.data(), now_unix_ns)),
    }
}

/// The data are copied, since a slice would keep the whole read buffer alive for as long as the
/// event waits in a queue.
fn of_salt(tag: &str, data: &[u8], now_unix_ns: u64) -> Event {
    Parts {
        id: EventId::new(now_unix_ns),
        time_unix_ns: now_unix_ns,
        profile: tag.into(),
        body: Bytes::copy_from_slice(data),
        content_type: ContentType::Msgpack,
        attributes: Vec::new(),
        origin: Origin::Salt,
    }
    .into()
}

fn of_evbus(tag: &str, body: Vec<u8>, id: EventId, time_unix_ns: u64) -> Option<Event> {
    if body.len() > MAX_BODY_BYTES || json::check(&body).is_err() {
        return None;
    }
    let parts = Parts {
        id,
        time_unix_ns,
        profile: tag.into(),
        attributes: attributes_of_body(&body),
        body: body.into(),
        content_type: ContentType::Json,
        origin: Origin::Fired,
    };
    Some(parts.into())
}
