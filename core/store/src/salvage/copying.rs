//! The copy of a damaged store: row by row, from the images of its pages.
#![allow(clippy::wildcard_imports)] // It is a part of its parent.

use std::ops::RangeInclusive;

use rusqlite::Statement;

use super::super::pack::Piece;
use super::super::record::Parts;
use super::*;

/// The statements that write the copy.
pub(super) struct Inserts<'a> {
    pub(super) store: &'a Connection,
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

    /// Writes an event of a pack as a row of its own; returns whether it was new.
    pub(super) fn unpacked(&mut self, seq: i64, parts: &Parts<'_>) -> rusqlite::Result<bool> {
        self.single(seq, |row| parts.bind(row, 3, seq.cast_unsigned()))
    }

    /// Writes what is left of an event of a pack, as a damaged row; returns whether it was new.
    pub(super) fn remains(&mut self, seq: i64, remains: &[u8]) -> rusqlite::Result<bool> {
        self.single(seq, |row| {
            pack::what_is_left(remains).bind_damaged(row, 3, seq.cast_unsigned())
        })
    }

    fn single(
        &mut self,
        seq: i64,
        bind: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<bool> {
        self.queued.raw_bind_parameter(1, seq)?;
        self.queued.raw_bind_parameter(2, 0)?;
        bind(&mut self.queued)?;
        let inserted = self.queued.raw_execute()?;
        self.queued.clear_bindings();
        Ok(inserted > 0)
    }

    /// Writes a row of the queue or of the dead letters under this key, or under the next number that no dead letter
    /// had; returns whether it was new.
    pub(super) fn insert(
        &mut self,
        row: &Row,
        key: Option<i64>,
        is_dead: bool,
    ) -> rusqlite::Result<bool> {
        let statement = if is_dead {
            &mut self.dead
        } else {
            &mut self.queued
        };
        statement.raw_bind_parameter(1, key)?;
        // The columns before the common ones: attempts and times, or the error of a dead letter.
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
                // The type of a value may be damaged, and the table accepts only the right one.
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

/// The sources for the expected number of events.
pub(super) struct Numbers {
    /// What the writer knew.
    pub(super) known: Option<Known>,
    /// The store's own counts, if they are plausible.
    pub(super) counts: Option<Counts>,
    /// Whether these are of the last commit.
    pub(super) is_sure: bool,
}

impl Numbers {
    /// How many events there should be, if known.
    pub(super) fn queued(&self) -> Option<i64> {
        let counted = self.counts.filter(|_| self.is_sure);
        (self.known.map(|known| known.queued)).or(counted.map(|counts| counts.queued))
    }
}

pub(super) struct Copying<'a> {
    pub(super) image: &'a Image,
    pub(super) insert: Inserts<'a>,
    pub(super) read: Read,
    /// The closing signals of the store and of the host.
    pub(super) closing: [&'a Closing; 2],
}

impl Copying<'_> {
    pub(super) fn all(mut self, known: Option<Known>) -> Result<Read, Fault> {
        // The first pass finds out how many rows there should be.
        self.pages(|this, source, row| {
            this.count(source, &row);
            Ok(())
        })?;
        for (frame, _) in self.unplaced() {
            self.rows(Source::Frame(frame), None, |this, row| {
                this.count(Source::Frame(frame), &row);
                Ok(())
            })?;
        }
        let counts = self.read.counts.map(|(_, counts)| counts);
        let log = &self.image.log;
        let is_sure = (self.read.counts).is_some_and(|(frame, _)| {
            log.is_sound_behind(frame) && frame.is_none_or(|frame| log.is_well(frame))
        });
        // Earlier positions were settled, if the image may be outdated.
        let from = counts
            .and_then(|counts| counts.positions)
            .filter(|_| is_sure)
            .map_or(0, |(first, _)| first);
        self.pages(|this, source, row| {
            let is_current = matches!(source, Source::Page(page) if this.image.is_current(page));
            this.take(source, &row, if is_current { 0 } else { from })
        })?;
        self.spare_images(from)?;
        self.with_guesses()?;
        let last = self.read.last.unwrap_or_default();
        let numbers = Numbers {
            known,
            counts: counts.filter(|counts| counts.are_believable(if is_sure { last } else { 0 })),
            is_sure,
        };
        self.damaged_packs(&numbers)?;
        self.damaged_rows(&numbers, from)?;
        self.conclude(&numbers)?;
        Ok(self.read)
    }

    /// Passes on every row in the latest images of all pages, and where it was read.
    fn pages(
        &mut self,
        mut see: impl FnMut(&mut Self, Source, Row) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.read.destroyed = 0;
        for number in 2..=self.image.pages {
            self.check_closing(number)?;
            let Some(page) = self.image.page(number)? else {
                continue;
            };
            let source = Source::Page(number);
            match self.image.kind(number, &page)? {
                Kind::Other => {}
                Kind::Destroyed => self.read.destroyed += 1,
                Kind::Leaf => self.rows_of(&page, None, |this, row| see(this, source, row))?,
            }
        }
        Ok(())
    }

    pub(super) fn page(&self, source: Source) -> io::Result<Option<Vec<u8>>> {
        match source {
            Source::Page(number) => self.image.page(number),
            Source::Frame(frame) => self.image.log.page(frame).map(Some),
        }
    }

    /// Passes on the rows in one page.
    pub(super) fn rows(
        &mut self,
        source: Source,
        guess: Guess,
        see: impl FnMut(&mut Self, Row) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let page = self.page(source)?;
        page.map_or(Ok(()), |page| self.rows_of(&page, guess, see))
    }

    pub(super) fn rows_of(
        &mut self,
        page: &[u8],
        guess: Guess,
        mut see: impl FnMut(&mut Self, Row) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let image = self.image;
        let longest = image.pages as usize * PAGE;
        let overflow = |number| match guess {
            Some((page, frame)) if page == number => image.log.page(frame).map(Some),
            _ => image.page(number),
        };
        carve::rows(page, longest, &overflow, |row| see(self, row))
    }

    /// The frames of the log whose page is unknown, and the pages that each may belong to.
    fn unplaced(&self) -> Vec<(usize, Vec<u32>)> {
        self.image.log.unplaced().collect()
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

    /// Reads the expected counts: the latest, whatever page they are in.
    fn count(&mut self, source: Source, row: &Row) {
        let frame = match source {
            Source::Page(number) => self.image.frame(number),
            Source::Frame(frame) => Some(frame),
        };
        match row.width() {
            2 if row.get(0) == ValueRef::Text(b"dead_letters") => {
                let is_current =
                    matches!(source, Source::Page(page) if self.image.is_current(page));
                if let ValueRef::Integer(last) = row.get(1)
                    && is_current
                {
                    self.read.last_dead = Some(last);
                }
            }
            width if COUNTS_WIDTHS.contains(&width) && row.key == 1 => {
                if let Some(counts) = Counts::new(row)
                    && self.read.counts.is_none_or(|(before, _)| before <= frame)
                {
                    self.read.counts = Some((frame, counts));
                }
            }
            width if HARM_WIDTHS.contains(&width) && row.key == 1 => {
                if let Some(harm) = row.numbers().as_deref().and_then(harm_of) {
                    self.read.harm = Some(harm);
                }
            }
            _ => {}
        }
    }

    /// Copies a whole row, and records a damaged one.
    fn take(&mut self, source: Source, row: &Row, from: i64) -> Result<(), Fault> {
        match row.width() {
            QUEUE_WIDTH if is_whole(row) && row.key < from => {}
            QUEUE_WIDTH if is_whole(row) => self.queue(row)?,
            // In a damaged record, the key may be damaged too.
            QUEUE_WIDTH if row.key >= from || from == 0 => {
                self.read.damaged.push((source, row.key));
            }
            pack::WIDTH => self.pack(source, row, from)?,
            DEAD_WIDTH if self.is_numbered(row) && is_whole(row) => self.bury(row)?,
            DEAD_WIDTH => self.read.dead_damaged.push((source, row.key)),
            _ => {}
        }
        Ok(())
    }

    /// Copies the whole events of a pack, and records whether any is damaged.
    fn pack(&mut self, source: Source, row: &Row, from: i64) -> Result<(), Fault> {
        let frames = record::bytes(row.get(pack::WIDTH - 1));
        let head = head_of(row);
        let mut is_whole = head.is_some();
        let positions = head.map_or(1..=i64::MAX.cast_unsigned(), |head| {
            head.first..=head.end() - 1
        });
        for piece in pack::pieces(&frames, positions) {
            match piece {
                Piece::Event(seq, parts) if seq.cast_signed() >= from => {
                    if self.insert.unpacked(seq.cast_signed(), &parts)? {
                        self.copied(seq.cast_signed());
                    }
                }
                Piece::Event(..) => {}
                Piece::Remains(_) => is_whole = false,
            }
        }
        is_whole &= head.is_some_and(|head| head.entries(&frames).is_some());
        if !is_whole {
            self.read.damaged_packs.push((source, row.key));
        }
        Ok(())
    }

    pub(super) fn queue(&mut self, row: &Row) -> Result<(), Fault> {
        if self.insert.insert(row, Some(row.key), false)? {
            self.copied(row.key);
        }
        Ok(())
    }

    /// Counts a whole event of the queue.
    fn copied(&mut self, seq: i64) {
        let read = &mut self.read;
        read.queued += 1;
        read.first = Some(read.first.map_or(seq, |first| first.min(seq)));
        read.last = Some(read.last.map_or(seq, |last| last.max(seq)));
    }

    pub(super) fn bury(&mut self, row: &Row) -> Result<(), Fault> {
        let number = self.is_numbered(row).then_some(row.key);
        self.read.dead += i64::from(self.insert.insert(row, number, true)?);
        Ok(())
    }

    /// Whether the number of a dead letter was given to one.
    fn is_numbered(&self, row: &Row) -> bool {
        row.key > 0 && self.read.last_dead.is_none_or(|last| row.key <= last)
    }

    /// Copies whole rows from images that may not be their page's latest: from damaged frames of the log, from frames
    /// whose page is unknown, and from pages that may have a later image among those.
    fn spare_images(&mut self, from: i64) -> Result<(), Fault> {
        let unplaced = self.unplaced();
        if self.image.log.bad_frames() == 0 && unplaced.is_empty() {
            return Ok(());
        }
        let take = |this: &mut Self, row: Row| match row.width() {
            QUEUE_WIDTH if row.key >= from && is_whole(&row) => this.queue(&row),
            pack::WIDTH => {
                let frames = record::bytes(row.get(pack::WIDTH - 1));
                this.whole_frames(&frames, from..=i64::MAX, None)
            }
            _ => Ok(()),
        };
        for (frame, _) in unplaced {
            let source = Source::Frame(frame);
            self.rows(source, None, |this, row| this.take(source, &row, from))?;
        }
        let frames: Vec<usize> = self.image.log.damaged().collect();
        for frame in frames {
            self.rows(Source::Frame(frame), None, take)?;
        }
        for number in 2..=self.image.pages {
            self.check_closing(number)?;
            if !self.image.is_in_log(number) || self.image.is_current(number) {
                continue;
            }
            if let Some(page) = self.image.in_file(number)?
                && self.image.kind(number, &page)? == Kind::Leaf
            {
                self.rows_of(&page, None, take)?;
            }
        }
        Ok(())
    }

    /// Copies the events whose whole frames are in these bytes, and whose positions are among these, until there are
    /// `most` events.
    pub(super) fn whole_frames(
        &mut self,
        bytes: &[u8],
        positions: RangeInclusive<i64>,
        most: Option<i64>,
    ) -> Result<(), Fault> {
        let positions = positions.start().max(&1).cast_unsigned()..=positions.end().cast_unsigned();
        for piece in pack::search(bytes, positions) {
            if most.is_some_and(|most| self.read.queued >= most) {
                break;
            }
            if let Piece::Event(seq, parts) = piece
                && self.insert.unpacked(seq.cast_signed(), &parts)?
            {
                self.copied(seq.cast_signed());
            }
        }
        Ok(())
    }

    /// Copies events of packs whose rows cannot be read, from the pages that such a row may be in, as long as events are
    /// missing. Such a page may still have the frames of events that were settled, so this comes after everything whose
    /// position is known.
    pub(super) fn stray_frames(
        &mut self,
        numbers: &Numbers,
        positions: RangeInclusive<i64>,
    ) -> Result<(), Fault> {
        for number in 2..=self.image.pages {
            self.check_closing(number)?;
            let Some(page) = self.image.page(number)? else {
                continue;
            };
            let is_searched = match self.image.kind(number, &page)? {
                Kind::Leaf => numbers.queued().is_some() && !self.is_readable(&page)?,
                Kind::Destroyed => true,
                Kind::Other => false,
            };
            if is_searched {
                self.whole_frames(&page, positions.clone(), numbers.queued())?;
            }
        }
        Ok(())
    }

    /// Whether every row of a leaf page can be read, and none is hidden.
    fn is_readable(&mut self, page: &[u8]) -> Result<bool, Fault> {
        let cells = carve::pointers(page);
        let mut known = 0;
        self.rows_of(page, None, |_, row| {
            known += usize::from(match row.width() {
                QUEUE_WIDTH | DEAD_WIDTH => is_whole(&row),
                pack::WIDTH => head_of(&row).is_some(),
                // The rows of other tables begin with a text or have only numbers.
                _ => matches!(row.get(0), ValueRef::Text(_)) || row.numbers().is_some(),
            });
            Ok(())
        })?;
        Ok(known == cells.len() && cells.into_iter().min() == carve::begin_of_cells(page))
    }

    /// Copies rows that become whole if a frame whose page is unknown is one of their overflow pages.
    fn with_guesses(&mut self) -> Result<(), Fault> {
        let mut damaged = self.read.damaged.clone();
        damaged.extend(&self.read.dead_damaged);
        damaged.dedup_by_key(|(source, _)| *source);
        for (frame, pages) in self.unplaced() {
            for page in pages {
                for (source, _) in &damaged {
                    self.rows(*source, Some((page, frame)), |this, row| {
                        match row.width() {
                            QUEUE_WIDTH if is_whole(&row) => this.queue(&row),
                            DEAD_WIDTH if this.is_numbered(&row) && is_whole(&row) => {
                                this.bury(&row)
                            }
                            _ => Ok(()),
                        }
                    })?;
                }
            }
        }
        Ok(())
    }
}
