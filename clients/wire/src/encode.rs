//! Events as frames.

use std::borrow::Cow;

use crate::mapping::JsonReader;
use crate::{Content, EventId, MAX_FRAME_BYTES, pack};

/// A frame as pieces to be written; the pieces in order are its payload.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Head, and the beginning of the body; or all there is.
    opening: Cow<'a, [u8]>,
    tag: &'a [u8],
    tag_end: &'static [u8],
    data: Cow<'a, [u8]>,
}

/// Ends the tag.
pub(crate) const TAG_END: &[u8] = b"\n\n";

/// What every frame of Salt's begins with; the body's type and length follow.
pub(crate) const SALT_OPENING: &[u8] = b"\x82\xa4head\x80\xa4body";

/// Whether the frame carries the body's JSON text beside DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exact {
    /// Towards a host, which delivers the text byte for byte.
    Yes,
    /// Towards listeners, for whom DATA is the event.
    No,
}

/// An event that an evbus program fires.
#[derive(Debug, Clone, Copy)]
pub struct Fired<'a> {
    /// The body: one JSON value.
    pub json: &'a [u8],
    /// Its id.
    pub id: EventId,
    /// When it was fired, in nanoseconds since the Unix epoch.
    pub time_unix_ns: u64,
}

impl<'a> Frame<'a> {
    /// The frame of an event as Salt's programs write it. `data` is one msgpack map, which is sent
    /// unchanged.
    ///
    /// # Errors
    ///
    /// One sentence: the frame would be longer than [`MAX_FRAME_BYTES`].
    pub fn of_salt(tag: &'a str, data: &'a [u8]) -> Result<Self, String> {
        let mut opening = Vec::with_capacity(24);
        opening.extend_from_slice(SALT_OPENING);
        Self::close(opening, tag, Cow::Borrowed(data))
    }

    /// The frame of an event that was received from a Salt program. The received payload is reused if it has
    /// the form in which frames are sent.
    ///
    /// # Errors
    ///
    /// One sentence: the frame would be longer than [`MAX_FRAME_BYTES`].
    pub fn of_content(content: &Content<'a>) -> Result<Self, String> {
        match content.canonical {
            Some(payload) => Ok(Self {
                opening: Cow::Borrowed(payload),
                tag: b"",
                tag_end: b"",
                data: Cow::Borrowed(b""),
            }),
            None => Self::of_salt(content.tag, content.data),
        }
    }

    /// The frame of an evbus event, with its profile as the tag: DATA with `_stamp`, as every Salt listener reads
    /// it, and an `evbus` entry in the head.
    ///
    /// # Errors
    ///
    /// One sentence: the frame would be longer than [`MAX_FRAME_BYTES`], or the body is not JSON.
    pub fn of_evbus(tag: &'a str, event: &Fired<'_>, exact: Exact) -> Result<Self, String> {
        let mut reader = JsonReader::default();
        reader.check_and_write(event.json, event.time_unix_ns)?;
        let exact = (exact == Exact::Yes).then_some(event.json);
        let opening = evbus_opening(event.id, event.time_unix_ns, reader.is_wrapped(), exact);
        Self::close(opening, tag, Cow::Owned(reader.into_data()))
    }

    /// As [`of_evbus`](Self::of_evbus) towards listeners, of an event whose body `reader` has just read by
    /// [`JsonReader::check_and_write`], with the same time.
    ///
    /// # Errors
    ///
    /// One sentence: the frame would be longer than [`MAX_FRAME_BYTES`].
    pub fn of_read(
        tag: &'a str,
        id: EventId,
        time_unix_ns: u64,
        reader: &'a JsonReader,
    ) -> Result<Self, String> {
        let opening = evbus_opening(id, time_unix_ns, reader.is_wrapped(), None);
        Self::close(opening, tag, Cow::Borrowed(reader.data()))
    }

    /// `opening` ends with the key of the body.
    fn close(mut opening: Vec<u8>, tag: &'a str, data: Cow<'a, [u8]>) -> Result<Self, String> {
        let tag = tag.as_bytes();
        pack::bin_head(&mut opening, tag.len() + TAG_END.len() + data.len());
        let frame = Self {
            opening: Cow::Owned(opening),
            tag,
            tag_end: TAG_END,
            data,
        };
        if frame.len() > MAX_FRAME_BYTES {
            return Err(format!(
                "its frame is {} bytes long; expected at most {MAX_FRAME_BYTES}",
                frame.len()
            ));
        }
        Ok(frame)
    }

    /// The payload's length in bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub fn len(&self) -> usize {
        self.pieces().iter().map(|piece| piece.len()).sum()
    }

    /// The pieces of the payload, in order.
    pub fn pieces(&self) -> [&[u8]; 4] {
        [&self.opening, self.tag, self.tag_end, &self.data]
    }

    /// The length that precedes the payload in prefixed framing.
    pub fn prefix(&self) -> [u8; 4] {
        // At most MAX_FRAME_BYTES, as checked when it was made.
        u32::try_from(self.len()).unwrap_or(u32::MAX).to_be_bytes()
    }
}

/// The beginning of an evbus event's frame, up to the key of the body.
fn evbus_opening(id: EventId, time_unix_ns: u64, wrap: bool, json: Option<&[u8]>) -> Vec<u8> {
    let mut opening = Vec::with_capacity(96 + json.map_or(0, <[u8]>::len));
    opening.extend_from_slice(b"\x82\xa4head\x81\xa5evbus");
    pack::map(
        &mut opening,
        2 + u32::from(wrap) + u32::from(json.is_some()),
    );
    pack::str(&mut opening, b"id");
    pack::bin(&mut opening, id.as_bytes());
    pack::str(&mut opening, b"time");
    pack::uint(&mut opening, time_unix_ns);
    if wrap {
        pack::str(&mut opening, b"wrap");
        pack::bool(&mut opening, true);
    }
    if let Some(json) = json {
        pack::str(&mut opening, b"json");
        pack::str(&mut opening, json);
    }
    pack::str(&mut opening, b"body");
    opening
}
