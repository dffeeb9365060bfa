//! The copy of a damaged store: row by row, from the images of its pages.
#![allow(clippy::wildcard_imports)] // It is a part of its parent.

use super::*;

/// The statements that write the copy.
pub(super) struct Inserts<'a> {
    store: &'a Connection,
    queued: CachedStatement<'a>,
    dead: CachedStatement<'a>,
}

impl<'a> Inserts<'a> {
    pub(super) fn new(store: &'a Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            store,
            queued: store.prepare_cached(&format!(
                "INSERT OR IGNORE INTO queue (seq, attempts, {COLUMNS}) VALUES (?, ?, {PARAMETERS})"
            ))?,
            dead: store.prepare_cached(&format!(
                "INSERT OR IGNORE INTO dead_letters \
                 (number, error, attempts, first_attempt, last_attempt, {COLUMNS}) \
                 VALUES (?, ?, ?, ?, ?, {PARAMETERS})"
            ))?,
        })
    }

    /// Writes a row of the queue, or of the dead letters; says whether it was not there.
    fn insert(&mut self, row: &Row, is_dead: bool) -> rusqlite::Result<bool> {
        let statement = if is_dead {
            &mut self.dead
        } else {
            &mut self.queued
        };
        statement.raw_bind_parameter(1, row.key)?;
        // Attempts and times of attempts; before them, the error of a dead letter.
        let own = row.width() - COLUMNS.split(',').count();
        for column in 1..row.width() {
            let value = row.get(column);
            let parameter = column + 1;
            let kind = match column.checked_sub(own) {
                None if is_dead && column == 1 => Type::Text,
                None | Some(1 | 6) => Type::Number,
                Some(0 | 5) => Type::Bytes,
                Some(4) if value == ValueRef::Null => continue,
                Some(_) => Type::Text,
            };
            match kind {
                // The type of a value may be what is damaged, and the table takes no other.
                Type::Number => statement.raw_bind_parameter(parameter, record::number(value))?,
                Type::Text => statement.raw_bind_parameter(parameter, record::text(value))?,
                Type::Bytes => statement.raw_bind_parameter(parameter, record::bytes(value))?,
            }
        }
        let inserted = statement.raw_execute()?;
        statement.clear_bindings();
        Ok(inserted > 0)
    }
}

enum Type {
    Number,
    Text,
    Bytes,
}

pub(super) struct Copying<'a> {
    pub(super) image: &'a Image,
    pub(super) insert: Inserts<'a>,
    pub(super) read: Read,
    /// Of the store, and of the host.
    pub(super) closing: [&'a Closing; 2],
}

