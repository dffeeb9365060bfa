//! Frames as events.

use bytes::Bytes;

use crate::event::{ContentType, Event, EventId, MAX_BODY_BYTES, Origin, attributes_of_body, json};
use evbus_wire::{Content, Fault};

/// Makes the event that a frame carries. The body is copied, since a slice would keep the whole
/// read buffer alive for as long as the event waits in a queue.
pub(super) fn event(content: &Content<'_>, now_unix_ns: u64) -> Result<Event, Fault> {
    let profile = content.tag.into();
    let Some(head) = &content.head else {
        return Ok(Event {
            id: EventId::new(now_unix_ns),
            time_unix_ns: now_unix_ns,
            profile,
            body: Bytes::copy_from_slice(content.data),
            content_type: ContentType::Msgpack,
            attributes: Vec::new(),
            origin: Origin::Salt,
        });
    };
    let body = content.body_json().map_err(|_| Fault::Body)?;
    if body.len() > MAX_BODY_BYTES || json::check(&body).is_err() {
        return Err(Fault::Body);
    }
    Ok(Event {
        id: EventId::from_bytes(head.id),
        time_unix_ns: head.time_unix_ns,
        profile,
        attributes: attributes_of_body(&body),
        body: body.into(),
        content_type: ContentType::Json,
        origin: Origin::Fired,
    })
}
