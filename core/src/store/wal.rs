//! Reads a store's log as far as damage allows.
//!
//! `SQLite` replays its write-ahead log up to the first frame that is not as it was written, and says
//! nothing: that is how the log of a crash ends. Damage looks the same, and everything from there on
//! would silently be gone. So the log is walked before `SQLite` opens it, to the end of the file:
//!
//! - A frame is whole where its checksum goes on from the frame before.
//! - One bit of a frame that flipped is found by the checksum, which is linear, and flipped back. For
//!   the upper bits of a word, several places may be found; then it stays, and every record's own
//!   checksum decides about the page.
//! - Behind a frame whose head is destroyed, the next one with this log's salts begins a chain again.
//!   It cannot be proven whole, so records' checksums decide about it; those that follow can.
//! - Frames of before the last reset have other salts, and are never taken.
//!
//! A log was committed up to where its index (`-shm`) says, which is there after a killed process, or
//! up to the last commit that is whole. What stands behind is what a power failure leaves of a write
//! that nobody was told of: it is dropped, as `SQLite` does.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#walformat>.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The size of a page; stores are made with `SQLite`'s default.
pub(super) const PAGE: usize = 4096;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: usize = FRAME_HEADER + PAGE;
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;

/// The head of the log's index, of which there are two copies.
const INDEX_HEADER: usize = 48;

/// In how many bits the salts of a frame may be damaged. Frames left over from before the last reset
/// have other salts, which differ at random in 32 bits, and so in more.
const SALT_BITS: u32 = 2;

/// How many frames the damage that took the head of the log may have taken with it: a block covers
/// the head and a frame. Chains that begin later may be of before the last reset.
const TAKEN_WITH_THE_HEAD: usize = 2;

/// The two running sums of the checksum.
type Sum = (u32, u32);

/// What a frame is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it was written.
    Whole,
    /// As it was written, once these bytes are put at this place of the frame.
    Mended(Option<(usize, [u8; 4])>),
    /// One bit of it flipped, and it is not known which.
    Flipped,
    /// Behind a gap, so that its checksum proves nothing about itself.
    Unproven,
    /// More is damaged than a bit.
    Damaged,
    /// It is not of this log, or its head is destroyed.
    Gone,
}

