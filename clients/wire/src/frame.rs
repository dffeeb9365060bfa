//! Frames: where they end in a stream, and what they contain.

use crate::MAX_DEPTH;
use crate::encode::{SALT_OPENING, TAG_END};
use crate::mapping::{JsonWriter, NoJson, check_data};
use crate::token::{self, Head, Stop, Token};

/// The longest frame, in bytes, without its length prefix: the limit of Salt's own servers and
/// clients.
pub const MAX_FRAME_BYTES: usize = 100 * 1024 * 1024;

/// How frames are separated on the socket that listeners read. It cannot be detected, because a
/// listener sends nothing: each socket directory has one framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Framing {
    /// Frames follow one another directly: every release of Salt but 3006.26 and later 3006.
    #[default]
    Bare,
    /// Each frame is preceded by its length in 4 bytes: Salt 3006.26 and later 3006.
    Prefixed,
}

/// Bytes that are not a frame. Where the next frame begins is unknown, so the connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LostSync {
    /// The first byte of a frame starts neither a msgpack map nor a length.
    #[error(
        "found byte {0:#04x} where a frame begins; expected a msgpack map, or a length of 4 bytes and a map"
    )]
    NoFrame(u8),
    /// The frame, or what it announces, is longer than [`MAX_FRAME_BYTES`].
    #[error("the frame is longer than the maximum of {MAX_FRAME_BYTES} bytes")]
    TooLong,
    /// The length before the frame is zero.
    #[error("found a frame of length 0; expected a msgpack map")]
    Empty,
    /// The frame is not msgpack.
    #[error("found byte 0xc1 in a frame, which msgpack never uses")]
    Reserved,
}

/// Finds the frames in a stream. Bare and prefixed frames are told apart one by one.
///
/// It keeps no bytes, but remembers how much of an unfinished frame it has scanned, so that a frame
/// that arrives in many pieces is scanned only once.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// How many bytes of a bare frame have been walked.
    walked: usize,
    /// How many values the frame still has.
    left: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self { walked: 0, left: 1 }
    }

    /// The payload of the frame at the front of `input`, and how many bytes the frame takes; `None`
    /// until the frame is complete. Until then each call must pass the same bytes at the front.
    ///
    /// # Errors
    ///
    /// The input is not a frame; nothing after it can be read.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, LostSync> {
        match input.first() {
            None => Ok(None),
            Some(0..0x80) => prefixed(input),
            Some(0x80..=0x8f | 0xde | 0xdf) => self.bare(input),
            Some(&byte) => Err(LostSync::NoFrame(byte)),
        }
    }

    fn bare<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, LostSync> {
        // Of an unfinished frame something has been walked, except the first time.
        if self.walked == 0
            && let Some(payload) = salt_frame(input)
        {
            return Ok(Some((payload, payload.len())));
        }
        while self.left > 0 {
            let rest = input.get(self.walked..).unwrap_or_default();
            let head = match Head::read(rest) {
                Ok(head) => head,
                Err(Stop::Incomplete) => return Ok(None),
                Err(Stop::Reserved) => return Err(LostSync::Reserved),
            };
            let walked = self.walked + head.len();
            let left = (self.left - 1).saturating_add(head.children);
            // Every value has at least one byte.
            if walked as u64 + left > MAX_FRAME_BYTES as u64 {
                return Err(LostSync::TooLong);
            }
            (self.walked, self.left) = (walked, left);
        }
        let Some(payload) = input.get(..self.walked) else {
            return Ok(None);
        };
        *self = Self::new();
        Ok(Some((payload, payload.len())))
    }
}

/// The frame at the front of `input`, if it is whole and begins as all of Salt's do: what a walk over its values
/// would find, without one.
#[inline]
fn salt_frame(input: &[u8]) -> Option<&[u8]> {
    let body = Head::read(input.strip_prefix(SALT_OPENING)?).ok()?;
    let len = SALT_OPENING.len() + body.len();
    if body.children > 0 || len > MAX_FRAME_BYTES {
        return None;
    }
    input.get(..len)
}

