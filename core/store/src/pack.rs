//! Several events in one row of a store: a pack, which fills a page.
//!
//! Each event is a frame with a length and a checksum of its own, so that damage costs the events it
//! hits and no others: what follows a damaged frame is found from the end of the pack.
//! A frame has these parts, and numbers begin with the lowest byte:
//!
//! | bytes | |
//! |---|---|
//! | 0..4 | the mark: `ff 65 76 01` |
//! | 4..8 | CRC-32 of all that follows in the frame |
//! | 8..16 | the event's position |
//! | 16..32 | its id |
//! | 32..40 | its time, in nanoseconds since 1970 |
//! | 40 | the type of its body: 0 JSON, 1 msgpack, 2 text |
//! | 41..47 | the lengths of profile, attributes and body, two bytes each |
//! | 47.. | profile, attributes (JSON: a list of pairs; may be empty), body |
//! | the last two | the length of the frame, by which it is found from behind |

use std::ops::RangeInclusive;

use evbus_event::{ContentType, Event};
use rusqlite::types::ValueRef;

use super::record::{Parts, attributes_of};

/// The number of columns of a pack: its position, its events, their size, the checksum of these, and the frames.
pub(super) const WIDTH: usize = 5;

/// The most events in a pack. The pack that contains a position starts fewer than this many positions before it.
pub(super) const MOST_EVENTS: u32 = 64;

/// The most bytes of frames in a pack: a row of this size fits into one page, without overflow pages.
const MOST_BYTES: usize = 4000;

/// What a frame begins with. A body of msgpack may contain it, too, and a whole frame behind it.
const MARK: [u8; 4] = [0xff, b'e', b'v', 1];

/// The parts before the profile.
pub(super) const HEAD: usize = 4 + 4 + 8 + 16 + 8 + 1 + 2 + 2 + 2;

/// The length of the whole frame.
const TAIL: usize = 2;

/// The last position that `SQLite` can count.
const MOST_POSITION: u64 = i64::MAX.cast_unsigned();

/// The most that the events of a pack may be reckoned as.
const MOST_SIZE: u64 = 1 << 20;

/// What the checksum covers: everything behind it.
const COVERED: usize = 8;

/// Events that become a pack.
#[derive(Debug, Default)]
pub(super) struct Packing {
    pub(super) frames: Vec<u8>,
    pub(super) first: u64,
    pub(super) events: u32,
    /// The size of the events, as it is reckoned for a queue.
    pub(super) size: u64,
}

impl Packing {
    /// Adds an event with the next position, if it fits.
    pub(super) fn add(&mut self, seq: u64, event: &Event, size: u64) -> bool {
        let (profile, body) = (event.profile(), event.body());
        let least = HEAD + profile.len() + body.len() + TAIL;
        let fits = |length| self.frames.len() + length <= MOST_BYTES && self.events < MOST_EVENTS;
        let follows = self.events == 0 || self.first + u64::from(self.events) == seq;
        if !follows || !fits(least) {
            return false;
        }
        let attributes = attributes_of(event).unwrap_or_default();
        if !fits(least + attributes.len()) {
            return false;
        }
        let from = self.frames.len();
        self.frames.extend_from_slice(&MARK);
        self.frames.extend_from_slice(&[0; 4]);
        self.frames.extend_from_slice(&seq.to_le_bytes());
        self.frames.extend_from_slice(event.id().as_bytes());
        self.frames
            .extend_from_slice(&event.time_unix_ns().to_le_bytes());
        self.frames.push(code_of(event.content_type()));
        for part in [profile.len(), attributes.len(), body.len()] {
            let length = u16::try_from(part).unwrap_or_default();
            self.frames.extend_from_slice(&length.to_le_bytes());
        }
        self.frames.extend_from_slice(profile.as_bytes());
        self.frames.extend_from_slice(attributes.as_bytes());
        self.frames.extend_from_slice(body);
        // None is longer than a pack.
        let length = u16::try_from(self.frames.len() - from + TAIL).unwrap_or_default();
        self.frames.extend_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(&self.frames[from + COVERED..]);
        self.frames[from + 4..from + COVERED].copy_from_slice(&checksum.to_le_bytes());
        if self.events == 0 {
            self.first = seq;
        }
        self.events += 1;
        self.size += size;
        true
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        (self.events, self.size) = (0, 0);
    }
}

fn code_of(content_type: ContentType) -> u8 {
    match content_type {
        ContentType::Json => 0,
        ContentType::Msgpack => 1,
        ContentType::Text => 2,
    }
}

