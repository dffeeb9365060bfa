//! Keeps dead letters within their limit.
//!
//! A new dead letter is counted against the limit of the policy, and against the space that the dead
//! letters of all stores share, within the transaction that stores it: so the table never exceeds the
//! limit, and no crash makes the counts wrong. Without space, other dead letters or the new one are
//! dropped, as the policy says; both are counted permanently.

use rusqlite::{Connection, OptionalExtension as _, Statement};

use super::StateDir;
use super::schema::{self, Harm, LETTER_SIZE};
use evbus_destination::{DeadLetterLimits, DeadLettersFull};

/// How many dead letters there are, and their size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Letters {
    pub(super) rows: i64,
    pub(super) bytes: u64,
}

impl Letters {
    pub(super) fn exceed(self, limits: &DeadLetterLimits) -> bool {
        self.rows.max(0).cast_unsigned() > limits.events || self.bytes > limits.bytes
    }
}

/// No bound: for stores whose lane has not set one yet.
pub(super) const UNBOUNDED: DeadLetterLimits = DeadLetterLimits {
    events: u64::MAX,
    bytes: u64::MAX,
    when_full: DeadLettersFull::DropOldest,
};

/// The dead letters of one transaction.
pub(super) struct Burying {
    pub(super) kept: Letters,
    pub(super) dropped: i64,
    limits: DeadLetterLimits,
    state: StateDir,
    /// Bytes taken from the room that all stores share.
    taken: u64,
    /// Bytes of dropped dead letters that no other has used.
    spare: u64,
    is_committed: bool,
}

impl Burying {
    /// If there are already more than the bound allows, their number may stay but not grow.
    pub(super) fn new(before: Letters, bound: &DeadLetterLimits, state: StateDir) -> Self {
        Self {
            kept: before,
            dropped: 0,
            limits: DeadLetterLimits {
                events: bound.events.max(before.rows.max(0).cast_unsigned()),
                bytes: bound.bytes.max(before.bytes),
                when_full: bound.when_full,
            },
            state,
            taken: 0,
            spare: 0,
            is_committed: false,
        }
    }

    /// Adds a dead letter, whose values `bind` gives to the statement of [`schema::insert_dead`].
    pub(super) fn bury(
        &mut self,
        store: &Connection,
        bind: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let drops_newest = self.limits.when_full == DeadLettersFull::DropNewest;
        let next = Letters {
            rows: self.kept.rows + 1,
            // The least that a dead letter takes.
            bytes: self.kept.bytes + super::journal::RECORD_BYTES,
        };
        if drops_newest && next.exceed(&self.limits) {
            self.dropped += 1;
            return Ok(());
        }
        let mut insert = store.prepare_cached(&schema::insert_dead())?;
        bind(&mut insert)?;
        insert.raw_execute()?;
        let number = store.last_insert_rowid();
        let size: u64 = store
            .prepare_cached(&format!(
                "SELECT {LETTER_SIZE} FROM dead_letters WHERE number = ?"
            ))?
            .query_row([number], |row| row.get(0))?;
        self.kept.rows += 1;
        self.kept.bytes += size;
        loop {
            if !self.kept.exceed(&self.limits) && self.takes(size) {
                return Ok(());
            }
            if drops_newest || !self.can_make_room(size) {
                delete(store, number)?;
                self.kept.rows -= 1;
                self.kept.bytes -= size;
                self.dropped += 1;
                return Ok(());
            }
            self.spare += self.drop_one(store, DeadLettersFull::DropOldest)?;
        }
    }

    /// Drops dead letters, `most` at a time, as long as `is_too_much` says so of those kept.
    pub(super) fn trim(
        &mut self,
        store: &Connection,
        most: usize,
        is_too_much: impl Fn(Letters) -> bool,
    ) -> rusqlite::Result<()> {
        for _ in 0..most {
            if self.kept.rows <= 0 || !is_too_much(self.kept) {
                break;
            }
            self.spare += self.drop_one(store, self.limits.when_full)?;
        }
        Ok(())
    }

    /// Records what was dropped; the last step before the commit.
    pub(super) fn conclude(&self, store: &Connection) -> rusqlite::Result<()> {
        if self.dropped == 0 {
            return Ok(());
        }
        let more = Harm {
            dead_dropped: self.dropped,
            ..Harm::default()
        };
        schema::add_harm(store, more)
    }

    /// After the commit: gives back the room that others may use.
    pub(super) fn committed(&mut self) {
        self.is_committed = true;
        self.state.give_letters(self.spare);
    }

    /// Whether dropping all the others would make room for one of this size, which is stored already.
    fn can_make_room(&self, size: u64) -> bool {
        let others = self.kept.bytes.saturating_sub(size);
        let room = (self.state.room_for_letters())
            .saturating_add(self.spare)
            .saturating_add(others);
        self.kept.rows > 1 && size <= self.limits.bytes && size <= room
    }

    fn takes(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.spare);
        let takes = self.state.take_letters(more);
        if takes {
            self.taken += more;
            self.spare -= bytes - more;
        }
        takes
    }

    /// Drops the oldest or the newest dead letter, and returns its size.
    fn drop_one(&mut self, store: &Connection, which: DeadLettersFull) -> rusqlite::Result<u64> {
        let order = match which {
            DeadLettersFull::DropOldest => "ASC",
            DeadLettersFull::DropNewest => "DESC",
        };
        let first = store
            .prepare_cached(&format!(
                "SELECT number, {LETTER_SIZE} FROM dead_letters ORDER BY number {order} LIMIT 1"
            ))?
            .query_row([], |row| Ok((row.get(0)?, row.get::<_, u64>(1)?)))
            .optional()?;
        // There should be a row; a store with damaged pages may lack it.
        let (number, size) = first.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        delete(store, number)?;
        // A record that was damaged later may claim a larger size.
        let size = size.min(self.kept.bytes);
        self.kept.rows -= 1;
        self.kept.bytes -= size;
        self.dropped += 1;
        Ok(size)
    }
}

impl Drop for Burying {
    fn drop(&mut self) {
        if !self.is_committed {
            self.state.give_letters(self.taken);
        }
    }
}

fn delete(store: &Connection, number: i64) -> rusqlite::Result<()> {
    store
        .prepare_cached("DELETE FROM dead_letters WHERE number = ?")?
        .execute([number])
        .map(drop)
}
