//! The format once more, read the slow way: what the host must make of a stream.
//!
//! Where a frame ends is found by a walk written from the msgpack specification; what is in it, with
//! rmpv, which builds whole values. Only `docs/EVENT_SOCKETS.md` is common to this and to evbus-wire.

use std::ops::Range;

use evbus_wire::{MAX_DEPTH, MAX_FRAME_BYTES, MAX_TAG_BYTES};
use rmpv::Value;

use crate::same::json_of;

/// How a walk over one msgpack value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// The value's length in bytes.
    Whole(usize),
    /// The input ends within the value.
    Unfinished,
    /// The value announces more than a frame may contain.
    TooLong,
    /// The value contains the byte c1.
    Reserved,
}

/// Walks over the value at the front of `input`.
pub fn walk(input: &[u8]) -> Walk {
    let (mut at, mut values) = (0_u64, 1_u64);
    while values > 0 {
        let rest = usize::try_from(at).ok().and_then(|at| input.get(at..));
        let Some((&first, rest)) = rest.and_then(<[u8]>::split_first) else {
            return Walk::Unfinished;
        };
        // A big-endian number of that many bytes, if they are there.
        let number = |bytes: usize| {
            let bytes = rest.get(..bytes)?;
            Some(bytes.iter().fold(0, |n, byte| n * 256 + u64::from(*byte)))
        };
        // Bytes of the value itself after the first, and the number of values inside it.
        let (own, within) = match first {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (Some(0), Some(0)),
            0x80..=0x8f => (Some(0), Some(u64::from(first - 0x80) * 2)),
            0x90..=0x9f => (Some(0), Some(u64::from(first - 0x90))),
            0xa0..=0xbf => (Some(u64::from(first - 0xa0)), Some(0)),
            0xc1 => return Walk::Reserved,
            0xc4 | 0xd9 => (number(1).map(|len| 1 + len), Some(0)),
            0xc5 | 0xda => (number(2).map(|len| 2 + len), Some(0)),
            0xc6 | 0xdb => (number(4).map(|len| 4 + len), Some(0)),
            0xc7 => (number(1).map(|len| 2 + len), Some(0)),
            0xc8 => (number(2).map(|len| 3 + len), Some(0)),
            0xc9 => (number(4).map(|len| 5 + len), Some(0)),
            0xcc | 0xd0 => (Some(1), Some(0)),
            0xcd | 0xd1 => (Some(2), Some(0)),
            0xca | 0xce | 0xd2 => (Some(4), Some(0)),
            0xcb | 0xcf | 0xd3 => (Some(8), Some(0)),
            0xd4..=0xd8 => (Some(1 + (1 << (first - 0xd4))), Some(0)),
            0xdc => (Some(2), number(2)),
            0xdd => (Some(4), number(4)),
            0xde => (Some(2), number(2).map(|pairs| pairs * 2)),
            0xdf => (Some(4), number(4).map(|pairs| pairs * 2)),
        };
        let (Some(own), Some(within)) = (own, within) else {
            return Walk::Unfinished;
        };
        at += 1 + own;
        values = values - 1 + within;
        // Every value takes at least one byte.
        if at + values > MAX_FRAME_BYTES as u64 {
            return Walk::TooLong;
        }
    }
    match usize::try_from(at) {
        Ok(at) if at <= input.len() => Walk::Whole(at),
        _ => Walk::Unfinished,
    }
}

/// The frames of a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Frames {
    /// Where the payloads lie.
    pub payloads: Vec<Range<usize>>,
    /// Whether the host gives up on the stream.
    pub lost_sync: bool,
    /// Where what is not a whole frame begins.
    pub end: usize,
}

/// Finds the frames of a stream.
pub fn frames(stream: &[u8]) -> Frames {
    let (mut at, mut payloads) = (0, Vec::new());
    let lost_sync = loop {
        let rest = &stream[at..];
        match rest {
            [] => break false,
            [0x00..=0x7f, ..] => {
                let [a, b, c, d, after @ ..] = rest else {
                    break false;
                };
                let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                if len == 0 || len > MAX_FRAME_BYTES {
                    break true;
                }
                if after.len() < len {
                    break false;
                }
                payloads.push(at + 4..at + 4 + len);
                at += 4 + len;
            }
            [0x80..=0x8f | 0xde | 0xdf, ..] => match walk(rest) {
                Walk::Whole(len) => {
                    payloads.push(at..at + len);
                    at += len;
                }
                Walk::Unfinished => break false,
                Walk::TooLong | Walk::Reserved => break true,
            },
            _ => break true,
        }
    };
    Frames {
        payloads,
        lost_sync,
        end: at,
    }
}

/// What a payload holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The tag.
    pub tag: String,
    /// DATA as it came.
    pub data: Vec<u8>,
    /// DATA, understood.
    pub map: Vec<(Value, Value)>,
    /// The `evbus` entry.
    pub head: Option<Head>,
}