fn type_of(code: u8) -> Option<ContentType> {
    [ContentType::Json, ContentType::Msgpack, ContentType::Text]
        .into_iter()
        .find(|known| code_of(*known) == code)
}

/// A piece of a pack.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// A whole frame: an event, and its position.
    Event(u64, Parts<'a>),
    /// What is left of damaged frames.
    Remains(&'a [u8]),
}

/// The pieces of a pack, in order. Frames count only at ascending positions among these.
///
/// Whole frames follow one another from both ends up to what is damaged. Only what lies between is searched for marks, and
/// only if more than one event is missing: a body may contain what looks like a frame.
pub(super) fn pieces(bytes: &[u8], positions: RangeInclusive<u64>) -> Vec<Piece<'_>> {
    let (mut next, last) = positions.into_inner();
    let (mut from, mut to) = (0, bytes.len());
    let mut pieces = Vec::new();
    while let Some((seq, parts, length)) = frame(&bytes[from..to])
        && (next..=last).contains(&seq)
    {
        pieces.push(Piece::Event(seq, parts));
        from += length;
        next = seq + 1;
    }
    let mut behind = Vec::new();
    let mut end = last;
    while let Some((seq, parts, length)) = last_frame(&bytes[from..to])
        && (next..=end).contains(&seq)
    {
        behind.push(Piece::Event(seq, parts));
        to -= length;
        end = seq - 1;
    }
    let is_between = !pieces.is_empty() && !behind.is_empty();
    let middle = &bytes[from..to];
    if is_between && next >= end {
        pieces.extend((!middle.is_empty()).then_some(Piece::Remains(middle)));
    } else {
        pieces.extend(search(middle, next..=end));
    }
    pieces.extend(behind.into_iter().rev());
    pieces
}

/// The pieces of anything that may contain frames, by their marks. Frames count only at ascending positions among these.
pub(super) fn search(bytes: &[u8], positions: RangeInclusive<u64>) -> Vec<Piece<'_>> {
    let (mut next, last) = positions.into_inner();
    let (mut from, mut at) = (0, 0);
    let mut pieces = Vec::new();
    while at < bytes.len() {
        match frame(&bytes[at..]) {
            Some((seq, parts, length)) if (next..=last).contains(&seq) => {
                pieces.extend((from < at).then(|| Piece::Remains(&bytes[from..at])));
                pieces.push(Piece::Event(seq, parts));
                at += length;
                (from, next) = (at, seq + 1);
            }
            _ => at += 1,
        }
    }
    pieces.extend((from < at).then(|| Piece::Remains(&bytes[from..])));
    pieces
}

/// The frame at the beginning, if it is whole: its position, its event, and its length.
fn frame(bytes: &[u8]) -> Option<(u64, Parts<'_>, usize)> {
    let head: &[u8; HEAD] = bytes.first_chunk()?;
    if head[..4] != MARK {
        return None;
    }
    let length = length_of(head);
    let frame = bytes.get(..length).filter(|_| length <= MOST_BYTES)?;
    let seq = number(&head[8..16]);
    let is_whole = u64::from(crc32fast::hash(&frame[COVERED..])) == number(&head[4..COVERED]);
    if !is_whole || seq > MOST_POSITION {
        return None;
    }
    let [profile, attributes, body] = payload(head, &frame[HEAD..length - TAIL]);
    let attributes = str::from_utf8(attributes).ok()?;
    let parts = Parts {
        id: &frame[16..32],
        time: number(&head[32..40]).cast_signed(),
        profile: str::from_utf8(profile).ok()?,
        content_type: type_of(head[40])?.as_str(),
        attributes: (!attributes.is_empty()).then_some(attributes),
        body,
    };
    Some((seq, parts, length))
}

/// The frame at the end, if it is whole.
fn last_frame(bytes: &[u8]) -> Option<(u64, Parts<'_>, usize)> {
    let tail: &[u8; TAIL] = bytes.last_chunk()?;
    let from = bytes.len().checked_sub(u16::from_le_bytes(*tail).into())?;
    frame(&bytes[from..]).filter(|(.., length)| from + length == bytes.len())
}