impl Copying<'_> {
    pub(super) fn all(mut self, known: Option<Known>) -> Result<Read, Fault> {
        // First what says how many there should be.
        self.pages(|this, number, row| {
            this.count(number, &row);
            Ok(())
        })?;
        let counts = self.read.counts.map(|(_, counts)| counts);
        let is_sure = self
            .read
            .counts
            .is_some_and(|(page, _)| self.image.is_current(page));
        // What comes before was settled.
        let from = counts
            .and_then(|counts| counts.places)
            .filter(|_| is_sure)
            .map_or(i64::MIN, |(first, _)| first);
        self.pages(|this, number, row| this.take(number, &row, from))?;
        self.spare_images(from)?;
        self.damaged_rows()?;
        self.conclude(known, counts, is_sure)?;
        Ok(self.read)
    }

    /// Gives every row in the latest images of all pages, with its page's number.
    fn pages(
        &mut self,
        mut see: impl FnMut(&mut Self, u32, Row) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.read.destroyed = 0;
        for number in 2..=self.image.pages {
            self.check_closing(number)?;
            let Some(page) = self.image.page(number)? else {
                continue;
            };
            match self.image.kind(number, &page)? {
                Kind::Other => {}
                Kind::Destroyed => self.read.destroyed += 1,
                Kind::Leaf => self.rows(&page, |this, row| see(this, number, row))?,
            }
        }
        Ok(())
    }

    fn rows(
        &mut self,
        page: &[u8],
        mut see: impl FnMut(&mut Self, Row) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let image = self.image;
        let longest = image.pages as usize * PAGE;
        carve::rows(page, longest, &|number| image.page(number), |row| {
            see(self, row)
        })
    }

    fn check_closing(&self, number: u32) -> Result<(), Fault> {
        let asked = || {
            self.closing
                .into_iter()
                .filter_map(|closing| closing.get())
                .min()
        };
        if number.is_multiple_of(64) && asked().is_some_and(|asked| asked.elapsed() > CLOSING) {
            return Err(Fault::Closing);
        }
        Ok(())
    }

    fn count(&mut self, number: u32, row: &Row) {
        match row.width() {
            width if COUNTS_WIDTHS.contains(&width) && row.key == 1 => {
                if let Some(counts) = Counts::new(row) {
                    self.read.harm = most(self.read.harm, counts.harm);
                    self.read.counts = Some((number, counts));
                }
            }
            width if HARM_WIDTHS.contains(&width) && row.key == 1 => {
                if let Some(harm) = row.numbers().as_deref().and_then(harm_of) {
                    self.read.harm = most(self.read.harm, harm);
                }
            }
            _ => {}
        }
    }

    /// Copies a row that is whole, and remembers one that is not.
    fn take(&mut self, number: u32, row: &Row, from: i64) -> Result<(), Fault> {
        match row.width() {
            QUEUE_WIDTH if row.key >= from.max(0) => {
                if is_whole(row) {
                    self.queue(row)?;
                } else {
                    self.read.damaged.push((number, row.key));
                }
            }
            // The remains of damaged events are among them.
            DEAD_WIDTH if row.key > 0 => {
                self.read.dead += i64::from(self.insert.insert(row, true)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn queue(&mut self, row: &Row) -> Result<(), Fault> {
        if self.insert.insert(row, false)? {
            let read = &mut self.read;
            read.queued += 1;
            read.first = Some(read.first.map_or(row.key, |first| first.min(row.key)));
            read.last = Some(read.last.map_or(row.key, |last| last.max(row.key)));
        }
        Ok(())
    }

    /// Copies the rows that are whole from images that are no page's latest for sure: of damaged frames
    /// of the log, and of pages whose later image may be a damaged one.
    fn spare_images(&mut self, from: i64) -> Result<(), Fault> {
        if self.image.log.bad_frames() == 0 {
            return Ok(());
        }
        let take = |this: &mut Self, row: Row| {
            if row.width() == QUEUE_WIDTH && row.key >= from.max(0) && is_whole(&row) {
                this.queue(&row)?;
            }
            Ok(())
        };
        let frames: Vec<usize> = self.image.log.damaged().collect();
        for frame in frames {
            let page = self.image.log.page(frame)?;
            self.rows(&page, take)?;
        }
        for number in 2..=self.image.pages {
            self.check_closing(number)?;
            if !self.image.is_in_log(number) || self.image.is_current(number) {
                continue;
            }
            if let Some(page) = self.image.in_file(number)?
                && self.image.kind(number, &page)? == Kind::Leaf
            {
                self.rows(&page, take)?;
            }
        }
        Ok(())
    }

    /// Copies rows whose records are damaged, where there is no other of their place.
    fn damaged_rows(&mut self) -> Result<(), Fault> {
        let damaged = std::mem::take(&mut self.read.damaged);
        for (number, key) in damaged {
            let Some(page) = self.image.page(number)? else {
                continue;
            };
            self.rows(&page, |this, row| {
                if row.key == key && row.width() == QUEUE_WIDTH && !is_whole(&row) {
                    this.queue(&row)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Finds out what is lost, and writes the numbers of the copy.
    fn conclude(
        &mut self,
        known: Option<Known>,
        counts: Option<Counts>,
        is_sure: bool,
    ) -> Result<(), Fault> {
        let bad_frames = self.image.log.bad_frames();
        let read = &mut self.read;
        let places = counts.and_then(|counts| counts.places);
        let mut last = read.last.unwrap_or_default();
        last = last.max(places.map_or(0, |(_, last)| last));
        if let Some(known) = known {
            last = last.max(known.last_seq.cast_signed());
        }
        read.lost = match (known, counts) {
            (Some(known), _) => known.queued - read.queued,
            (None, Some(counts)) if is_sure => counts.queued - read.queued,
            (None, counts) => {
                // The number is of before the damage, or gone: places that are missing in between
                // may all be events. Where none is, something else may be that nothing tells of.
                let first = places.map(|(first, _)| first).or(read.first);
                let missing = first.map_or(0, |first| last - first + 1 - read.queued);
                let expected = counts.map_or(0, |counts| counts.queued);
                let unknown = bad_frames > 0 || read.destroyed > 1;
                missing.max(expected - read.queued).max(i64::from(unknown))
            }
        };
        read.lost = read.lost.max(0);
        let dead = known.map(|known| known.dead);
        let dead = dead.or(counts.map(|counts| counts.dead));
        read.dead_lost = (dead.unwrap_or_default() - read.dead).max(0);
        let mut harm = Harm {
            dead_letters_lost: read.harm.dead_letters_lost + read.dead_lost,
            ..read.harm
        };
        let mut queued = read.queued;
        if known.is_some() {
            queued += read.lost;
        } else {
            harm.lost += read.lost;
        }
        let store = self.insert.store;
        store.execute(
            "UPDATE counts SET queued = ?, dead = ?, first_seq = ?, last_seq = ?",
            [queued, read.dead, read.first.unwrap_or(last + 1), last],
        )?;
        schema::add_harm(store, harm)?;
        Ok(())
    }
}
