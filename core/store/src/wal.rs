//! Reads a store's log as far as damage allows.
//!
//! `SQLite` replays its write-ahead log up to the first frame that is not as it was written, and reports
//! nothing, because the log of a crash ends like that. Damage looks the same, and everything from there
//! on would be lost silently. So the log is read to the end of the file before `SQLite` opens it:
//!
//! - A frame is whole if its checksum continues that of the frame before.
//! - A single flipped bit of a frame is found by the checksum, which is linear, and flipped back. For the upper bits of
//!   a word, there may be several candidates; then the frame stays as it is, and every record's own checksum decides.
//! - After a frame with a destroyed header, the next one with this log's salts begins a new chain. That frame itself
//!   cannot be proven, so records' checksums decide about it; those that follow can.
//! - A frame's page number and the size of the store are trusted only if the checksum proves them. An image whose page
//!   is uncertain has no place in the store, but its rows are read nevertheless.
//! - Frames from before the last reset have other salts, and are never used.
//!
//! The log is committed up to the frame given by its index (`-shm`), which exists after a process was killed, or up to
//! the last whole commit. What follows is what a power failure leaves of a write that was never confirmed: it is
//! dropped, as `SQLite` does.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#walformat>.

mod flip;
mod index;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use flip::{Flip, Sum, checksum, flip_back, u32_at};
use index::read_index;

/// The size of a page; stores are made with `SQLite`'s default.
pub(super) const PAGE: usize = 4096;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: usize = FRAME_HEADER + PAGE;
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;

/// How many bits of a frame's salts may be damaged. Frames from before the last reset have other salts, which differ
/// at random in 32 bits, so in more.
const SALT_BITS: u32 = 2;

/// How many frames may be lost together with the log's header: a block covers the header and one frame. Chains that
/// begin later may be from before the last reset.
const TAKEN_WITH_THE_HEAD: usize = 2;

/// How far a frame can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it was written.
    Whole,
    /// As it was written, after these bytes are written to this position of the frame.
    Mended(Option<(usize, [u8; 4])>),
    /// One bit is flipped, but it is not known which.
    Flipped,
    /// After a gap, so that its checksum proves nothing about it.
    Unproven,
    /// More than one bit is damaged.
    Damaged,
    /// It does not belong to this log, or its header is destroyed.
    Gone,
}

impl State {
    /// Whether a commit with this frame can be used.
    fn is_well(self) -> bool {
        matches!(self, Self::Whole | Self::Mended(_) | Self::Flipped)
    }
}

#[derive(Debug, Clone)]
struct Frame {
    page: u32,
    /// The number of pages after the commit that this frame ends; 0 if it does not end one.
    commit: u32,
    state: State,
    /// Other possible readings of the header.
    doubt: Doubt,
}

/// Possible readings of the header of a frame in which a bit flipped, there or elsewhere.
#[derive(Debug, Clone, Default)]
struct Doubt {
    /// Other possible page numbers.
    pages: Vec<u32>,
    /// Whether the commit may be a different one.
    commit: bool,
}

impl Doubt {
    /// From the words that may contain the flipped bit, in the order of the file.
    fn new(words: &[(usize, u32)]) -> Self {
        let pages = words.iter().filter(|(at, _)| *at == 0);
        Self {
            pages: pages.map(|(_, page)| *page).collect(),
            commit: words.iter().any(|(at, _)| *at == 4),
        }
    }
}

impl Frame {
    /// Whether it is certain which page the image belongs to.
    fn is_placed(&self) -> bool {
        self.state.is_well() && self.doubt.pages.is_empty()
    }

    /// Whether more than one bit may be wrong, or an unknown number.
    fn is_bad(&self) -> bool {
        matches!(self.state, State::Damaged | State::Gone)
    }

