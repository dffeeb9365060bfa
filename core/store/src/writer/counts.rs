//! The contents of a store compared with its own counts.

use rusqlite::Connection;

use super::super::burying::Letters;
use super::super::journal::Found;
use super::super::queue::Contents;
use super::super::salvage;
use super::super::schema::{self, Harm, LETTER_SIZE};
use evbus_report::counted;

/// The store's own counts of its rows.
pub(super) struct Counts {
    pub(super) queued: i64,
    pub(super) dead: i64,
    pub(super) last_seq: u64,
    /// Total losses to damage.
    pub(super) harm: Harm,
    /// Whether the two tables with these numbers differ.
    differ: bool,
    /// Whether the rows' positions ascend, as the tree needs it to find them.
    in_order: bool,
}

impl Counts {
    /// Why the rows found are not what was written.
    pub(super) fn fault(&self, found: &Found) -> Option<String> {
        let queued = self.queued - found.events.cast_signed();
        let dead = self.dead - found.dead_letters.cast_signed();
        let missing = queued.max(0) + dead.max(0);
        if !self.in_order {
            Some("its records are out of order".to_owned())
        } else if found.last_seq > self.last_seq {
            Some("a record has a number that was never used".to_owned())
        } else if missing > 0 {
            // An inner page may be damaged, so that rows exist but are not found.
            Some(counted(missing, "record is missing", "records are missing"))
        } else {
            None
        }
    }

    /// Corrects the store's own counts if they are wrong.
    pub(super) fn correct(&self, store: &mut Connection, found: &Found) -> rusqlite::Result<()> {
        let rows = [found.events, found.dead_letters].map(u64::cast_signed);
        if rows == [self.queued, self.dead] && !self.differ {
            return Ok(());
        }
        let transaction = store.transaction()?;
        transaction.execute("UPDATE counts SET queued = ?, dead = ?", rows)?;
        schema::set_harm(&transaction, self.harm)?;
        transaction.commit()
    }
}

pub(super) fn letters(found: &Found) -> Letters {
    Letters {
        rows: found.dead_letters.cast_signed(),
        bytes: found.dead_letter_bytes,
    }
}

/// Counts the rows of a store; reads every page of the queue's tree, but not the bodies.
pub(super) fn count(store: &Connection) -> rusqlite::Result<(Found, Counts)> {
    let (dead_letters, dead_letter_bytes) = store.query_row(
        &format!("SELECT count(*), coalesce(sum({LETTER_SIZE}), 0) FROM dead_letters"),
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mut found = Found {
        dead_letters,
        dead_letter_bytes,
        ..Found::default()
    };
    let contents = Contents::read(store)?;
    found.events = contents.events;
    found.bytes = contents.bytes;
    (found.first_seq, found.last_seq) = (contents.first_seq, contents.last_seq);
    let (queued, dead, last_seq, own) = store.query_row(
        "SELECT queued, dead, last_seq, damaged, lost, dead_letters_lost, dead_dropped FROM counts",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, harm(row, 3)?)),
    )?;
    let other = store.query_row(
        "SELECT damaged, lost, dead_letters_lost, dead_dropped FROM harm",
        [],
        |row| harm(row, 0),
    )?;
    let last_seq: u64 = last_seq;
    let gone = last_seq.saturating_sub(found.events);
    let harm = salvage::believable(own, other, gone.cast_signed());
    let counts = Counts {
        queued,
        dead,
        last_seq,
        harm,
        differ: own != other,
        in_order: contents.in_order,
    };
    Ok((found, counts))
}

/// The losses to damage, in the columns from this one on.
fn harm(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Harm> {
    // A negative number is damage.
    let number = |column| row.get::<_, u64>(first + column).map(u64::cast_signed);
    Ok(Harm {
        damaged: number(0)?,
        lost: number(1)?,
        dead_letters_lost: number(2)?,
        dead_dropped: number(3)?,
    })
}