/// A damaged frame, as far as its parts can be told apart; otherwise all of it as a body.
pub(super) fn what_is_left(remains: &[u8]) -> Parts<'_> {
    let nothing = Parts {
        id: &[],
        time: 0,
        profile: "",
        content_type: "",
        attributes: None,
        body: remains,
    };
    let Some(head) = remains.first_chunk::<HEAD>() else {
        return nothing;
    };
    if length_of(head) != remains.len() {
        return nothing;
    }
    let [profile, attributes, body] = payload(head, &remains[HEAD..remains.len() - TAIL]);
    Parts {
        id: &remains[16..32],
        time: number(&head[32..40]).cast_signed(),
        profile: str::from_utf8(profile).unwrap_or_default(),
        content_type: type_of(head[40]).map_or("", ContentType::as_str),
        attributes: str::from_utf8(attributes)
            .ok()
            .filter(|text| !text.is_empty()),
        body,
    }
}

/// The lengths of profile, attributes and body.
fn lengths(head: &[u8; HEAD]) -> [usize; 3] {
    [41, 43, 45].map(|at| usize::from(u16::from_le_bytes([head[at], head[at + 1]])))
}

/// The length of a frame.
fn length_of(head: &[u8; HEAD]) -> usize {
    HEAD + lengths(head).iter().sum::<usize>() + TAIL
}

/// Profile, attributes and body.
fn payload<'a>(head: &[u8; HEAD], payload: &'a [u8]) -> [&'a [u8]; 3] {
    let [profile, attributes, _] = lengths(head);
    let (profile, rest) = payload.split_at(profile);
    let (attributes, body) = rest.split_at(attributes);
    [profile, attributes, body]
}

/// A number of at most eight bytes, the lowest first.
fn number(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What a pack says about itself, besides its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) first: u64,
    pub(super) events: u32,
    /// The size of its events, as it is reckoned for a queue.
    pub(super) size: u64,
    /// The length of its frames.
    pub(super) length: u64,
}

