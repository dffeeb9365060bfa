//! The queue in a store: rows with one event each, and packs with several. No position is in both.
//!
//! Events that come one behind the other are packed, which takes a fraction of the work and less room.
//! A pack of which a part is settled, or tried again, becomes rows.

use std::ops::RangeInclusive;

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, Row, ffi};

use super::journal::{RECORD_BYTES, record_bytes};
use super::pack::{self, Head, MOST_EVENTS, Packing};
use super::record::{self, COLUMNS, RowFault, Stored};
use super::schema;
use evbus_event::Event;

/// The first position in the queue; null if it is empty.
pub(super) const FIRST: &str = "(SELECT min(seq) FROM (SELECT min(seq) AS seq FROM queue UNION ALL SELECT min(seq) FROM packs))";

/// The columns of a pack's head.
const HEAD: &str = "seq, events, size, checksum, octet_length(frames)";

/// Writes events to the queue.
pub(super) struct Appending<'t, 'e> {
    row: CachedStatement<'t>,
    pack: CachedStatement<'t>,
    packing: Packing,
    /// The first event of the pack that is being made.
    first: Option<&'e Event>,
}

impl<'t, 'e> Appending<'t, 'e> {
    pub(super) fn new(transaction: &'t Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            row: transaction.prepare_cached(&schema::insert_queued())?,
            pack: transaction.prepare_cached(
                "INSERT OR REPLACE INTO packs (seq, events, size, checksum, frames) VALUES (?, ?, ?, ?, ?)",
            )?,
            packing: Packing::default(),
            first: None,
        })
    }

    /// Adds a new event, which is written at the latest by [`Appending::finish`].
    pub(super) fn add(&mut self, seq: u64, event: &'e Event) -> rusqlite::Result<()> {
        let size = record_bytes(event);
        if !self.packing.add(seq, event, size) {
            self.finish()?;
            if !self.packing.add(seq, event, size) {
                return self.replace(seq, 0, event);
            }
        }
        self.first.get_or_insert(event);
        Ok(())
    }

    /// Writes an event as a row, or replaces what is known of it.
    pub(super) fn replace(
        &mut self,
        seq: u64,
        attempts: u32,
        event: &Event,
    ) -> rusqlite::Result<()> {
        let row = &mut self.row;
        row.raw_bind_parameter(1, seq.cast_signed())?;
        row.raw_bind_parameter(2, attempts)?;
        record::bind(row, 3, seq, event)?;
        row.raw_execute().map(|_| ())
    }

    /// Writes what was added.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        let Some(event) = self.first.take() else {
            return Ok(());
        };
        let head = Head {
            first: self.packing.first,
            events: self.packing.events,
            size: self.packing.size,
            length: self.packing.frames.len() as u64,
        };
        let written = if head.events == 1 {
            self.replace(head.first, 0, event)
        } else {
            let pack = &mut self.pack;
            pack.raw_bind_parameter(1, head.first.cast_signed())?;
            pack.raw_bind_parameter(2, head.events)?;
            pack.raw_bind_parameter(3, head.size.cast_signed())?;
            pack.raw_bind_parameter(4, head.checksum())?;
            pack.raw_bind_parameter(5, &self.packing.frames[..])?;
            pack.raw_execute().map(|_| ())
        };
        self.packing.clear();
        written
    }
}

/// Whether a position is in the queue.
pub(super) fn exists(store: &Connection, position: u64) -> rusqlite::Result<bool> {
    let mut select = store.prepare_cached("SELECT 1 FROM queue WHERE seq = ?")?;
    Ok(select.exists([position.cast_signed()])? || pack_around(store, position)?.is_some())
}

/// The last position in the queue; `None` if it is empty.
pub(super) fn last(store: &Connection) -> rusqlite::Result<Option<u64>> {
    let row: Option<i64> = store.query_row("SELECT max(seq) FROM queue", [], |row| row.get(0))?;
    let mut select = store.prepare(&format!(
        "SELECT {HEAD} FROM packs ORDER BY seq DESC LIMIT 1"
    ))?;
    let mut packs = select.query([])?;
    let pack = packs.next()?.map(head_of).transpose()?;
    Ok(row
        .map(i64::cast_unsigned)
        .max(pack.map(|head| head.end() - 1)))
}