fn prefixed(input: &[u8]) -> Result<Option<(&[u8], usize)>, LostSync> {
    let Some((prefix, rest)) = input.split_first_chunk() else {
        return Ok(None);
    };
    match u32::from_be_bytes(*prefix) as usize {
        0 => Err(LostSync::Empty),
        len if len > MAX_FRAME_BYTES => Err(LostSync::TooLong),
        len => Ok(rest.get(..len).map(|payload| (payload, 4 + len))),
    }
}

/// Why one frame contains no event; later frames are not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The payload is not exactly one map.
    #[error("it is not one msgpack map")]
    NoMap,
    /// There is no body, or it is neither bin nor str.
    #[error("it has no \"body\"; expected one of type bin")]
    NoBody,
    /// The end of the tag is missing.
    #[error("its \"body\" lacks the two newlines that end the tag")]
    NoTag,
    /// The tag before the two newlines is empty.
    #[error("its tag is empty")]
    EmptyTag,
    /// The tag is not UTF-8.
    #[error("its tag is not UTF-8")]
    TagNotText,
    /// The tag is longer than [`MAX_TAG_BYTES`](crate::MAX_TAG_BYTES).
    #[error("its tag is longer than 65536 bytes")]
    LongTag,
    /// DATA is not one map with a JSON form; with the reason.
    #[error("its data cannot be used: {0}")]
    Data(&'static str),
    /// The head's `evbus` entry lacks a value or has a value of a wrong type.
    #[error("its head has an invalid \"evbus\"; expected id, time, and json or wrap")]
    Head,
    /// The body is not valid for an event.
    #[error("its body is invalid")]
    Body,
}

/// What a frame contains.
#[derive(Debug, Clone, PartialEq)]
pub struct Content<'a> {
    /// The tag, which is the event's profile.
    pub tag: &'a str,
    /// One msgpack map, if it has been checked.
    pub data: &'a [u8],
    /// What an evbus program wrote in the head; `None` if a Salt program fired the event.
    pub head: Option<EvbusHead<'a>>,
    /// The payload, where it has exactly the form in which Salt's events leave.
    pub(crate) canonical: Option<&'a [u8]>,
}

/// The body in a payload that is byte for byte what [`Frame::of_salt`](crate::Frame::of_salt) writes,
/// as all that programs of Salt's fire is.
#[inline]
fn canonical_body(payload: &[u8]) -> Option<&[u8]> {
    let (body, len) = match payload.strip_prefix(SALT_OPENING)? {
        [0xc4, len, body @ ..] => (body, usize::from(*len)),
        [0xc5, a, b, body @ ..] if *a > 0 => (body, usize::from(u16::from_be_bytes([*a, *b]))),
        [0xc6, a, b, c, d, body @ ..] if (*a, *b) != (0, 0) => {
            (body, u32::from_be_bytes([*a, *b, *c, *d]) as usize)
        }
        _ => return None,
    };
    (body.len() == len).then_some(body)
}

/// The entry `evbus` of a frame's head.
#[derive(Debug, Clone, PartialEq)]
pub struct EvbusHead<'a> {
    /// The event's id.
    pub id: [u8; 16],
    /// When it was fired, in nanoseconds since the Unix epoch.
    pub time_unix_ns: u64,
    /// Whether the body is the value under `body` in DATA, not DATA itself.
    pub wrap: bool,
    /// The body's exact text.
    pub json: Option<&'a [u8]>,
}

impl<'a> Content<'a> {
    /// Reads and checks a payload.
    ///
    /// # Errors
    ///
    /// It contains no event.
    pub fn read(payload: &'a [u8]) -> Result<Self, Fault> {
        let content = Self::find(payload)?;
        content.check()?;
        Ok(content)
    }

    /// Finds tag and DATA in a payload. Whether DATA is one map is not checked: a [`JsonWriter`] does so
    /// while it writes them, and else [`Self::check`] is for that.
    ///
    /// # Errors
    ///
    /// It contains no event.
    pub fn find(payload: &'a [u8]) -> Result<Self, Fault> {
        Self::find_after(payload, "")
    }

