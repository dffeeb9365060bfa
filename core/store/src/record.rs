//! An event as a row of a store.

use std::borrow::Cow;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement};

use evbus_event::{Body, ContentType, Event, EventId, Origin, StringTags};

/// The columns of an event, in every table.
pub(super) const COLUMNS: &str = "id, time, profile, content_type, attributes, body, checksum";

/// One parameter for each name in [`COLUMNS`].
pub(super) const PARAMETERS: &str = "?, ?, ?, ?, ?, ?, ?";

/// An event that was read back.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its place in the queue.
    pub seq: u64,
    /// How many attempts it has had.
    pub attempts: u32,
    /// The event.
    pub event: Arc<Event>,
}

/// Why a row is not an event.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowFault {
    /// The row's content is not what was written.
    #[error("its record on disk is damaged")]
    Damaged,
    /// The store cannot read the row.
    #[error(transparent)]
    Unreadable(#[from] rusqlite::Error),
}

/// The position that dead letters are checked with: they have none in the queue.
pub(super) const NO_POSITION: u64 = 0;

/// Binds the values of [`COLUMNS`] to a statement's parameters from `first` on. `position` is the event's position in the
/// queue, which the checksum covers too.
pub(super) fn bind(
    statement: &mut Statement<'_>,
    first: usize,
    position: u64,
    event: &Event,
) -> rusqlite::Result<()> {
    let attributes = attributes_of(event);
    let id = event.id();
    let parts = Parts {
        id: id.as_bytes(),
        // Nanoseconds exceed the largest signed number in the year 2262.
        time: event.time_unix_ns().cast_signed(),
        profile: event.profile(),
        content_type: event.content_type().as_str(),
        attributes: attributes.as_deref(),
        body: event.body(),
    };
    parts.bind(statement, first, position)
}

/// An event's attributes as they are written; `None` if it has none.
pub(super) fn attributes_of(event: &Event) -> Option<String> {
    let pairs: Vec<(&str, &str)> = event.attributes().collect();
    // Strings can always be written as JSON.
    (!pairs.is_empty()).then(|| serde_json::to_string(&pairs).unwrap_or_default())
}

/// The values of [`COLUMNS`], with their types.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) id: &'a [u8],
    pub(super) time: i64,
    pub(super) profile: &'a str,
    pub(super) content_type: &'a str,
    pub(super) attributes: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Returns the values if they are what was written for `position`.
    fn new(
        get: impl Fn(usize) -> rusqlite::Result<ValueRef<'a>>,
        position: u64,
    ) -> Result<Self, RowFault> {
        let number = |column| get(column)?.as_i64().map_err(|_| RowFault::Damaged);
        let text = |column| get(column)?.as_str().map_err(|_| RowFault::Damaged);
        let bytes = |column| get(column)?.as_blob().map_err(|_| RowFault::Damaged);
        let attributes = get(4)?.as_str_or_null().map_err(|_| RowFault::Damaged)?;
        let parts = Self {
            id: bytes(0)?,
            time: number(1)?,
            profile: text(2)?,
            content_type: text(3)?,
            attributes,
            body: bytes(5)?,
        };
        if i64::from(parts.checksum(position)) != number(6)? {
            return Err(RowFault::Damaged);
        }
        Ok(parts)
    }

    /// Binds them to a statement's parameters from `first` on, with the checksum for a position.
    pub(super) fn bind(
        &self,
        statement: &mut Statement<'_>,
        first: usize,
        position: u64,
    ) -> rusqlite::Result<()> {
        self.bind_with(statement, first, self.checksum(position))
    }

    /// The same for what is left of a damaged event, so that its row counts as damaged.
    pub(super) fn bind_damaged(
        &self,
        statement: &mut Statement<'_>,
        first: usize,
        position: u64,
    ) -> rusqlite::Result<()> {
        self.bind_with(statement, first, !self.checksum(position))
    }

    fn bind_with(
        &self,
        statement: &mut Statement<'_>,
        first: usize,
        checksum: u32,
    ) -> rusqlite::Result<()> {
        statement.raw_bind_parameter(first, self.id)?;
        statement.raw_bind_parameter(first + 1, self.time)?;
        statement.raw_bind_parameter(first + 2, self.profile)?;
        statement.raw_bind_parameter(first + 3, self.content_type)?;
        statement.raw_bind_parameter(first + 4, self.attributes)?;
        statement.raw_bind_parameter(first + 5, self.body)?;
        statement.raw_bind_parameter(first + 6, checksum)
    }

    /// The event that they are.
    pub(super) fn event(&self) -> Result<Event, RowFault> {
        let tags: StringTags = match self.attributes {
            None => StringTags::default(),
            Some(json) => tags_of(json).ok_or(RowFault::Damaged)?,
        };
        let parts = evbus_event::Parts {
            id: EventId::from_bytes(self.id.try_into().map_err(|_| RowFault::Damaged)?),
            time_unix_ns: self.time.cast_unsigned(),
            profile: self.profile,
            body: body_of(self.content_type, self.body).ok_or(RowFault::Damaged)?,
            tags: &tags,
            // Only listeners use the origin, and they received the event when it was fired.
            origin: Origin::Fired,
        };
        Ok(parts.into())
    }

    /// CRC-32 over all columns of the event; the lengths separate neighbours.
    fn checksum(&self, position: u64) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&position.to_le_bytes());
        hasher.update(&self.time.to_le_bytes());
        for part in [
            self.id,
            self.profile.as_bytes(),
            self.content_type.as_bytes(),
            self.attributes.unwrap_or_default().as_bytes(),
            self.body,
        ] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize()
    }
}

