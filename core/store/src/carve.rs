//! Extracts rows from the pages of a store without using its trees, because a page that leads to others
//! may be destroyed.
//!
//! Everything in a page may be damaged, so nothing in it is trusted: data that makes no sense yields no
//! row, and the checksum of each record decides about the others. The format is that of
//! <https://www.sqlite.org/fileformat2.html#b_tree_pages>.

use std::io;

use rusqlite::types::ValueRef;

use super::image::u32_at;
use super::wal::PAGE;

/// How much of a record is stored in the page itself, according to the format.
const MOST: usize = PAGE - 35;
const LEAST: usize = (PAGE - 12) * 32 / 255 - 23;

/// Bytes of a record in an overflow page.
const OVERFLOW: usize = PAGE - 4;

/// The most columns that a table of a store has.
const COLUMNS: usize = 16;

/// A row, as far as it could be read.
pub(super) struct Row {
    pub(super) key: i64,
    record: Vec<u8>,
    /// The type of each column, and its position in the record.
    columns: Vec<(u64, usize, usize)>,
}

impl Row {
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// A column's value.
    pub(super) fn get(&self, column: usize) -> ValueRef<'_> {
        let Some((kind, from, to)) = self.columns.get(column) else {
            return ValueRef::Null;
        };
        let bytes = &self.record[*from..*to];
        match kind {
            0 | 10 | 11 => ValueRef::Null,
            1..=6 => ValueRef::Integer(integer(bytes)),
            7 => ValueRef::Real(f64::from_bits(integer(bytes).cast_unsigned())),
            8 => ValueRef::Integer(0),
            9 => ValueRef::Integer(1),
            kind if kind % 2 == 0 => ValueRef::Blob(bytes),
            _ => ValueRef::Text(bytes),
        }
    }

    /// The row's columns as numbers, if all are numbers.
    pub(super) fn numbers(&self) -> Option<Vec<i64>> {
        let number = |column| match self.get(column) {
            ValueRef::Integer(number) => Some(number),
            _ => None,
        };
        (0..self.width()).map(number).collect()
    }
}

/// Passes the rows of a leaf page to `see`. `overflow` reads overflow pages; no record is longer than `longest`.
pub(super) fn rows<E: From<io::Error>>(
    page: &[u8],
    longest: usize,
    overflow: &impl Fn(u32) -> io::Result<Option<Vec<u8>>>,
    mut see: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), E> {
    for start in pointers(page) {
        if let Some(row) = row(page, start, longest, overflow)? {
            see(row)?;
        }
    }
    Ok(())
}

/// Where the rows of a leaf page begin.
pub(super) fn pointers(page: &[u8]) -> Vec<usize> {
    let cells = u16_at(page, 3).min((PAGE - 8) / 2);
    (0..cells).map(|cell| u16_at(page, 8 + 2 * cell)).collect()
}

/// Where the first row begins, according to the head of a leaf page; `None` if it has none.
pub(super) fn begin_of_cells(page: &[u8]) -> Option<usize> {
    Some(u16_at(page, 5)).filter(|begin| *begin < PAGE)
}

fn u16_at(page: &[u8], at: usize) -> usize {
    usize::from(page[at]) << 8 | usize::from(page[at + 1])
}

fn row(
    page: &[u8],
    start: usize,
    longest: usize,
    overflow: &impl Fn(u32) -> io::Result<Option<Vec<u8>>>,
) -> io::Result<Option<Row>> {
    let Some(mut cell) = page.get(start..).filter(|_| start >= 8) else {
        return Ok(None);
    };
    let (Some(size), Some(key)) = (varint(&mut cell), varint(&mut cell)) else {
        return Ok(None);
    };
    let Some(size) = usize::try_from(size).ok().filter(|size| *size <= longest) else {
        return Ok(None);
    };
    let here = if size <= MOST {
        size
    } else {
        let some = LEAST + (size - LEAST) % OVERFLOW;
        if some <= MOST { some } else { LEAST }
    };
    let Some(first) = cell.get(..here) else {
        return Ok(None);
    };
    let mut record = first.to_vec();
    if here < size {
        let Some(next) = cell.get(here..here + 4) else {
            return Ok(None);
        };
        let mut next = u32_at(next, 0);
        // If pages of the chain are missing, the record's checksum shows it.
        while record.len() < size && next != 0 {
            let Some(page) = overflow(next)? else { break };
            next = u32_at(&page, 0);
            let more = (size - record.len()).min(OVERFLOW);
            record.extend_from_slice(&page[4..4 + more]);
        }
    }
    Ok(columns(&record).map(|columns| Row {
        key: key.cast_signed(),
        record,
        columns,
    }))
}

/// The positions of a record's columns.
fn columns(record: &[u8]) -> Option<Vec<(u64, usize, usize)>> {
    let mut rest = record;
    let header = usize::try_from(varint(&mut rest)?).ok()?;
    let mut kinds = record.get(record.len() - rest.len()..header)?;
    let mut from = header;
    let mut columns = Vec::new();
    while !kinds.is_empty() {
        let kind = varint(&mut kinds)?;
        let size = match kind {
            0 | 8..=11 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            kind => (kind - 12) / 2,
        };
        // The last values may be truncated.
        let to = from
            .checked_add(usize::try_from(size).ok()?)?
            .min(record.len());
        columns.push((kind, from.min(to), to));
        from = to;
        if columns.len() > COLUMNS {
            return None;
        }
    }
    Some(columns)
}

/// A signed number of one to eight bytes.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    bytes
        .iter()
        .fold(start, |number: i64, byte| number << 8 | i64::from(*byte))
}

/// Reads a number of one to nine bytes from the front.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..9 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if at == 8 {
            return Some(number << 8 | u64::from(*byte));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}
