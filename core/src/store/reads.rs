//! Reading back what is in a store's queue, damaged records and all.

use std::sync::Arc;

use rusqlite::params;

use super::Stored;
use super::journal::{Append, Loaded, ReadRequest};
use super::record::{self, COLUMNS, RowFault};
use super::writer::{Writer, is_damage};
use crate::event::now_unix_ns;

impl Writer {
    /// Answers a read from the disk and from what is not on it yet.
    pub(super) fn answer(&mut self, request: ReadRequest) {
        let mut loaded = Loaded::default();
        let mut bytes = 0_usize;
        let read = loop {
            match self.read(&request, &mut loaded, &mut bytes) {
                Err(RowFault::Damaged) => {}
                Err(RowFault::Unreadable(error)) if is_damage(&error) => {
                    let Some(lost) = self.replace(&error.to_string()) else {
                        break false;
                    };
                    loaded = Loaded {
                        lost: loaded.lost + lost,
                        ..Loaded::default()
                    };
                    bytes = 0;
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
                let full = loaded.events.len() >= request.max_events || bytes > request.max_bytes;
                if full && !loaded.events.is_empty() {
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
        // The lane may be gone; its events stay here.
        let _ = request.reply.send(loaded);
    }

    /// Reads on from where `loaded` ends. Returns whether there is nothing beyond.
    fn read(
        &mut self,
        request: &ReadRequest,
        loaded: &mut Loaded,
        bytes: &mut usize,
    ) -> Result<bool, RowFault> {
        let from = loaded
            .events
            .last()
            .map_or(request.from, |stored| stored.seq + 1);
        let damaged = {
            let mut select = self.store.prepare_cached(&format!(
                "SELECT seq, attempts, {COLUMNS} FROM queue WHERE seq >= ? ORDER BY seq"
            ))?;
            let mut rows = select.query([from.cast_signed()])?;
            loop {
                let Some(row) = rows.next()? else {
                    return Ok(true);
                };
                let seq: i64 = row.get(0)?;
                let event = match record::read(row, 2, seq.cast_unsigned()) {
                    Ok(event) => event,
                    Err(RowFault::Damaged) => break seq,
                    Err(fault) => return Err(fault),
                };
                *bytes = bytes.saturating_add(event.size());
                let full = loaded.events.len() >= request.max_events || *bytes > request.max_bytes;
                if full && !loaded.events.is_empty() {
                    return Ok(false);
                }
                loaded.events.push(Stored {
                    seq: seq.cast_unsigned(),
                    attempts: row.get(1).unwrap_or_default(),
                    event: Arc::new(event),
                });
            }
        };
        self.bury_damaged(damaged)?;
        loaded.damaged += 1;
        Err(RowFault::Damaged)
    }

    /// A record that is damaged becomes a dead letter as it is, for somebody to look at.
    fn bury_damaged(&mut self, seq: i64) -> rusqlite::Result<()> {
        tracing::error!(
            "store {:?}: the record at place {seq} is damaged; it is among the dead letters now",
            self.path
        );
        let now = now_unix_ns().cast_signed();
        let transaction = self.store.transaction()?;
        transaction.execute(
            &format!(
                "INSERT INTO dead_letters (error, attempts, first_attempt, last_attempt, {COLUMNS}) \
                 SELECT ?, attempts, ?, ?, {COLUMNS} FROM queue WHERE seq = ?"
            ),
            params![RowFault::Damaged.to_string(), now, now, seq],
        )?;
        transaction.execute("DELETE FROM queue WHERE seq = ?", [seq])?;
        transaction.execute("UPDATE counts SET queued = queued - 1, dead = dead + 1", [])?;
        transaction.commit()?;
        self.queued -= 1;
        self.dead += 1;
        Ok(())
    }
}