/// Whether the values of [`COLUMNS`] are what was written for `position`.
pub(super) fn is_whole<'a>(get: impl Fn(usize) -> ValueRef<'a>, position: u64) -> bool {
    Parts::new(|column| Ok(get(column)), position).is_ok()
}

/// Reads a row of the queue.
pub(super) fn stored(row: &Row<'_>) -> Result<Stored, RowFault> {
    let seq = row.get::<_, i64>(0)?.cast_unsigned();
    Ok(Stored {
        seq,
        attempts: row.get(1).unwrap_or_default(),
        event: Arc::new(read(row, 2, seq)?),
    })
}

/// Reads the event whose [`COLUMNS`] begin at column `first`, and which was written for `position`.
pub(super) fn read(row: &Row<'_>, first: usize, position: u64) -> Result<Event, RowFault> {
    Parts::new(|column| row.get_ref(first + column), position)?.event()
}

/// The tags in a column of attributes.
fn tags_of(json: &str) -> Option<StringTags> {
    if json.contains('\\') {
        let pairs = serde_json::from_str::<Vec<(Cow<'_, str>, Cow<'_, str>)>>(json).ok()?;
        return Some(pairs.into_iter().collect());
    }
    // Without escapes, the only quotes are those around the texts. A parser would take an eighth of a read's time.
    let mut parts = json.split('"');
    let mut between = parts.next().filter(|begin| *begin == "[[")?;
    let tags = std::iter::from_fn(|| {
        if between == "]]" {
            return None;
        }
        let key = parts.next()?;
        between = parts.next().filter(|between| *between == ",")?;
        let value = parts.next()?;
        between = parts.next().filter(|end| ["],[", "]]"].contains(end))?;
        Some((key, value))
    });
    let tags = tags.collect();
    (between == "]]" && parts.next().is_none()).then_some(tags)
}

fn body_of<'a>(content_type: &str, bytes: &'a [u8]) -> Option<Body<'a>> {
    let text = || str::from_utf8(bytes).ok();
    [ContentType::Json, ContentType::Msgpack, ContentType::Text]
        .into_iter()
        .find(|known| known.as_str() == content_type)
        .and_then(|known| match known {
            ContentType::Json => text().map(Body::Json),
            ContentType::Text => text().map(Body::Text),
            ContentType::Msgpack => Some(Body::Msgpack(bytes)),
        })
}

/// The bytes of a value of any type.
pub(super) fn bytes(value: ValueRef<'_>) -> Vec<u8> {
    match value {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
        ValueRef::Integer(number) => number.to_string().into_bytes(),
        ValueRef::Real(number) => number.to_string().into_bytes(),
        ValueRef::Null => Vec::new(),
    }
}

/// A value of any type as text; invalid UTF-8 is replaced.
pub(super) fn text(value: ValueRef<'_>) -> String {
    String::from_utf8_lossy(&bytes(value)).into_owned()
}

/// A value of any type as a number; 0 if it is not a number.
pub(super) fn number(value: ValueRef<'_>) -> i64 {
    match value {
        ValueRef::Integer(number) => number,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_they_were_written() {
        let cases: [&[(&str, &str)]; 6] = [
            &[("", "")],
            &[("type", "state"), ("ref", "states.test"), ("é", "ü")],
            &[("],[", ","), (",", "],["), ("]]", "[[")],
            &[("a", "\""), ("\\", "\",\""), ("b", "\n")],
            &[("a", "\"],[\"")],
            &[("a\u{1}", "'")],
        ];
        for pairs in cases {
            let json = serde_json::to_string(pairs).expect("texts can be written");
            let tags = tags_of(&json).unwrap_or_else(|| panic!("{json}"));
            assert!(tags.iter().eq(pairs.iter().copied()), "{json}");
        }
        for json in [
            "",
            "[]",
            "[[\"a\"]]",
            "[[\"a\",\"b\"],[\"c\"]]",
            "{\"a\\\\\":1}",
        ] {
            assert!(tags_of(json).is_none(), "{json}");
        }
    }
}
