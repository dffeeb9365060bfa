//! Events as frames.

use std::borrow::Cow;

use evbus_wire::mapping::value_to_json;
use evbus_wire::{Exact, Fired, Frame};

use evbus_event::{ContentType, Event, Origin};

/// Encodes an event for listeners: one that came from a Salt program as it came, any other with an
/// `evbus` entry in the head.
///
/// # Errors
///
/// One sentence: the frame would be too long, or the body is not JSON.
pub(crate) fn frame(event: &Event) -> Result<Frame<'_>, String> {
    if came_from_salt(event) {
        return Frame::of_salt(event.profile(), event.body());
    }
    let fired = Fired {
        json: &json_of(event)?,
        id: event.id(),
        time_unix_ns: event.time_unix_ns(),
    };
    Frame::of_evbus(event.profile(), &fired, Exact::No)
}

/// Whether the body is Salt's DATA, as it came through a socket.
fn came_from_salt(event: &Event) -> bool {
    event.origin() == Origin::Salt && event.content_type() == ContentType::Msgpack
}

/// An event's body as JSON text, whatever serial form it has been brought into.
fn json_of(event: &Event) -> Result<Cow<'_, [u8]>, String> {
    match event.content_type() {
        ContentType::Json => Ok(Cow::Borrowed(event.body())),
        ContentType::Msgpack => value_to_json(event.body()).map(Cow::Owned),
        ContentType::Text => serde_json::to_vec(&String::from_utf8_lossy(event.body()))
            .map(Cow::Owned)
            .map_err(|error| error.to_string()),
    }
}
