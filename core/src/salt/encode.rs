//! Events as frames.

use std::borrow::Cow;

use super::frame::MAX_FRAME_BYTES;
use super::mapping::{Stamped, json_to_data};
use super::pack;
use super::stamp::stamp;
use crate::event::{ContentType, Event, Origin};

/// A frame in the pieces it is written in; its payload is one after the other.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Head, and the beginning of the body.
    opening: Vec<u8>,
    tag: &'a [u8],
    data: Cow<'a, [u8]>,
}

/// Ends the tag.
const TAG_END: &[u8] = b"\n\n";

/// Whether the frame carries the body's JSON text beside DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exact {
    /// Towards a host, which delivers the text byte for byte.
    Yes,
    /// Towards listeners, for whom DATA is the event.
    No,
}

impl<'a> Frame<'a> {
    /// Encodes an event: one that came from a Salt program as it came, any other with an `evbus`
    /// entry in the head.
    ///
    /// # Errors
    ///
    /// One sentence: the frame would be longer than [`MAX_FRAME_BYTES`], or the body is no JSON.
    pub(super) fn new(event: &'a Event, exact: Exact) -> Result<Self, String> {
        let tag = event.profile.as_bytes();
        let mut opening = Vec::with_capacity(96);
        let data = if came_from_salt(event) {
            opening.extend_from_slice(b"\x82\xa4head\x80");
            Cow::Borrowed(&event.body[..])
        } else {
            let json = json_of(event)?;
            let (data, stamped) = json_to_data(&json, &stamp(event.time_unix_ns))?;
            let wrap = stamped == Stamped::Around;
            let exact = exact == Exact::Yes;
            opening.extend_from_slice(b"\x82\xa4head\x81\xa5evbus");
            pack::map(&mut opening, 2 + u32::from(wrap) + u32::from(exact));
            pack::str(&mut opening, b"id");
            pack::bin(&mut opening, event.id.as_bytes());
            pack::str(&mut opening, b"time");
            pack::uint(&mut opening, event.time_unix_ns);
            if wrap {
                pack::str(&mut opening, b"wrap");
                pack::bool(&mut opening, true);
            }
            if exact {
                pack::str(&mut opening, b"json");
                pack::str(&mut opening, &json);
            }
            Cow::Owned(data)
        };
        pack::str(&mut opening, b"body");
        pack::bin_head(&mut opening, tag.len() + TAG_END.len() + data.len());
        let frame = Self { opening, tag, data };
        if frame.len() > MAX_FRAME_BYTES {
            return Err(format!(
                "its frame is {} bytes long; expected at most {MAX_FRAME_BYTES}",
                frame.len()
            ));
        }
        Ok(frame)
    }

    /// The payload's length in bytes.
    pub(super) fn len(&self) -> usize {
        self.opening.len() + self.tag.len() + TAG_END.len() + self.data.len()
    }

    /// The pieces of the payload, in order.
    pub(super) fn pieces(&self) -> [&[u8]; 4] {
        [&self.opening, self.tag, TAG_END, &self.data]
    }

    /// The length prefix.
    pub(super) fn prefix(&self) -> [u8; 4] {
        // At most MAX_FRAME_BYTES, as checked when it was made.
        u32::try_from(self.len()).unwrap_or(u32::MAX).to_be_bytes()
    }
}

/// Whether the body is Salt's DATA, as it came through a socket.
pub(super) fn came_from_salt(event: &Event) -> bool {
    event.origin == Origin::Salt && event.content_type == ContentType::Msgpack
}

/// An event's body as JSON text, whatever serial form it has been brought into.
fn json_of(event: &Event) -> Result<Cow<'_, [u8]>, String> {
    match event.content_type {
        ContentType::Json => Ok(Cow::Borrowed(&event.body)),
        ContentType::Msgpack => super::mapping::value_to_json(&event.body).map(Cow::Owned),
        ContentType::Text => serde_json::to_vec(&String::from_utf8_lossy(&event.body))
            .map(Cow::Owned)
            .map_err(|error| error.to_string()),
    }
}
