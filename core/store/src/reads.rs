//! Reads back a store's queue, including damaged records.

use std::sync::Arc;

use super::Stored;
use super::journal::{Append, Loaded, RECORD_BYTES, ReadRequest, Shared};
use super::place;
use super::queue::{self, Stop};
use super::record::{self, COLUMNS, RowFault};
use super::schema::{self, Harm};
use super::writer::{Writer, is_damage};
use evbus_event::now_unix_ns;

impl Writer {
    /// Answers a read from the disk and from pending work.
    pub(super) fn answer(&mut self, shared: &Shared, request: ReadRequest) {
        let mut loaded = Loaded::default();
        let mut bytes = 0_usize;
        let read = loop {
            if self.ahead.serve(&request, &mut loaded, &mut bytes) {
                break false;
            }
            if self.astray && !place::is_on_disk(&self.store) {
                // The file must be written again first; until then, an empty store without tables stands in for it.
                break false;
            }
            if self.mend().is_err() {
                break false;
            }
            match self.read(shared, &request, &mut loaded, &mut bytes) {
                Err(RowFault::Damaged) => {}
                Err(RowFault::Unreadable(error)) if is_damage(&error) => {
                    // Records that were buried before this stay buried.
                    loaded.events.clear();
                    bytes = 0;
                    if self.replace(&error.to_string()).is_err() {
                        break false;
                    }
                }
                Err(RowFault::Unreadable(error)) => {
                    tracing::error!("store {:?}: {error}", self.path);
                    break false;
                }
                Ok(whole) => break whole,
            }
        };
        let from = loaded
            .events
            .last()
            .map_or(request.from, |stored| stored.seq + 1);
        let mut whole = read;
        if whole {
            let mut held: Vec<&Append> = self
                .held
                .appends
                .iter()
                .filter(|append| append.seq >= from)
                .collect();
            held.sort_unstable_by_key(|append| append.seq);
            for append in held {
                bytes += append.event.size();
                if !request.has_room(&loaded, bytes) {
                    whole = false;
                    break;
                }
                loaded.events.push(Stored {
                    seq: append.seq,
                    attempts: append.attempts,
                    event: Arc::clone(&append.event),
                });
            }
        }
        if whole {
            loaded.complete_to = Some(self.last_seq);
        }
        self.ahead.follow(&request, &loaded);
        // If the lane is gone, its events stay in the store.
        let _ = request.reply.send(loaded);
    }

    /// Reads on from the end of `loaded`. Returns whether nothing follows.
    fn read(
        &mut self,
        shared: &Shared,
        request: &ReadRequest,
        loaded: &mut Loaded,
        bytes: &mut usize,
    ) -> Result<bool, RowFault> {
        let from = loaded
            .events
            .last()
            .map_or(request.from, |stored| stored.seq + 1);
        let read = queue::each(&self.store, from, |stored| {
            *bytes = bytes.saturating_add(stored.event.size());
            let fits = request.has_room(loaded, *bytes);
            if fits {
                loaded.events.push(stored);
            }
            fits
        });
        match read {
            Ok(whole) => Ok(whole),
            Err(Stop::Unreadable(error)) => Err(error.into()),
            Err(Stop::Damaged(seq)) => {
                let freed = self.bury_damaged(seq.cast_signed())?;
                shared.subtract(1, freed);
                loaded.damaged += 1;
                Err(RowFault::Damaged)
            }
        }
    }

    /// Turns a damaged record into a dead letter, with as much as remains of it, for inspection. Returns its size in
    /// the queue.
    fn bury_damaged(&mut self, seq: i64) -> rusqlite::Result<u64> {
        tracing::error!(
            "store {:?}: record {seq} is damaged; moved to the dead letters",
            self.path
        );
        let now = now_unix_ns().cast_signed();
        let before = self.dead.rows;
        let mut burying = self.burying();
        let mut freed = 0;
        let transaction = self.store.transaction()?;
        queue::unpack_around(&transaction, seq.cast_unsigned())?;
        {
            let mut select =
                transaction.prepare(&format!("SELECT {COLUMNS} FROM queue WHERE seq = ?"))?;
            let mut rows = select.query([seq])?;
            if let Some(row) = rows.next()? {
                if record::read(row, 0, seq.cast_unsigned()).is_ok() {
                    // The record at this key is whole, so the damaged one has a wrong key: the tree is damaged.
                    return Err(rusqlite::Error::QueryReturnedNoRows);
                }
                let profile = record::text(row.get_ref(2)?).chars().count();
                freed = (record::bytes(row.get_ref(5)?).len() + profile) as u64 + RECORD_BYTES;
                burying.bury(&transaction, |insert| {
                    insert.raw_bind_parameter(1, RowFault::Damaged.to_string())?;
                    insert.raw_bind_parameter(2, 0)?;
                    insert.raw_bind_parameter(3, now)?;
                    insert.raw_bind_parameter(4, now)?;
                    // The type of a value may be damaged, and the table accepts only the right one.
                    insert.raw_bind_parameter(5, record::bytes(row.get_ref(0)?))?;
                    insert.raw_bind_parameter(6, record::number(row.get_ref(1)?))?;
                    insert.raw_bind_parameter(7, record::text(row.get_ref(2)?))?;
                    insert.raw_bind_parameter(8, record::text(row.get_ref(3)?))?;
                    insert.raw_bind_parameter(9, record::text(row.get_ref(4)?))?;
                    insert.raw_bind_parameter(10, record::bytes(row.get_ref(5)?))?;
                    insert.raw_bind_parameter(11, record::number(row.get_ref(6)?))
                })?;
            }
        }
        if transaction.execute("DELETE FROM queue WHERE seq = ?", [seq])? == 0 {
            // The record was found by a scan but not by its key: the tree is damaged.
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
        let more = burying.kept.rows - before;
        transaction.execute(
            "UPDATE counts SET queued = queued - 1, dead = dead + ?",
            [more],
        )?;
        burying.conclude(&transaction)?;
        let one = Harm {
            damaged: 1,
            ..Harm::default()
        };
        schema::add_harm(&transaction, one)?;
        transaction.commit()?;
        self.queued -= 1;
        self.buried(burying);
        Ok(freed)
    }
}