    /// Whether the image is intact, except for one bit, but its page is unknown.
    fn is_unplaced(&self) -> bool {
        !self.is_bad() && !self.is_placed()
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Log {
    file: Option<File>,
    /// The committed frames.
    frames: Vec<Frame>,
    /// Committed frames that are no longer in the file.
    missing: usize,
    /// The last frame about which nothing is known.
    last_unknown: Option<usize>,
    /// Frames whose page is unknown.
    unplaced: Vec<usize>,
    /// Whether `SQLite` would not read everything that was committed.
    pub(super) is_damaged: bool,
}

/// Walks the log at `path` with the index at `index`; both may be absent.
pub(super) fn read(path: &Path, index: &Path) -> io::Result<Log> {
    match File::open(path) {
        Ok(file) => walk(file, &std::fs::read(index).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Log::default()),
        Err(error) => Err(error),
    }
}

impl Log {
    /// How many frames are damaged or missing.
    pub(super) fn bad_frames(&self) -> usize {
        self.damaged().count() + self.missing
    }

    /// The number of pages after the last commit; `None` if the log does not contain it.
    pub(super) fn pages(&self) -> Option<u32> {
        let last = self.frames.last()?;
        let is_sure = last.state.is_well() && !last.doubt.commit;
        (is_sure && self.missing == 0 && last.commit > 0).then_some(last.commit)
    }

    /// The largest number of pages after any commit whose size is certain.
    pub(super) fn most_pages(&self) -> u32 {
        let sure = self.frames.iter();
        let sure = sure.filter(|frame| frame.state.is_well() && !frame.doubt.commit);
        sure.map(|frame| frame.commit).max().unwrap_or_default()
    }

    /// The frame with the latest image of every page, among the frames whose page is certain.
    pub(super) fn latest(&self) -> HashMap<u32, usize> {
        let numbered = self.frames.iter().enumerate();
        numbered
            .filter(|(_, frame)| frame.is_placed())
            .map(|(number, frame)| (frame.page, number))
            .collect()
    }

    /// Whether no frame that is damaged, missing or of an unknown page may have a later image of `page` than this
    /// frame; `None` is the store itself.
    pub(super) fn is_current(&self, page: u32, frame: Option<usize>) -> bool {
        let may_be = |number: &usize| {
            let other = &self.frames[*number];
            Some(*number) > frame && (other.page == page || other.doubt.pages.contains(&page))
        };
        self.is_sound_behind(frame) && !self.unplaced.iter().any(may_be)
    }

    /// Whether everything committed after this frame can be read, whatever page it belongs to.
    pub(super) fn is_sound_behind(&self, frame: Option<usize>) -> bool {
        self.missing == 0 && self.last_unknown <= frame
    }

    /// Whether the checksum proves a frame, except for one bit.
    pub(super) fn is_well(&self, frame: usize) -> bool {
        (self.frames.get(frame)).is_some_and(|frame| frame.state.is_well())
    }

    /// The damaged frames, which may contain whole rows.
    pub(super) fn damaged(&self) -> impl Iterator<Item = usize> {
        let numbered = self.frames.iter().enumerate();
        numbered
            .filter(|(_, frame)| frame.is_bad())
            .map(|(number, _)| number)
    }

    /// The frames whose page is unknown, and the pages that each may belong to.
    pub(super) fn unplaced(&self) -> impl Iterator<Item = (usize, Vec<u32>)> {
        self.unplaced.iter().map(|number| {
            let frame = &self.frames[*number];
            let mut pages = vec![frame.page];
            pages.extend(&frame.doubt.pages);
            (*number, pages)
        })
    }

    /// The page in a frame.
    pub(super) fn page(&self, number: usize) -> io::Result<Vec<u8>> {
        let Some(file) = &self.file else {
            return Ok(vec![0; PAGE]);
        };
        let mut frame = read_frame(file, number)?;
        if let Some(Frame {
            state: State::Mended(Some((at, bytes))),
            ..
        }) = self.frames.get(number)
        {
            frame[*at..at + 4].copy_from_slice(bytes);
        }
        frame.drain(..FRAME_HEADER);
        Ok(frame)
    }
}

fn read_frame(file: &File, number: usize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; FRAME];
    file.read_exact_at(&mut frame, (HEADER + number * FRAME) as u64)?;
    Ok(frame)
}

fn walk(file: File, index: &[u8]) -> io::Result<Log> {
    let len = file.metadata()?.len();
    let slots = usize::try_from(len).unwrap_or(usize::MAX);
    let slots = slots.saturating_sub(HEADER) / FRAME;
    let index = read_index(index);
    let mut header = vec![0; HEADER];
    if len >= HEADER as u64 {
        file.read_exact_at(&mut header, 0)?;
    }
    let header_was_well = is_header_well(&header);
    if !header_was_well && slots > 0 {
        restore_header(&mut header, &read_frame(&file, 0)?);
    }
    let is_header_well = is_header_well(&header);
    let (salts, big_endian) = if is_header_well {
        let salts = [0, 1, 2, 3, 4, 5, 6, 7].map(|at| header[16 + at]);
        (Some(salts), header[3] & 1 == 1)
    } else if let Some(index) = index {
        (Some(index.salts), index.big_endian)
    } else {
        let big_endian = cfg!(target_endian = "big");
        (first_chain(&file, slots, big_endian)?, big_endian)
    };
    let Some(salts) = salts else {
        return Ok(Log::default());
    };
    // Frames from before a reset are completely in the store.
    let index = index.filter(|index| index.salts == salts);
    let before = is_header_well.then(|| (u32_at(&header, 24), u32_at(&header, 28)));
    let frames = frames(&file, slots, salts, before, big_endian)?;
    let told = index.map_or(0, |index| index.frames);
    let end = last_whole_commit(&frames).max(told.min(slots));
    let missing = told.saturating_sub(slots);
    let mut frames = frames;
    frames.truncate(end);
    let is_damaged = missing > 0
        || (end > 0 && !header_was_well)
        || frames.iter().any(|frame| frame.state != State::Whole);
    let is_unknown = |frame: &Frame| frame.is_bad() || frame.state == State::Unproven;
    let numbered = frames.iter().enumerate();
    let unplaced = numbered.filter(|(_, frame)| frame.is_unplaced());
    Ok(Log {
        file: Some(file),
        last_unknown: frames.iter().rposition(is_unknown),
        unplaced: unplaced.map(|(number, _)| number).collect(),
        frames,
        missing,
        is_damaged,
    })
}

/// The salts of the first frames that form a chain.
fn first_chain(file: &File, slots: usize, big_endian: bool) -> io::Result<Option<[u8; 8]>> {
    for number in 0..=TAKEN_WITH_THE_HEAD {
        if number + 1 >= slots {
            break;
        }
        let (frame, next) = (read_frame(file, number)?, read_frame(file, number + 1)?);
        if goes_on(&frame, &next, salts_of(&frame), big_endian) && salts_of(&frame) != [0; 8] {
            return Ok(Some(salts_of(&frame)));
        }
    }
    Ok(None)
}

/// Judges every frame of a log. `before` is the checksum that the first one continues.
fn frames(
    file: &File,
    slots: usize,
    salts: [u8; 8],
    before: Option<Sum>,
    big_endian: bool,
) -> io::Result<Vec<Frame>> {
    let mut frames = Vec::with_capacity(slots);
    let mut before = before;
    let mut following = if slots > 0 {
        Some(read_frame(file, 0)?)
    } else {
        None
    };
    for number in 0..slots {
        let Some(frame) = following.take() else { break };
        if number + 1 < slots {
            following = Some(read_frame(file, number + 1)?);
        }
        let next = following.as_deref();
        let (state, doubt);
        (state, doubt, before) = judge(&frame, next, salts, before, big_endian);
        let mut head = [u32_at(&frame, 0), u32_at(&frame, 4)];
        if let State::Mended(Some((at @ (0 | 4), bytes))) = state {
            head[at / 4] = u32::from_be_bytes(bytes);
        }
        frames.push(Frame {
            page: head[0],
            commit: head[1],
            state,
            doubt,
        });
    }
    Ok(frames)
}

/// Judges a frame; returns its state, the other possible readings of its header, and the checksum that the next one
/// continues, if known.
fn judge(
    frame: &[u8],
    next: Option<&[u8]>,
    salts: [u8; 8],
    before: Option<Sum>,
    big_endian: bool,
) -> (State, Doubt, Option<Sum>) {
    let stored = stored_sum(frame);
    let distance = salt_distance(frame, salts);
    let goes_on_from = |sum| next.is_some_and(|next| goes_on_from(sum, next, salts, big_endian));
    let goes_on = goes_on_from(stored);
    let is_ours = distance <= SALT_BITS || goes_on;
    let sure = Doubt::default();
    let Some(sum) = before.filter(|_| is_ours) else {
        return match distance {
            0 => (State::Unproven, sure, Some(stored)),
            _ if distance <= SALT_BITS && goes_on => (State::Unproven, sure, Some(stored)),
            // The stored sum is believed if the next frame confirms it.
            _ => (State::Gone, sure, goes_on.then_some(stored)),
        };
    };
    let computed = frame_sum(frame, sum, big_endian);
    if computed == stored {
        let state = if distance == 0 {
            State::Whole
        } else {
            State::Mended(None)
        };
        return (state, sure, Some(stored));
    }
    let is_last = next.is_none_or(|next| salts_of(next) != salts);
    let found = flip_back(frame, computed, stored, big_endian);
    // One flipped bit of a page or a head may look like a flipped bit of the sum; the next frame decides.
    if sum_distance(computed, stored) == 1 && !goes_on {
        let doubt = if goes_on_from(computed) {
            sure
        } else {
            Doubt::new(&found)
        };
        return (State::Mended(None), doubt, Some(computed));
    }
    match flip::choose(&found, frame, is_last) {
        Flip::One(at, word) => {
            let state = State::Mended(Some((at, word.to_be_bytes())));
            // If there are other candidates, this is only the likeliest.
            let doubt = if found.len() > 1 {
                Doubt::new(&found)
            } else {
                sure
            };
            (state, doubt, Some(stored))
        }
        Flip::Several => (State::Flipped, Doubt::new(&found), Some(stored)),
        // The sum itself may be damaged.
        Flip::None => (State::Damaged, sure, goes_on.then_some(stored)),
    }
}

/// The end of the last whole commit, as far as the log itself shows.
fn last_whole_commit(frames: &[Frame]) -> usize {
    let (mut end, mut is_whole) = (0, true);
    for (number, frame) in frames.iter().enumerate() {
        // A commit with a gap counts if a whole one follows it.
        is_whole &= frame.state.is_well();
        if frame.commit > 0 && (frame.state.is_well() || frame.state == State::Unproven) {
            if is_whole {
                end = number + 1;
            }
            is_whole = true;
        }
    }
    end
}

/// Whether the checksum of `next`, which has these salts, continues the one stored in `frame`.
fn goes_on(frame: &[u8], next: &[u8], salts: [u8; 8], big_endian: bool) -> bool {
    goes_on_from(stored_sum(frame), next, salts, big_endian)
}

fn goes_on_from(sum: Sum, next: &[u8], salts: [u8; 8], big_endian: bool) -> bool {
    salts_of(next) == salts && frame_sum(next, sum, big_endian) == stored_sum(next)
}

/// Flips the one bit of the header that makes it consistent with the first frame.
fn restore_header(header: &mut [u8], first: &[u8]) {
    for bit in 0..HEADER * 8 {
        header[bit / 8] ^= 1 << (bit % 8);
        if is_header_well(header) && goes_before(header, first) {
            return;
        }
        header[bit / 8] ^= 1 << (bit % 8);
    }
}

/// Several bits may make the checksum right, so everything else that is known must be right too.
fn goes_before(header: &[u8], first: &[u8]) -> bool {
    let big_endian = header[3] & 1 == 1;
    let sum = frame_sum(first, (u32_at(header, 24), u32_at(header, 28)), big_endian);
    header[16..24] == first[8..16] && stored_sum(first) == sum
}

fn is_header_well(header: &[u8]) -> bool {
    let magic = u32_at(header, 0);
    let sum = checksum(&header[..24], (0, 0), magic == MAGIC | 1);
    (magic | 1) == MAGIC | 1
        && u32_at(header, 4) == VERSION
        && u32_at(header, 8) as usize == PAGE
        && (u32_at(header, 24), u32_at(header, 28)) == sum
}

fn salts_of(frame: &[u8]) -> [u8; 8] {
    [0, 1, 2, 3, 4, 5, 6, 7].map(|at| frame[8 + at])
}

/// The checksum of a frame: over the first 8 bytes of its header, and its page.
fn frame_sum(frame: &[u8], sum: Sum, big_endian: bool) -> Sum {
    let sum = checksum(&frame[..8], sum, big_endian);
    checksum(&frame[FRAME_HEADER..], sum, big_endian)
}

fn stored_sum(frame: &[u8]) -> Sum {
    (u32_at(frame, 16), u32_at(frame, 20))
}

/// The number of bits in which two checksums differ.
fn sum_distance(one: Sum, other: Sum) -> u32 {
    (one.0 ^ other.0).count_ones() + (one.1 ^ other.1).count_ones()
}

/// The number of bits in which a frame's salts differ from the right ones.
fn salt_distance(frame: &[u8], salts: [u8; 8]) -> u32 {
    let bits = frame[8..16]
        .iter()
        .zip(salts)
        .map(|(one, other)| (one ^ other).count_ones());
    bits.sum()
}

#[cfg(test)]
mod tests;
