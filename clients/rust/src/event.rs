//! Events as listeners receive them.

use bytes::Bytes;
use evbus_wire::mapping::data_to_json;
use evbus_wire::{Content, EventId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Error;

/// An event: a tag and its data.
///
/// Cheap to clone: clones share the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    tag: String,
    data: Bytes,
    /// The id and time that an evbus program wrote beside the data.
    head: Option<(EventId, u64)>,
    payload: Bytes,
}

impl Event {
    /// Reads a frame's payload; `None` if it contains no event.
    pub(crate) fn read(payload: Bytes) -> Option<Self> {
        let content = Content::read(&payload).ok()?;
        let head = content.head.as_ref();
        Some(Self {
            tag: content.tag.to_owned(),
            data: payload.slice_ref(content.data),
            head: head.map(|head| (EventId::from_bytes(head.id), head.time_unix_ns)),
            payload,
        })
    }

    /// The tag, which is the profile of an event that an evbus program fired.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The data, Salt's DATA: one msgpack map, with `_stamp`, the time the event was fired.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The data as a Rust value. Bytes stay bytes; keys that the type lacks are ignored.
    ///
    /// Salt's datetimes have a msgpack type of their own, which no field accepts;
    /// [`data_json`](Self::data_json) returns them as text.
    ///
    /// # Errors
    ///
    /// [`Error::Data`]: they do not have the form of `T`.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        rmp_serde::from_slice(&self.data).map_err(|error| self.unreadable(error.to_string()))
    }

    /// The data as JSON text, with `_stamp`: what Salt's `get_event` returns without `full`. Bytes
    /// become `{"__bytes__": "<base64>"}`, datetimes text, keys text.
    ///
    /// # Errors
    ///
    /// [`Error::Data`]: the text would be longer than 100 MiB.
    pub fn data_json(&self) -> Result<String, Error> {
        self.text(data_to_json(&self.data))
    }

    /// `{"tag": TAG, "data": DATA}` as JSON text: what Salt's `get_event` returns with `full`.
    ///
    /// # Errors
    ///
    /// Those of [`data_json`](Self::data_json).
    pub fn full_json(&self) -> Result<String, Error> {
        #[derive(serde::Serialize)]
        struct Full<'a> {
            tag: &'a str,
            data: &'a RawValue,
        }
        let data = RawValue::from_string(self.data_json()?);
        data.and_then(|data| {
            serde_json::to_string(&Full {
                tag: &self.tag,
                data: &data,
            })
        })
        .map_err(|error| self.unreadable(error.to_string()))
    }

    /// The body as JSON text, without `_stamp`, as destinations get it: for an event that an evbus
    /// program fired. For an event of a Salt program, [`data_json`](Self::data_json).
    ///
    /// # Errors
    ///
    /// Those of [`data_json`](Self::data_json).
    pub fn body_json(&self) -> Result<String, Error> {
        let content = Content::read(&self.payload);
        let content = content.map_err(|fault| self.unreadable(fault.to_string()))?;
        self.text(content.body_json())
    }

    /// The event's id; `None` for an event of a Salt program.
    pub fn id(&self) -> Option<EventId> {
        self.head.map(|(id, _)| id)
    }

    /// When an evbus program fired the event, in nanoseconds since the Unix epoch; `None` for an
    /// event of a Salt program, whose time is `_stamp` in the data.
    pub fn time_unix_ns(&self) -> Option<u64> {
        self.head.map(|(_, time_unix_ns)| time_unix_ns)
    }

    /// How much memory the event takes if it is kept.
    pub(crate) fn size(&self) -> usize {
        self.payload.len() + self.tag.len()
    }

    /// The event with its own memory: as received, it keeps everything alive that was read with it.
    pub(crate) fn detached(&self) -> Option<Self> {
        Self::read(Bytes::copy_from_slice(&self.payload))
    }

    fn text(&self, json: Result<Vec<u8>, String>) -> Result<String, Error> {
        json.and_then(|json| String::from_utf8(json).map_err(|error| error.to_string()))
            .map_err(|reason| self.unreadable(reason))
    }

    fn unreadable(&self, reason: String) -> Error {
        Error::Data {
            tag: self.tag.clone(),
            reason,
        }
    }
}