impl Head {
    /// The head of a row, if it is what was written.
    pub(super) fn new(first: i64, columns: [ValueRef<'_>; 3], length: u64) -> Option<Self> {
        let [
            ValueRef::Integer(events),
            ValueRef::Integer(size),
            ValueRef::Integer(checksum),
        ] = columns
        else {
            return None;
        };
        let head = Self {
            first: first.cast_unsigned(),
            events: u32::try_from(events).ok()?,
            size: size.cast_unsigned(),
            length,
        };
        // A single event is a row.
        let is_pack = (2..=MOST_EVENTS).contains(&head.events)
            && (1..=MOST_POSITION - u64::from(MOST_EVENTS)).contains(&head.first)
            && head.size <= MOST_SIZE;
        (is_pack && head.checksum() == checksum).then_some(head)
    }

    pub(super) fn checksum(&self) -> i64 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.first.to_le_bytes());
        hasher.update(&self.events.to_le_bytes());
        hasher.update(&self.size.to_le_bytes());
        hasher.update(&self.length.to_le_bytes());
        hasher.finalize().into()
    }

    /// The position behind its last event.
    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.events)
    }

    /// The entry at each of its positions, in order: an event, or what is left of it, which may be nothing. `None` if the
    /// frames are not those of this head.
    pub(super) fn entries<'a>(&self, frames: &'a [u8]) -> Option<Vec<Result<Parts<'a>, &'a [u8]>>> {
        if frames.len() as u64 != self.length || frames.len() > MOST_BYTES {
            return None;
        }
        let mut entries: Vec<Result<Parts<'a>, &'a [u8]>> =
            Vec::with_capacity(self.events as usize);
        let mut remains: &[u8] = &[];
        let fill = |entries: &mut Vec<_>, remains: &mut &'a [u8], to: u64| {
            while (entries.len() as u64) < to {
                entries.push(Err(std::mem::take(remains)));
            }
        };
        for piece in pieces(frames, self.first..=self.end() - 1) {
            match piece {
                Piece::Remains(bytes) => remains = bytes,
                Piece::Event(seq, parts) => {
                    let at = seq.checked_sub(self.first)?;
                    if at < entries.len() as u64 || seq >= self.end() {
                        return None;
                    }
                    fill(&mut entries, &mut remains, at);
                    entries.push(Ok(parts));
                }
            }
        }
        fill(&mut entries, &mut remains, u64::from(self.events));
        Some(entries)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(number: u64, fill: usize) -> Event {
        let body = format!("{{\"number\":{number},\"fill\":\"{}\"}}", "x".repeat(fill));
        let event = Event::builder("salt/é").tag("jid", "20261130");
        event.unwrapped_json(body).unwrap()
    }

    fn packed(events: &[Event], first: u64) -> Packing {
        let mut packing = Packing::default();
        for (event, seq) in events.iter().zip(first..) {
            assert!(packing.add(seq, event, 1), "it fits");
        }
        packing
    }

    fn head(packing: &Packing) -> Head {
        Head {
            first: packing.first,
            events: packing.events,
            size: packing.size,
            length: packing.frames.len() as u64,
        }
    }

    #[test]
    fn a_pack_takes_what_follows_and_fits() {
        let mut packing = packed(&[event(1, 10)], 5);
        assert!(!packing.add(7, &event(2, 10), 1), "6 is missing");
        assert!(!packing.add(6, &event(2, 4000), 1), "too large");
        let mut next = 6;
        while packing.add(next, &event(next, 0), 1) {
            next += 1;
        }
        assert!(packing.frames.len() <= MOST_BYTES && packing.frames.len() > MOST_BYTES - 200);
    }

    #[test]
    fn any_flipped_bit_costs_one_event_and_no_order() {
        let events: Vec<Event> = (0..6).map(|number| event(number, 20)).collect();
        let packing = packed(&events, 100);
        let head = head(&packing);
        for bit in 0..packing.frames.len() * 8 {
            let mut damaged = packing.frames.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let entries = head.entries(&damaged).unwrap();
            assert_eq!(entries.len(), 6, "bit {bit}");
            let whole = entries.iter().filter(|entry| entry.is_ok()).count();
            assert_eq!(whole, 5, "bit {bit}");
            for (entry, event) in entries.iter().zip(&events) {
                match entry {
                    Ok(parts) => {
                        let read = parts.event().unwrap();
                        assert_eq!(read.body(), event.body());
                        assert_eq!((read.id(), read.profile()), (event.id(), event.profile()));
                        assert!(read.attributes().eq(event.attributes()));
                    }
                    Err(remains) => assert!(remains.len() > HEAD, "bit {bit}"),
                }
            }
        }
    }

    #[test]
    fn what_looks_like_frames_in_a_damaged_body_takes_no_place() {
        let inner: Vec<Event> = (0..4).map(|number| event(number, 5)).collect();
        for first in [100, 102, 103, 104] {
            let body = packed(&inner, first).frames;
            let mut events: Vec<Event> = (0..6).map(|number| event(number, 20)).collect();
            events[2] = Event::from(evbus_event::Parts {
                id: events[2].id(),
                time_unix_ns: 1,
                profile: "p",
                body: evbus_event::Body::Msgpack(&body),
                tags: &evbus_event::StringTags::default(),
                origin: evbus_event::Origin::Fired,
            });
            let packing = packed(&events, 100);
            let at = packing
                .frames
                .windows(body.len())
                .position(|window| window == body);
            let at = at.unwrap();
            for bit in (at - HEAD - 1) * 8..(at + body.len() + TAIL) * 8 {
                let mut damaged = packing.frames.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let entries = head(&packing).entries(&damaged).unwrap();
                for (number, (entry, event)) in entries.iter().zip(&events).enumerate() {
                    match entry {
                        Ok(parts) => assert_eq!(parts.body, event.body(), "bit {bit}"),
                        Err(_) => assert_eq!(number, 2, "bit {bit}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_head_is_read_only_as_it_was_written() {
        let head = Head {
            first: 7,
            events: 13,
            size: 4000,
            length: 3900,
        };
        let columns =
            |events: i64, size: i64, checksum: i64| [events, size, checksum].map(ValueRef::Integer);
        assert_eq!(
            Head::new(7, columns(13, 4000, head.checksum()), 3900),
            Some(head)
        );
        assert_eq!(Head::new(6, columns(13, 4000, head.checksum()), 3900), None);
        assert_eq!(Head::new(7, columns(13, 4000, head.checksum()), 23), None);
        assert_eq!(Head::new(7, columns(12, 4000, head.checksum()), 3900), None);
        assert_eq!(Head::new(7, columns(13, 4001, head.checksum()), 3900), None);
        assert_eq!(
            Head::new(7, columns(13, 4000, head.checksum() ^ 1), 3900),
            None
        );
    }

    #[test]
    fn frames_of_another_place_are_not_taken_for_those_of_a_head() {
        let events: Vec<Event> = (0..3).map(|number| event(number, 20)).collect();
        let packing = packed(&events, 100);
        for (first, count) in [(101, 3), (100, 2), (200, 3)] {
            let other = Head {
                first,
                events: count,
                size: 3,
                length: packing.frames.len() as u64,
            };
            let entries = other.entries(&packing.frames).unwrap();
            for (entry, at) in entries.iter().zip(first - 100..) {
                if let Ok(parts) = entry {
                    let at = usize::try_from(at).unwrap();
                    assert_eq!(parts.body, events[at].body(), "{other:?}");
                }
            }
        }
    }
}
