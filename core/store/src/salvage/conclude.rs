//! The end of a copy: damaged rows, and the count of lost ones.
#![allow(clippy::wildcard_imports)] // It is a part of its parent.

use std::collections::HashSet;

use super::super::pack::Piece;
use super::super::queue::FIRST;
use super::copying::Numbers;
use super::*;

impl Copying<'_> {
    /// The range of the events' positions, which no damaged row may change.
    fn range(&self, numbers: &Numbers) -> (i64, i64) {
        let positions = numbers.counts.and_then(|counts| counts.positions);
        let firsts = positions.map(|(first, _)| first).into_iter();
        let last = match numbers.known {
            Some(known) => known.last_seq.cast_signed(),
            None => (self.read.last.unwrap_or_default()).max(positions.map_or(0, |(_, last)| last)),
        };
        let first = firsts.chain(self.read.first).min();
        (first.unwrap_or(last + 1).max(1), last)
    }

    /// Copies rows with damaged records, unless another row has their position. The remains of damaged events go to
    /// the dead letters.
    pub(super) fn damaged_rows(&mut self, numbers: &Numbers, from: i64) -> Result<(), Fault> {
        let (first, last) = self.range(numbers);
        let (mut seen, mut seen_dead) = (HashSet::new(), HashSet::new());
        let mut astray = Vec::new();
        for (source, key) in std::mem::take(&mut self.read.damaged) {
            let is_current = matches!(source, Source::Page(page) if self.image.is_current(page));
            // If no record is missing, one from an old image was settled, and its overflow pages belong to another.
            let is_old = !is_current && numbers.queued().is_some_and(|all| self.read.queued >= all);
            if is_old || !seen.insert((source, key)) {
                continue;
            }
            let is_in_range = (first..=last).contains(&key);
            let mut is_there = false;
            self.damaged_row(source, key, |this, row| {
                is_there = is_in_range && this.insert.insert(row, Some(key), false)?;
                this.read.queued += i64::from(is_there);
                Ok(())
            })?;
            if !is_there {
                astray.push((source, key, is_in_range));
            }
        }
        self.stray_frames(numbers, first.max(from)..=last)?;
        let mut positions = Positions {
            first,
            last,
            next: first,
            is_bounded: numbers.known.is_some(),
        };
        for (source, key, is_in_range) in astray {
            // A record whose place is taken may be outdated, so it counts only if a record is missing.
            let is_expected = match numbers.queued() {
                Some(queued) => self.read.queued < queued,
                None => !is_in_range,
            };
            if !is_expected {
                continue;
            }
            self.damaged_row(source, key, |this, row| {
                if let Some(position) = positions.free(this.insert.store)?
                    && this.insert.insert(row, Some(position), false)?
                {
                    this.read.queued += 1;
                }
                Ok(())
            })?;
        }
        for (source, key) in std::mem::take(&mut self.read.dead_damaged) {
            if !seen_dead.insert((source, key)) {
                continue;
            }
            self.rows(source, None, |this, row| {
                if row.key == key && row.width() == DEAD_WIDTH {
                    this.bury(&row)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Copies the damaged events of packs, unless none is missing: from elsewhere in the page, if it has another copy, or
    /// what is left of them as damaged rows.
    pub(super) fn damaged_packs(&mut self, numbers: &Numbers) -> Result<(), Fault> {
        let (first, last) = self.range(numbers);
        let mut seen = HashSet::new();
        for (source, key) in std::mem::take(&mut self.read.damaged_packs) {
            if !seen.insert((source, key)) {
                continue;
            }
            let page = self.page(source)?.unwrap_or_default();
            self.rows_of(&page, None, |this, row| {
                if row.key != key || row.width() != pack::WIDTH {
                    return Ok(());
                }
                let frames = record::bytes(row.get(pack::WIDTH - 1));
                let entries = damaged_entries(&row, &frames);
                let mut entries = entries
                    .into_iter()
                    .filter(|(seq, _)| (first..=last).contains(seq))
                    .peekable();
                if let Some((from, _)) = entries.peek() {
                    let to = from.saturating_add(pack::MOST_EVENTS.into());
                    this.whole_frames(&page, *from..=to, numbers.queued())?;
                }
                for (seq, remains) in entries {
                    let is_missing = (numbers.queued()).is_none_or(|all| this.read.queued < all);
                    if is_missing && this.insert.remains(seq, remains)? {
                        this.read.queued += 1;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Passes on the first damaged row of the queue with this key in a page.
    fn damaged_row(
        &mut self,
        source: Source,
        key: i64,
        mut see: impl FnMut(&mut Self, &Row) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut is_first = true;
        self.rows(source, None, |this, row| {
            let is_it = row.key == key && row.width() == QUEUE_WIDTH && !is_whole(&row);
            if is_it && std::mem::take(&mut is_first) {
                see(this, &row)?;
            }
            Ok(())
        })
    }

    /// Finds out what is lost, and writes the counts of the copy.
    pub(super) fn conclude(&mut self, numbers: &Numbers) -> Result<(), Fault> {
        let (first, last) = self.range(numbers);
        let bad_frames = self.image.log.bad_frames();
        let read = &mut self.read;
        // The damaged pages can have held at most this many rows.
        let destroyed = i64::try_from(bad_frames + read.destroyed).unwrap_or(i64::MAX);
        let most = destroyed.saturating_mul(SOME_EVENTS);
        read.lost = if let Some(queued) = numbers.queued() {
            queued - read.queued
        } else {
            // The number is older than the damage, or gone: every missing position may be an event. If none is
            // missing, there may still be lost events without a trace.
            let missing = last.saturating_sub(first).saturating_add(1) - read.queued;
            let expected = numbers.counts.map_or(0, |counts| counts.queued);
            let unknown = bad_frames > 0 || read.destroyed > 1;
            (missing.min(most))
                .max(expected - read.queued)
                .max(i64::from(unknown))
        };
        read.lost = read.lost.max(0);
        let said = read.counts.map(|(_, counts)| counts);
        read.dead_lost = if let Some(known) = numbers.known {
            known.dead - read.dead
        } else {
            let dead = said.map_or(0, |counts| counts.dead);
            // Every dead letter has a number.
            match read.last_dead {
                Some(last) if dead > last => most.min(last - read.dead),
                _ => dead - read.dead,
            }
        };
        read.dead_lost = read.dead_lost.max(0);
        let harm = match (said.map(|counts| counts.harm), read.harm) {
            (Some(one), Some(other)) => believable(one, other, last - read.queued),
            (one, other) => one.or(other).unwrap_or_default(),
        };
        let mut harm = Harm {
            dead_letters_lost: harm.dead_letters_lost.saturating_add(read.dead_lost),
            ..harm
        };
        let mut queued = read.queued;
        if numbers.known.is_some() {
            queued += read.lost;
        } else {
            harm.lost = harm.lost.saturating_add(read.lost);
        }
        let store = self.insert.store;
        // Missing events keep their positions.
        store.execute(
            &format!(
                "UPDATE counts SET queued = ?1, dead = ?2, \
                 first_seq = min(?3, coalesce({FIRST}, ?3)), \
                 last_seq = max(?4, coalesce((SELECT max(seq) FROM queue), ?4))"
            ),
            [queued, read.dead, first, last],
        )?;
        schema::add_harm(store, harm)?;
        Ok(())
    }
}

/// What is left of the damaged events in a pack, and their positions: those that its head names, or else those between
/// whole events.
fn damaged_entries<'a>(row: &Row, frames: &'a [u8]) -> Vec<(i64, &'a [u8])> {
    let entries = head_of(row).and_then(|head| Some((head.first, head.entries(frames)?)));
    if let Some((first, entries)) = entries {
        let entries = entries.into_iter().zip(first.cast_signed()..);
        return entries
            .filter_map(|(entry, seq)| Some((seq, entry.err()?)))
            .collect();
    }
    let mut damaged = Vec::new();
    let (mut next, mut left): (u64, &[u8]) = (row.key.cast_unsigned(), &[]);
    for piece in pack::pieces(frames, 1..=i64::MAX.cast_unsigned()) {
        match piece {
            Piece::Remains(remains) => left = remains,
            Piece::Event(seq, _) => {
                // Otherwise the key is damaged, too.
                if seq.saturating_sub(next) <= pack::MOST_EVENTS.into() {
                    damaged.extend(
                        (next..seq).map(|seq| (seq.cast_signed(), std::mem::take(&mut left))),
                    );
                }
                (next, left) = (seq.saturating_add(1), &[]);
            }
        }
    }
    damaged
}

/// Positions for damaged rows whose own position is damaged too.
struct Positions {
    first: i64,
    last: i64,
    /// All positions before it are taken.
    next: i64,
    /// There is none after the last one.
    is_bounded: bool,
}

impl Positions {
    /// The next position that no other row has: a missing one if possible, otherwise one after the others.
    fn free(&mut self, store: &Connection) -> rusqlite::Result<Option<i64>> {
        let mut exists = store.prepare_cached("SELECT 1 FROM queue WHERE seq = ?")?;
        let mut behind = store.prepare_cached(
            "SELECT min(seq) + 1 FROM queue AS taken WHERE seq >= ?1 AND seq < ?2 \
             AND NOT EXISTS (SELECT 1 FROM queue WHERE seq = taken.seq + 1)",
        )?;
        if self.next <= self.last {
            let free = if exists.exists([self.next])? {
                behind.query_row([self.next, self.last], |row| row.get::<_, Option<i64>>(0))?
            } else {
                Some(self.next)
            };
            self.next = free.map_or(self.last, |free| free) + 1;
            if free.is_some() {
                return Ok(free);
            }
        }
        if self.first > 1 {
            self.first -= 1;
            return Ok(Some(self.first));
        }
        if self.is_bounded {
            return Ok(None);
        }
        self.last += 1;
        self.next = self.last + 1;
        Ok(Some(self.last))
    }
}