/// Deletes all events from position `first` to `last`, within a transaction; returns how many there were.
pub(super) fn delete(transaction: &Connection, first: u64, last: u64) -> rusqlite::Result<usize> {
    let mut from = first;
    let mut in_part: Vec<(Head, Vec<u8>)> = Vec::new();
    for end in [first, last] {
        if let Some(head) = pack_around(transaction, end)?
            && (head.first < first || head.end() - 1 > last)
            && in_part.iter().all(|(other, _)| *other != head)
        {
            from = from.min(head.first);
            in_part.push((head, frames_of(transaction, head)?));
        }
    }
    let mut deleted = 0;
    {
        let mut select = transaction.prepare_cached(&format!(
            "SELECT {HEAD} FROM packs WHERE seq BETWEEN ? AND ?"
        ))?;
        let mut packs = select.query([first, last].map(u64::cast_signed))?;
        while let Some(pack) = packs.next()? {
            let head = head_of(pack)?;
            if head.end() - 1 <= last {
                deleted += head.events as usize;
            }
        }
    }
    if deleted > 0 || !in_part.is_empty() {
        transaction
            .prepare_cached("DELETE FROM packs WHERE seq BETWEEN ? AND ?")?
            .execute([from, last].map(u64::cast_signed))?;
    }
    deleted += transaction
        .prepare_cached("DELETE FROM queue WHERE seq BETWEEN ? AND ?")?
        .execute([first, last].map(u64::cast_signed))?;
    // After the others have made room.
    for (head, frames) in in_part {
        deleted += insert_apart(transaction, head, &frames, first..=last)?;
    }
    Ok(deleted)
}

/// Makes sure that the event at a position, if it is in the queue, is a row, within a transaction.
pub(super) fn unpack_around(transaction: &Connection, position: u64) -> rusqlite::Result<()> {
    if let Some(head) = pack_around(transaction, position)? {
        let frames = frames_of(transaction, head)?;
        transaction
            .prepare_cached("DELETE FROM packs WHERE seq = ?")?
            .execute([head.first.cast_signed()])?;
        insert_apart(transaction, head, &frames, NONE)?;
    }
    Ok(())
}

/// No position.
#[allow(clippy::reversed_empty_ranges)]
const NONE: RangeInclusive<u64> = 1..=0;

/// The head of the pack that a position is in.
fn pack_around(store: &Connection, position: u64) -> rusqlite::Result<Option<Head>> {
    let mut select = store.prepare_cached(&format!(
        "SELECT {HEAD} FROM packs WHERE seq <= ?1 AND seq > ?1 - {MOST_EVENTS} ORDER BY seq DESC LIMIT 1"
    ))?;
    let mut rows = select.query([position.cast_signed()])?;
    let head = rows.next()?.map(head_of).transpose()?;
    Ok(head.filter(|head| position < head.end()))
}

fn frames_of(store: &Connection, head: Head) -> rusqlite::Result<Vec<u8>> {
    store
        .prepare_cached("SELECT frames FROM packs WHERE seq = ?")?
        .query_row([head.first.cast_signed()], |row| {
            row.get_ref(0).map(record::bytes)
        })
}

/// Writes the events of a pack as rows, except for those at some positions; returns how many these are. What is left of a
/// damaged event becomes a damaged row.
fn insert_apart(
    transaction: &Connection,
    head: Head,
    frames: &[u8],
    without: RangeInclusive<u64>,
) -> rusqlite::Result<usize> {
    let entries = head
        .entries(frames)
        .ok_or_else(|| malformed(head.first.cast_signed()))?;
    let mut insert = transaction.prepare_cached(&schema::insert_queued())?;
    let mut gone = 0;
    for (entry, seq) in entries.into_iter().zip(head.first..) {
        if without.contains(&seq) {
            gone += 1;
            continue;
        }
        insert.raw_bind_parameter(1, seq.cast_signed())?;
        insert.raw_bind_parameter(2, 0)?;
        match entry {
            Ok(parts) => parts.bind(&mut insert, 3, seq)?,
            Err(remains) => pack::what_is_left(remains).bind_damaged(&mut insert, 3, seq)?,
        }
        insert.raw_execute()?;
    }
    Ok(gone)
}

/// The head of a row that begins with the columns [`HEAD`].
fn head_of(row: &Row<'_>) -> rusqlite::Result<Head> {
    let first = row.get(0)?;
    let columns = [row.get_ref(1)?, row.get_ref(2)?, row.get_ref(3)?];
    Head::new(first, columns, row.get(4)?).ok_or_else(|| malformed(first))
}