impl State {
    /// Whether the frame belongs to a commit that can be taken by itself.
    fn is_well(self) -> bool {
        matches!(self, Self::Whole | Self::Mended(_) | Self::Flipped)
    }
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    page: u32,
    /// Pages of the store after the commit that this frame ends; 0 where it ends none.
    commit: u32,
    state: State,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Log {
    file: Option<File>,
    /// What was committed.
    frames: Vec<Frame>,
    /// Frames that were committed and are not in the file any more.
    missing: usize,
    /// Whether `SQLite` would not take all that was committed.
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
    /// How many frames of it are damaged or missing.
    pub(super) fn bad_frames(&self) -> usize {
        self.damaged().count() + self.missing
    }

    /// How many pages the store has after the last commit; none where the log does not say.
    pub(super) fn pages(&self) -> Option<u32> {
        let last = self.frames.last()?;
        let is_sure = last.state.is_well() || last.state == State::Unproven;
        (is_sure && self.missing == 0 && last.commit > 0).then_some(last.commit)
    }

    /// The latest image of every page that is in the log and can be taken as it is.
    pub(super) fn latest(&self) -> HashMap<u32, usize> {
        let taken = |frame: &Frame| frame.state.is_well() || frame.state == State::Unproven;
        let numbered = self.frames.iter().enumerate();
        numbered
            .filter(|(_, frame)| taken(frame))
            .map(|(number, frame)| (frame.page, number))
            .collect()
    }

    /// Whether nothing that is damaged or missing may have been a later image of a page, whose
    /// latest is in this frame; none: in the store itself.
    pub(super) fn is_current(&self, frame: Option<usize>) -> bool {
        let behind = frame.map_or(0, |frame| frame + 1);
        let later = self.frames.get(behind..).unwrap_or_default();
        let is_bad = |frame: &Frame| matches!(frame.state, State::Damaged | State::Gone);
        self.missing == 0 && !later.iter().any(is_bad)
    }

    /// The frames that are damaged: rows that are whole may be in them.
    pub(super) fn damaged(&self) -> impl Iterator<Item = usize> {
        let numbered = self.frames.iter().enumerate();
        numbered
            .filter(|(_, frame)| matches!(frame.state, State::Damaged | State::Gone))
            .map(|(number, _)| number)
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

/// What the log's index says: salts, the order of the checksum's bytes, how many frames were
/// committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Index {
    salts: [u8; 8],
    big_endian: bool,
    frames: usize,
}

/// Reads the index, where it is as it was written. Its numbers are in this machine's order.
fn read_index(bytes: &[u8]) -> Option<Index> {
    let copies = bytes.get(..2 * INDEX_HEADER)?;
    let (one, other) = copies.split_at(INDEX_HEADER);
    let number = |at: usize| {
        let bytes = [one[at], one[at + 1], one[at + 2], one[at + 3]];
        u32::from_ne_bytes(bytes)
    };
    let sum = checksum(&one[..40], (0, 0), cfg!(target_endian = "big"));
    let is_well = one == other && sum == (number(40), number(44)) && number(0) == VERSION;
    is_well.then(|| Index {
        salts: [0, 1, 2, 3, 4, 5, 6, 7].map(|at| one[32 + at]),
        big_endian: one[13] == 1,
        frames: number(16) as usize,
    })
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
    // What was left from before a reset is wholly in the store.
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
    Ok(Log {
        file: Some(file),
        frames,
        missing,
        is_damaged,
    })
}

/// The salts of the first frames that hang together.
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

/// Finds out what every frame of a log is worth. `before` is the sum that the first one goes on from.
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
        let state;
        (state, before) = judge(&frame, next, salts, before, big_endian);
        let mut head = [u32_at(&frame, 0), u32_at(&frame, 4)];
        if let State::Mended(Some((at @ (0 | 4), bytes))) = state {
            head[at / 4] = u32::from_be_bytes(bytes);
        }
        frames.push(Frame {
            page: head[0],
            commit: head[1],
            state,
        });
    }
    Ok(frames)
}

/// What a frame is worth, and the sum that the next one goes on from, where that is known.
fn judge(
    frame: &[u8],
    next: Option<&[u8]>,
    salts: [u8; 8],
    before: Option<Sum>,
    big_endian: bool,
) -> (State, Option<Sum>) {
    let stored = stored_sum(frame);
    let distance = salt_distance(frame, salts);
    let goes_on = next.is_some_and(|next| goes_on(frame, next, salts, big_endian));
    let is_ours = distance <= SALT_BITS || goes_on;
    let Some(sum) = before.filter(|_| is_ours) else {
        return match distance {
            0 => (State::Unproven, Some(stored)),
            _ if distance <= SALT_BITS && goes_on => (State::Unproven, Some(stored)),
            // Its sum is believed where the next frame bears witness to it.
            _ => (State::Gone, goes_on.then_some(stored)),
        };
    };
    let computed = frame_sum(frame, sum, big_endian);
    if computed == stored {
        let state = if distance == 0 {
            State::Whole
        } else {
            State::Mended(None)
        };
        return (state, Some(stored));
    }
    // A flipped bit in the last word of a page looks like one in the stored sum; the next frame
    // tells.
    if sum_distance(computed, stored) == 1 && !goes_on {
        return (State::Mended(None), Some(computed));
    }
    let is_last = next.is_none_or(|next| salts_of(next) != salts);
    match flip_back(frame, computed, stored, big_endian, is_last) {
        Flip::One(at, bytes) => (State::Mended(Some((at, bytes))), Some(stored)),
        Flip::Several => (State::Flipped, Some(stored)),
        // The sum itself may be what is damaged.
        Flip::None => (State::Damaged, goes_on.then_some(stored)),
    }
}

