//! Frames as events.

use bytes::Bytes;
use evbus_wire::{Content, Fault};

use crate::event::{ContentType, Event, EventId, MAX_BODY_BYTES, Origin, attributes_of_body, json};

/// Makes the event that a frame carries.
pub(super) fn event(content: &Content<'_>, now_unix_ns: u64) -> Result<Event, Fault> {
    let Some(head) = &content.head else {
        return Ok(of_salt(content.tag, content.data, now_unix_ns));
    };
    let body = content.body_json().map_err(|_| Fault::Body)?;
    of_evbus(
        content.tag,
        body,
        EventId::from_bytes(head.id),
        head.time_unix_ns,
    )
    .ok_or(Fault::Body)
}

/// Makes an event of one that the host has listened to. `None` if it cannot be a body.
pub(super) fn listened(event: &evbus_client::Event, now_unix_ns: u64) -> Option<Event> {
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
    Event {
        id: EventId::new(now_unix_ns),
        time_unix_ns: now_unix_ns,
        profile: tag.into(),
        body: Bytes::copy_from_slice(data),
        content_type: ContentType::Msgpack,
        attributes: Vec::new(),
        origin: Origin::Salt,
    }
}

fn of_evbus(tag: &str, body: Vec<u8>, id: EventId, time_unix_ns: u64) -> Option<Event> {
    if body.len() > MAX_BODY_BYTES || json::check(&body).is_err() {
        return None;
    }
    Some(Event {
        id,
        time_unix_ns,
        profile: tag.into(),
        attributes: attributes_of_body(&body),
        body: body.into(),
        content_type: ContentType::Json,
        origin: Origin::Fired,
    })
}