/// The error for a pack whose row is damaged, and not only its frames.
fn malformed(pack: i64) -> rusqlite::Error {
    let error = ffi::Error::new(ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(error, Some(format!("the pack at {pack} is malformed")))
}

/// Why reading stopped early.
pub(super) enum Stop {
    /// The record at this position is damaged.
    Damaged(u64),
    /// The store cannot be read.
    Unreadable(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Passes on the events from a position on, in order, until `see` wants no more. Returns whether the end was reached.
pub(super) fn each(
    store: &Connection,
    from: u64,
    mut see: impl FnMut(Stored) -> bool,
) -> Result<bool, Stop> {
    let mut rows = store.prepare_cached(&format!(
        "SELECT seq, attempts, {COLUMNS} FROM queue WHERE seq >= ? ORDER BY seq"
    ))?;
    let mut packs = store.prepare_cached(&format!(
        "SELECT {HEAD}, frames FROM packs WHERE seq > ? ORDER BY seq"
    ))?;
    let mut rows = rows.query([from.cast_signed()])?;
    let mut packs = packs.query([from.cast_signed().saturating_sub(MOST_EVENTS.into())])?;
    let mut row = rows.next()?;
    let mut pack = packs.next()?;
    loop {
        let next_row = row.map(|row| row.get::<_, i64>(0)).transpose()?;
        let next_pack = pack.map(|pack| pack.get::<_, i64>(0)).transpose()?;
        let is_row_first = match (next_row, next_pack) {
            (None, None) => return Ok(true),
            (Some(row), Some(pack)) => row < pack,
            (row, _) => row.is_some(),
        };
        if is_row_first && let Some(here) = row {
            let stored = record::stored(here).map_err(|fault| match fault {
                RowFault::Damaged => Stop::Damaged(next_row.unwrap_or_default().cast_unsigned()),
                RowFault::Unreadable(error) => Stop::Unreadable(error),
            })?;
            if !see(stored) {
                return Ok(false);
            }
            row = rows.next()?;
        } else if let Some(here) = pack {
            if !each_of(here, from, &mut see)? {
                return Ok(false);
            }
            pack = packs.next()?;
        }
    }
}

/// Passes on the events of a pack from a position on; returns whether more are wanted.
fn each_of(row: &Row<'_>, from: u64, see: &mut impl FnMut(Stored) -> bool) -> Result<bool, Stop> {
    let head = head_of(row)?;
    let ValueRef::Blob(frames) = row.get_ref(5)? else {
        return Err(malformed(head.first.cast_signed()).into());
    };
    let entries = head
        .entries(frames)
        .ok_or_else(|| malformed(head.first.cast_signed()))?;
    for (entry, seq) in entries.into_iter().zip(head.first..) {
        if seq < from {
            continue;
        }
        let event = entry
            .map_err(|_| RowFault::Damaged)
            .and_then(|parts| parts.event());
        let Ok(event) = event else {
            return Err(Stop::Damaged(seq));
        };
        let stored = Stored {
            seq,
            attempts: 0,
            event: event.into(),
        };
        if !see(stored) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the queue contains, as one pass over it finds: every page of its trees is read, but no body.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) events: u64,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) bytes: u64,
    /// Whether the positions ascend, as the trees need it to find them.
    pub(super) in_order: bool,
}

impl Contents {
    pub(super) fn read(store: &Connection) -> rusqlite::Result<Self> {
        let mut found = Self {
            in_order: true,
            ..Self::default()
        };
        let mut select = store.prepare(
            "SELECT seq, 1, coalesce(octet_length(body) + octet_length(profile), 0) + ?1, NULL, 0 FROM queue \
             UNION ALL SELECT seq, events, size, checksum, octet_length(frames) FROM packs ORDER BY seq",
        )?;
        let mut rows = select.query([RECORD_BYTES])?;
        while let Some(row) = rows.next()? {
            let head = if row.get_ref(3)? == ValueRef::Null {
                Head {
                    first: row.get(0)?,
                    events: 1,
                    size: row.get(2)?,
                    length: 0,
                }
            } else {
                head_of(row)?
            };
            if found.events == 0 {
                found.first_seq = head.first;
            }
            found.in_order &= head.first > found.last_seq;
            found.last_seq = head.end() - 1;
            found.events += u64::from(head.events);
            found.bytes += head.size;
        }
        Ok(found)
    }
}