impl Content {
    /// The event's body as JSON text; `None` if there is none.
    pub fn body(&self) -> Option<Vec<u8>> {
        let text = match &self.head {
            None => json_of(&Value::Map(self.map.clone())),
            Some(Head {
                json: Some(json), ..
            }) => return Some(json.clone()),
            Some(Head { wrap: true, .. }) => {
                let body = self.map.iter().find(|(key, _)| is_str(key, "body"));
                json_of(body.map(|(_, body)| body)?)
            }
            Some(_) => {
                let unstamped = self.map.iter().filter(|(key, _)| !is_str(key, "_stamp"));
                json_of(&Value::Map(unstamped.cloned().collect()))
            }
        };
        Some(text.into_bytes())
    }
}

/// The `evbus` entry of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The event's id.
    pub id: [u8; 16],
    /// When it was fired.
    pub time: u64,
    /// Whether DATA has the body under `body`.
    pub wrap: bool,
    /// The body's text.
    pub json: Option<Vec<u8>>,
}

/// rmpv reads recursively; inputs are too short to be nested more deeply.
const DEPTH: usize = 65_535;

/// Reads exactly one value.
pub fn value(bytes: &[u8]) -> Option<Value> {
    // rmpv accepts the byte c1 as nil.
    if walk(bytes) != Walk::Whole(bytes.len()) {
        return None;
    }
    let mut rest = bytes;
    let value = rmpv::decode::read_value_with_max_depth(&mut rest, DEPTH).ok()?;
    assert!(rest.is_empty(), "the walk and rmpv agree on {bytes:02x?}");
    Some(value)
}

/// Reads a payload; `None` if there is no event in it.
pub fn content(payload: &[u8]) -> Option<Content> {
    let Value::Map(pairs) = value(payload)? else {
        return None;
    };
    // If a key is repeated, the last one counts.
    let entry = |name: &str| {
        let named = |key: &Value| is_str(key, name) || *key == Value::Binary(name.into());
        pairs.iter().rev().find(|(key, _)| named(key))
    };
    let (_, body) = entry("body")?;
    let body = match body {
        Value::Binary(bytes) => bytes.as_slice(),
        Value::String(text) => text.as_bytes(),
        _ => return None,
    };
    let end = body.windows(2).position(|two| two == b"\n\n")?;
    let (tag, data) = (&body[..end], &body[end + 2..]);
    if tag.is_empty() || tag.len() > MAX_TAG_BYTES {
        return None;
    }
    let head = head(entry("head").map(|(_, head)| head))?;
    // A map around a body does not count as a level.
    let around = head.as_ref().is_some_and(|head| head.wrap);
    let whole = value(data)?;
    if !is_sound(&whole, MAX_DEPTH + usize::from(around)) {
        return None;
    }
    let Value::Map(map) = whole else {
        return None;
    };
    Some(Content {
        tag: String::from_utf8(tag.to_vec()).ok()?,
        data: data.to_vec(),
        map,
        head,
    })
}

/// Whether a payload says that it comes from an evbus program, whatever else is wrong with it.
pub fn is_of_evbus(payload: &[u8]) -> bool {
    let Some(Value::Map(pairs)) = value(payload) else {
        return false;
    };
    let named = |key: &Value| is_str(key, "head") || *key == Value::Binary("head".into());
    // If a key is repeated, the last one counts.
    match pairs.iter().rev().find(|(key, _)| named(key)) {
        Some((_, Value::Map(head))) => head.iter().any(|(key, _)| is_str(key, "evbus")),
        _ => false,
    }
}

/// Whether a key or a value is this text.
pub fn is_str(value: &Value, text: &str) -> bool {
    matches!(value, Value::String(found) if found.as_bytes() == text.as_bytes())
}

/// Nested to at most this depth, and without containers as keys.
fn is_sound(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(_) | Value::Map(_) if levels == 0 => false,
        Value::Array(items) => items.iter().all(|item| is_sound(item, levels - 1)),
        Value::Map(pairs) => pairs.iter().all(|(key, value)| {
            !matches!(key, Value::Array(_) | Value::Map(_)) && is_sound(value, levels - 1)
        }),
        _ => true,
    }
}

/// Reads the `evbus` entry: `Some(None)` if there is none, `None` if it is invalid.
#[allow(clippy::option_option, reason = "absent and useless are two things")]
fn head(head: Option<&Value>) -> Option<Option<Head>> {
    let Some(Value::Map(head)) = head else {
        return Some(None);
    };
    // If a key is repeated, the first one counts.
    let Some((_, entry)) = head.iter().find(|(key, _)| is_str(key, "evbus")) else {
        return Some(None);
    };
    let Value::Map(entry) = entry else {
        return None;
    };
    let (mut id, mut time, mut wrap, mut json) = (None, None, false, None);
    for (key, value) in entry {
        if is_str(key, "id") {
            let Value::Binary(bytes) = value else {
                return None;
            };
            id = bytes.as_slice().try_into().ok();
        } else if is_str(key, "time") {
            time = Some(value.as_u64()?);
        } else if is_str(key, "wrap") {
            wrap = value.as_bool()?;
        } else if is_str(key, "json") {
            let Value::String(text) = value else {
                return None;
            };
            json = Some(text.as_bytes().to_vec());
        }
    }
    Some(Some(Head {
        id: id?,
        time: time?,
        wrap,
        json,
    }))
}