/// Where the last commit ends that is whole, as far as the log itself can tell.
fn last_whole_commit(frames: &[Frame]) -> usize {
    let (mut end, mut is_whole) = (0, true);
    for (number, frame) in frames.iter().enumerate() {
        // A commit with a gap counts where a whole one stands behind it.
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

/// Whether the sum of `next`, which has these salts, goes on from what `frame` says is its own.
fn goes_on(frame: &[u8], next: &[u8], salts: [u8; 8], big_endian: bool) -> bool {
    salts_of(next) == salts && frame_sum(next, stored_sum(frame), big_endian) == stored_sum(next)
}

/// Flips the one bit of the header that makes it right, as the first frame bears witness.
fn restore_header(header: &mut [u8], first: &[u8]) {
    for bit in 0..HEADER * 8 {
        header[bit / 8] ^= 1 << (bit % 8);
        if is_header_well(header) && goes_before(header, first) {
            return;
        }
        header[bit / 8] ^= 1 << (bit % 8);
    }
}

/// Several bits may make the checksum right: what else is known has to be right as well.
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

/// The checksum of a frame: over the first 8 bytes of its header and its page.
fn frame_sum(frame: &[u8], sum: Sum, big_endian: bool) -> Sum {
    let sum = checksum(&frame[..8], sum, big_endian);
    checksum(&frame[FRAME_HEADER..], sum, big_endian)
}

fn stored_sum(frame: &[u8]) -> Sum {
    (u32_at(frame, 16), u32_at(frame, 20))
}

/// In how many bits two sums differ.
fn sum_distance(one: Sum, other: Sum) -> u32 {
    (one.0 ^ other.0).count_ones() + (one.1 ^ other.1).count_ones()
}

/// In how many bits the salts of a frame differ from the right ones.
fn salt_distance(frame: &[u8], salts: [u8; 8]) -> u32 {
    let bits = frame[8..16]
        .iter()
        .zip(salts)
        .map(|(one, other)| (one ^ other).count_ones());
    bits.sum()
}

fn checksum(bytes: &[u8], sum: Sum, big_endian: bool) -> Sum {
    bytes.chunks_exact(8).fold(sum, |(one, two), chunk| {
        let one = one
            .wrapping_add(word(&chunk[..4], big_endian))
            .wrapping_add(two);
        (
            one,
            two.wrapping_add(word(&chunk[4..], big_endian))
                .wrapping_add(one),
        )
    })
}

fn word(bytes: &[u8], big_endian: bool) -> u32 {
    let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    }
}

/// Which one bit of a frame flipped.
enum Flip {
    /// The one in the word at this place, which was this.
    One(usize, [u8; 4]),
    Several,
    None,
}

/// Finds the one bit of a frame that makes its checksum the stored one.
///
/// The sums are linear in the words they are taken over: a bit changes them by its own value, times
/// what a word at its place counts, which follows from the place alone. Of the upper bits of words so
/// little is left in 32 bits that many places count the same.
fn flip_back(frame: &[u8], computed: Sum, stored: Sum, big_endian: bool, is_last: bool) -> Flip {
    let missing = (
        stored.0.wrapping_sub(computed.0),
        stored.1.wrapping_sub(computed.1),
    );
    // What the two words of the last chunk count; each chunk before that counts as `earlier` says.
    let mut counts: [Sum; 2] = [(1, 1), (0, 1)];
    let earlier = |(one, two): Sum| {
        let one = one.wrapping_add(two);
        (one, one.wrapping_add(two))
    };
    let chunks = (FRAME_HEADER..frame.len()).step_by(8).rev().chain([0]);
    let mut found = Vec::new();
    for chunk in chunks {
        for (at, count) in [(chunk, counts[0]), (chunk + 4, counts[1])] {
            let now = word(&frame[at..at + 4], big_endian);
            for bit in 0..32 {
                let flipped = now ^ (1 << bit);
                let by = flipped.wrapping_sub(now);
                if (count.0.wrapping_mul(by), count.1.wrapping_mul(by)) == missing {
                    found.push((at, flipped));
                }
            }
        }
        counts = counts.map(earlier);
    }
    // A log ends with a commit: where the last frame is none, that is what flipped.
    let commit = found.iter().find(|(at, _)| *at == 4);
    let (at, word) = match (&found[..], commit) {
        ([], _) => return Flip::None,
        ([bit], _) => *bit,
        (_, Some(commit)) if is_last && frame[4..8] == [0; 4] => *commit,
        _ => return Flip::Several,
    };
    let bytes = if big_endian {
        word.to_be_bytes()
    } else {
        word.to_le_bytes()
    };
    Flip::One(at, bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