    /// As [`find`](Self::find), but faster if the tag is `last`, that of another frame.
    ///
    /// # Errors
    ///
    /// It contains no event.
    #[inline]
    pub fn find_after(payload: &'a [u8], last: &'a str) -> Result<Self, Fault> {
        if let Some(body) = canonical_body(payload) {
            let (tag, data) = event(body, last)?;
            return Ok(Self {
                tag,
                data,
                head: None,
                canonical: Some(payload),
            });
        }
        Self::find_entries(payload, last)
    }

    /// As [`find_after`](Self::find_after), in a payload of any form.
    fn find_entries(payload: &'a [u8], last: &'a str) -> Result<Self, Fault> {
        let Entries { body, head } = entries(payload)?;
        let (Token::Bin(body) | Token::Str(body)) =
            token::read(&mut body.ok_or(Fault::NoBody)?).map_err(|_| Fault::NoMap)?
        else {
            return Err(Fault::NoBody);
        };
        let head = head.map_or(Ok(None), EvbusHead::find)?;
        let (tag, data) = event(body, last)?;
        Ok(Self {
            tag,
            data,
            head,
            canonical: None,
        })
    }

    /// Whether a payload comes from an evbus program, even if it contains no event.
    pub fn is_of_evbus(payload: &[u8]) -> bool {
        match entries(payload) {
            Ok(Entries {
                head: Some(head), ..
            }) => !matches!(EvbusHead::find(head), Ok(None)),
            _ => false,
        }
    }

    /// Checks that DATA is one map that has a JSON form, unless that is too long.
    ///
    /// # Errors
    ///
    /// [`Fault::Data`], with the reason.
    pub fn check(&self) -> Result<(), Fault> {
        // The map around a body is none of its levels.
        let around = self.head.as_ref().is_some_and(|head| head.wrap);
        check_data(self.data, MAX_DEPTH + usize::from(around)).map_err(Fault::Data)
    }

    /// The event's body: the JSON text that an evbus program fired, or else, written by `writer`, what
    /// it fired or DATA.
    ///
    /// # Errors
    ///
    /// The text would be longer than a body may be, or DATA, if it was not checked, is not one map.
    pub fn write_body(&self, writer: &mut JsonWriter) -> Result<Option<&'a [u8]>, NoJson> {
        match &self.head {
            None => writer.flat(self.data)?,
            Some(EvbusHead {
                json: Some(json), ..
            }) => return Ok(Some(json)),
            Some(head) if head.wrap => {
                writer.value(wrapped(self.data).ok_or("DATA has no \"body\"")?)?;
            }
            Some(_) => writer.unstamped(self.data)?,
        }
        Ok(None)
    }

    /// The event's body as JSON text: exactly what an evbus program fired, or DATA.
    ///
    /// # Errors
    ///
    /// One sentence: the text would be longer than a body may be.
    pub fn body_json(&self) -> Result<Vec<u8>, String> {
        let mut writer = JsonWriter::default();
        let exact = (self.write_body(&mut writer)).map_err(|error| error.to_string())?;
        Ok(exact.map_or_else(|| writer.into_text().into_bytes(), <[u8]>::to_vec))
    }
}

/// The values in a payload that count.
struct Entries<'a> {
    body: Option<&'a [u8]>,
    head: Option<&'a [u8]>,
}

/// Finds the entries of a payload, which is one map. The last of several with one key counts.
fn entries(payload: &[u8]) -> Result<Entries<'_>, Fault> {
    let mut rest = payload;
    let Ok(Token::Map(pairs)) = token::read(&mut rest) else {
        return Err(Fault::NoMap);
    };
    let (mut body, mut head) = (None, None);
    for _ in 0..pairs {
        let key = token::skip(&mut rest).map_err(|_| Fault::NoMap)?;
        let value = token::skip(&mut rest).map_err(|_| Fault::NoMap)?;
        match token::read(&mut &*key) {
            Ok(Token::Str(b"body") | Token::Bin(b"body")) => body = Some(value),
            Ok(Token::Str(b"head") | Token::Bin(b"head")) => head = Some(value),
            _ => {}
        }
    }
    if rest.is_empty() {
        Ok(Entries { body, head })
    } else {
        Err(Fault::NoMap)
    }
}

