//! An event as a row of a store.

use std::sync::Arc;

use bytes::Bytes;
use evbus_abi::v1::AttributeV1;
use rusqlite::{Row, Statement};

use crate::event::{ContentType, Event, EventId, Origin};

/// The columns that make an event, in every table.
pub(super) const COLUMNS: &str = "id, time, profile, content_type, attributes, body, checksum";

/// As many parameters as [`COLUMNS`] has names.
pub(super) const PARAMETERS: &str = "?, ?, ?, ?, ?, ?, ?";

/// An event that was read back.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Its place in the queue.
    pub(crate) seq: u64,
    /// How many attempts it has had.
    pub(crate) attempts: u32,
    pub(crate) event: Arc<Event>,
}

/// Why a row is no event.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowFault {
    /// The row was read and is not what was written.
    #[error("its record on disk is damaged")]
    Damaged,
    /// The store cannot read the row.
    #[error(transparent)]
    Unreadable(#[from] rusqlite::Error),
}

/// The place under which dead letters are checked: they have none in the queue.
pub(super) const NO_PLACE: u64 = 0;

/// Binds the values of [`COLUMNS`] to a statement's parameters from `first` on. `place` is the
/// event's place in the queue, which a record is checked for, too.
pub(super) fn bind(
    statement: &mut Statement<'_>,
    first: usize,
    place: u64,
    event: &Event,
) -> rusqlite::Result<()> {
    let pairs: Vec<(&str, &str)> = event.attributes().collect();
    let attributes = (!pairs.is_empty())
        // Strings can always be written as JSON.
        .then(|| serde_json::to_string(&pairs).unwrap_or_default());
    let content_type = event.content_type.as_str();
    // Nanoseconds pass the largest signed number in the year 2262.
    let time = event.time_unix_ns.cast_signed();
    let checksum = checksum(
        place,
        event.id.as_bytes(),
        time,
        &event.profile,
        content_type,
        attributes.as_deref(),
        &event.body,
    );
    statement.raw_bind_parameter(first, event.id.as_bytes())?;
    statement.raw_bind_parameter(first + 1, time)?;
    statement.raw_bind_parameter(first + 2, &*event.profile)?;
    statement.raw_bind_parameter(first + 3, content_type)?;
    statement.raw_bind_parameter(first + 4, attributes)?;
    statement.raw_bind_parameter(first + 5, &*event.body)?;
    statement.raw_bind_parameter(first + 6, checksum)
}

/// Reads the event whose [`COLUMNS`] begin at column `first`, and which was written for `place`.
pub(super) fn read(row: &Row<'_>, first: usize, place: u64) -> Result<Event, RowFault> {
    let id = row
        .get_ref(first)?
        .as_blob()
        .map_err(|_| RowFault::Damaged)?;
    let time: i64 = row.get(first + 1).map_err(damaged)?;
    let text = |column: usize| {
        let value = row.get_ref(first + column)?;
        value.as_str().map_err(|_| RowFault::Damaged)
    };
    let (profile, content_type) = (text(2)?, text(3)?);
    let attributes = row
        .get_ref(first + 4)?
        .as_str_or_null()
        .map_err(|_| RowFault::Damaged)?;
    let body = row
        .get_ref(first + 5)?
        .as_blob()
        .map_err(|_| RowFault::Damaged)?;
    let expected: u32 = row.get(first + 6).map_err(damaged)?;
    if checksum(place, id, time, profile, content_type, attributes, body) != expected {
        return Err(RowFault::Damaged);
    }
    let pairs: Vec<(String, String)> = match attributes {
        None => Vec::new(),
        Some(json) => serde_json::from_str(json).map_err(|_| RowFault::Damaged)?,
    };
    Ok(Event {
        id: EventId::from_bytes(id.try_into().map_err(|_| RowFault::Damaged)?),
        time_unix_ns: time.cast_unsigned(),
        profile: profile.into(),
        body: Bytes::copy_from_slice(body),
        content_type: content_type_of(content_type).ok_or(RowFault::Damaged)?,
        attributes: pairs
            .into_iter()
            .map(|(key, value)| AttributeV1 {
                key: key.into(),
                value: value.into(),
            })
            .collect(),
        // Only listeners ask for the origin, and they heard of the event when it was fired.
        origin: Origin::Fired,
    })
}

/// A value of another type than was written is damage; all else is the store's own trouble.
fn damaged(error: rusqlite::Error) -> RowFault {
    match error {
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::FromSqlConversionFailure(..) => RowFault::Damaged,
        error => RowFault::Unreadable(error),
    }
}

fn content_type_of(text: &str) -> Option<ContentType> {
    [ContentType::Json, ContentType::Msgpack, ContentType::Text]
        .into_iter()
        .find(|known| known.as_str() == text)
}

/// CRC-32 over all that makes the event; lengths keep neighbours apart.
fn checksum(
    place: u64,
    id: &[u8],
    time: i64,
    profile: &str,
    content_type: &str,
    attributes: Option<&str>,
    body: &[u8],
) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.to_le_bytes());
    hasher.update(&time.to_le_bytes());
    for part in [
        id,
        profile.as_bytes(),
        content_type.as_bytes(),
        attributes.unwrap_or_default().as_bytes(),
        body,
    ] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}