/// The tag and DATA in a frame's body; the tag is checked, unless it is `last`, which was.
#[inline]
fn event<'a>(body: &'a [u8], last: &'a str) -> Result<(&'a str, &'a [u8]), Fault> {
    // No two newlines are in a tag, and none is at its end, so this is where it ends.
    if let Some(rest) = body.strip_prefix(last.as_bytes())
        && let Some(data) = rest.strip_prefix(TAG_END)
        && !last.is_empty()
    {
        return Ok((last, data));
    }
    any_event(body)
}

fn any_event(body: &[u8]) -> Result<(&str, &[u8]), Fault> {
    // The end is near the beginning: a search for both newlines takes longer to prepare than to do.
    let end = memchr::memchr_iter(b'\n', body)
        .find(|at| body.get(at + 1) == Some(&b'\n'))
        .ok_or(Fault::NoTag)?;
    let (tag, data) = (&body[..end], &body[end + 2..]);
    if tag.is_empty() {
        return Err(Fault::EmptyTag);
    }
    if tag.len() > crate::MAX_TAG_BYTES {
        return Err(Fault::LongTag);
    }
    let tag = std::str::from_utf8(tag).map_err(|_| Fault::TagNotText)?;
    Ok((tag, data))
}

/// The value under `body` in DATA.
fn wrapped(mut data: &[u8]) -> Option<&[u8]> {
    let Ok(Token::Map(pairs)) = token::read(&mut data) else {
        return None;
    };
    for _ in 0..pairs {
        let key = token::skip(&mut data).ok()?;
        let value = token::skip(&mut data).ok()?;
        if token::read(&mut &*key) == Ok(Token::Str(b"body")) {
            return Some(value);
        }
    }
    None
}

impl<'a> EvbusHead<'a> {
    /// Finds the entry in the value of a frame's head, which may be anything.
    fn find(mut head: &'a [u8]) -> Result<Option<Self>, Fault> {
        let Ok(Token::Map(pairs)) = token::read(&mut head) else {
            return Ok(None);
        };
        for _ in 0..pairs {
            let key = token::skip(&mut head).map_err(|_| Fault::NoMap)?;
            let value = token::skip(&mut head).map_err(|_| Fault::NoMap)?;
            if token::read(&mut &*key) == Ok(Token::Str(b"evbus")) {
                return Self::read(value).ok_or(Fault::Head).map(Some);
            }
        }
        Ok(None)
    }

    /// Reads the entry; keys it does not know are those of a later release.
    fn read(mut entry: &'a [u8]) -> Option<Self> {
        let Ok(Token::Map(pairs)) = token::read(&mut entry) else {
            return None;
        };
        let (mut id, mut time_unix_ns, mut wrap, mut json) = (None, None, false, None);
        for _ in 0..pairs {
            let key = token::skip(&mut entry).ok()?;
            let value = token::read(&mut token::skip(&mut entry).ok()?).ok()?;
            match (token::read(&mut &*key), value) {
                (Ok(Token::Str(b"id")), Token::Bin(bytes)) => id = bytes.try_into().ok(),
                (Ok(Token::Str(b"time")), Token::Uint(time)) => time_unix_ns = Some(time),
                (Ok(Token::Str(b"wrap")), Token::True) => wrap = true,
                (Ok(Token::Str(b"wrap")), Token::False) => wrap = false,
                (Ok(Token::Str(b"json")), Token::Str(text)) => json = Some(text),
                (Ok(Token::Str(b"id" | b"time" | b"wrap" | b"json")), _) => return None,
                _ => {}
            }
        }
        Some(Self {
            id: id?,
            time_unix_ns: time_unix_ns?,
            wrap,
            json,
        })
    }
}
