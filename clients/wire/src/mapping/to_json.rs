//! msgpack to JSON text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use smallvec::SmallVec;

use super::json_string;
use super::string_tags::StringTags;
use super::{KEPT_BYTES, STAMP, TAGS, TAGS_LEVEL};
use crate::token::{self, Head, Stop, Token};
use crate::{MAX_BODY_BYTES, MAX_DEPTH};

/// Salt's extension type for a datetime; its payload is text.
const EXT_DATETIME: i64 = 78;

/// Writes DATA, one msgpack map, as JSON text.
///
/// # Errors
///
/// One sentence about the fault: DATA is not exactly one well-formed map, is nested more than
/// [`MAX_DEPTH`] + 1 levels deep (a body of [`MAX_DEPTH`] levels may be inside a map), has a container as a key,
/// or is more than [`MAX_BODY_BYTES`] long as JSON.
pub fn data_to_json(data: &[u8]) -> Result<Vec<u8>, String> {
    let mut writer = JsonWriter::default();
    writer.data(data).map_err(|error| error.to_string())?;
    Ok(writer.into_text().into_bytes())
}

/// Writes one msgpack value of any type as JSON text.
///
/// # Errors
///
/// As [`data_to_json`], except that the value need not be a map, and the limit is [`MAX_DEPTH`] levels.
pub fn value_to_json(value: &[u8]) -> Result<Vec<u8>, String> {
    let mut writer = JsonWriter::default();
    writer.value(value).map_err(|error| error.to_string())?;
    Ok(writer.into_text().into_bytes())
}

/// Writes msgpack as JSON text, one value after the other, in memory that it keeps, and finds the string
/// tags of each on the way.
#[derive(Debug, Default)]
pub struct JsonWriter {
    text: String,
    open: Vec<Open>,
    tags: StringTags,
}

/// Why a value has no JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoJson {
    /// It is not well-formed, or is not what is expected; with the reason.
    #[error("{0}")]
    Malformed(&'static str),
    /// The text would be longer than [`MAX_BODY_BYTES`].
    #[error("its JSON text is longer than 100 MiB")]
    TooLong,
}

impl From<&'static str> for NoJson {
    fn from(reason: &'static str) -> Self {
        Self::Malformed(reason)
    }
}

impl JsonWriter {
    /// Writes DATA, as [`data_to_json`] does.
    ///
    /// # Errors
    ///
    /// As [`data_to_json`].
    pub fn data(&mut self, data: &[u8]) -> Result<(), NoJson> {
        opens_map(data)?;
        self.whole(data, false, MAX_DEPTH + 1)
    }

    /// As [`Self::data`], of at most [`MAX_DEPTH`] levels.
    pub(crate) fn flat(&mut self, data: &[u8]) -> Result<(), NoJson> {
        opens_map(data)?;
        self.whole(data, false, MAX_DEPTH)
    }

    /// As [`Self::data`], without the top-level key `_stamp`.
    pub(crate) fn unstamped(&mut self, data: &[u8]) -> Result<(), NoJson> {
        opens_map(data)?;
        self.whole(data, true, MAX_DEPTH)
    }

    /// Writes a value, as [`value_to_json`] does.
    ///
    /// # Errors
    ///
    /// As [`value_to_json`].
    pub fn value(&mut self, value: &[u8]) -> Result<(), NoJson> {
        self.whole(value, false, MAX_DEPTH)
    }

    /// Lets go of memory beyond what ordinary values need, and of the last value.
    pub fn trim(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT_BYTES);
        self.tags.clear();
        self.tags.trim(KEPT_BYTES);
        self.open.clear();
    }

    /// The text of the last value that was written; part of one after an error.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// That text, which ends the writer.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The string tags of that value, if it is a map with one key `tags` whose value is a map.
    pub fn tags(&self) -> &StringTags {
        &self.tags
    }

    fn whole(&mut self, input: &[u8], without_stamp: bool, levels: usize) -> Result<(), NoJson> {
        match self.attempt::<false>(input, without_stamp, levels) {
            // Bytes that are not UTF-8 are shorter as base64 than with escapes.
            Err(Refused::NotUtf8 | Refused::NoJson(NoJson::TooLong)) => {}
            other => return other.map_err(Refused::into_reason),
        }
        (self.attempt::<true>(input, without_stamp, levels)).map_err(Refused::into_reason)
    }

    /// Writes the value, taking its texts for UTF-8 unless `CHECKED`. Whether they are is then checked of all
    /// that was written, at once: what stands between texts is ASCII, so it neither mends nor breaks one.
    fn attempt<const CHECKED: bool>(
        &mut self,
        input: &[u8],
        without_stamp: bool,
        levels: usize,
    ) -> Result<(), Refused> {
        let mut out = std::mem::take(&mut self.text).into_bytes();
        out.clear();
        out.reserve(input.len() + input.len() / 4);
        self.open.clear();
        self.tags.clear();
        let mut rest = input;
        let written = self.write_value::<CHECKED>(&mut rest, &mut out, without_stamp, levels);
        match String::from_utf8(out) {
            Ok(text) => self.text = text,
            Err(error) => {
                // The memory is used again.
                let mut out = error.into_bytes();
                out.clear();
                self.text = String::from_utf8(out).unwrap_or_default();
                return Err(Refused::NotUtf8);
            }
        }
        self.tags.finish();
        written.map_err(Refused::NoJson)?;
        at_end(rest).map_err(|reason| Refused::NoJson(reason.into()))
    }
}

/// Why an attempt to write a value failed.
enum Refused {
    NoJson(NoJson),
    /// A text in it is not UTF-8.
    NotUtf8,
}

impl Refused {
    fn into_reason(self) -> NoJson {
        match self {
            Self::NoJson(reason) => reason,
            Self::NotUtf8 => NoJson::Malformed("a text in it is not UTF-8"),
        }
    }
}

/// Checks, without writing anything, that [`data_to_json`] can write `data` (unless the text would be too long),
/// and that it has at most `levels`.
pub(crate) fn check_data(data: &[u8], levels: usize) -> Result<(), &'static str> {
    let map = opens_map(data)?;
    let mut rest = &data[map.len()..];
    // How many values remain in the innermost open container, and whether it is a map. A pair of a map counts
    // twice, so a key is next if the number is even.
    let (mut left, mut is_map) = (map.children, true);
    // The same for the containers around it. Few events have many, so nothing is allocated for most.
    let mut outer = SmallVec::<[_; 8]>::new();
    loop {
        while left == 0 {
            let Some(around) = outer.pop() else {
                return at_end(rest);
            };
            (left, is_map) = around;
        }
        let head = Head::read(rest).map_err(malformed)?;
        rest = rest.get(head.len()..).ok_or(malformed(Stop::Incomplete))?;
        let is_key = is_map && left % 2 == 0;
        left -= 1;
        if head.is_container() {
            if is_key {
                return Err(CONTAINER_KEY);
            }
            // Plus the innermost one, which is not in the list.
            if outer.len() + 1 == levels {
                return Err(TOO_DEEP);
            }
            outer.push((left, is_map));
            (left, is_map) = (head.children, head.is_map());
        }
    }
}

const TOO_DEEP: &str = "it is nested more than 128 levels deep";
const CONTAINER_KEY: &str = "a map key is a map or an array; expected a scalar";

fn opens_map(data: &[u8]) -> Result<Head, &'static str> {
    match Head::read(data) {
        Ok(head) if head.is_map() => Ok(head),
        Ok(_) | Err(Stop::Reserved) => Err("it is not a msgpack map"),
        Err(Stop::Incomplete) => Err(malformed(Stop::Incomplete)),
    }
}

fn at_end(rest: &[u8]) -> Result<(), &'static str> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err("bytes follow its end")
    }
}

fn malformed(stop: Stop) -> &'static str {
    match stop {
        Stop::Incomplete => "the msgpack ends within a value",
        Stop::Reserved => "the msgpack has the byte c1, which is never used",
    }
}

/// An array or map that has been opened and not closed.
#[derive(Debug)]
struct Open {
    left: u64,
    is_map: bool,
    is_first: bool,
}

impl JsonWriter {
    fn write_value<const CHECKED: bool>(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        without_stamp: bool,
        levels: usize,
    ) -> Result<(), NoJson> {
        let Self { open, tags, .. } = self;
        // The value that comes is the one of the top-level key `tags`.
        let mut opens_tags = false;
        let mut is_in_tags = false;
        let mut has_tags = false;
        loop {
            let start = out.len();
            match token::read(input).map_err(malformed)? {
                Token::Array(left) => {
                    out.push(b'[');
                    push(open, left, false, levels)?;
                }
                Token::Map(left) => {
                    out.push(b'{');
                    push(open, left, true, levels)?;
                    is_in_tags |= opens_tags;
                }
                scalar => {
                    write_scalar::<CHECKED>(scalar, out);
                    if is_in_tags
                        && open.len() == TAGS_LEVEL
                        && let Some(value) = as_text(scalar, &out[start..])
                    {
                        tags.value(value);
                    }
                }
            }
            opens_tags = false;
            if out.len() > MAX_BODY_BYTES {
                return Err(NoJson::TooLong);
            }
            // To the next value: past closing brackets, commas and keys.
            loop {
                let depth = open.len();
                let Some(top) = open.last_mut() else {
                    return Ok(());
                };
                if top.left == 0 {
                    out.push(if top.is_map { b'}' } else { b']' });
                    open.pop();
                    is_in_tags &= depth > TAGS_LEVEL;
                    continue;
                }
                top.left -= 1;
                let next = if top.is_map {
                    let next = token::read(input).map_err(malformed)?;
                    if depth == 1 {
                        if without_stamp && next == Token::Str(STAMP) {
                            token::skip(input).map_err(malformed)?;
                            continue;
                        }
                        if next == Token::Str(TAGS) {
                            // Of two, it is not known which one counts.
                            tags.clear();
                            opens_tags = !has_tags;
                            has_tags = true;
                        }
                    }
                    Some(next)
                } else {
                    None
                };
                if !std::mem::take(&mut top.is_first) {
                    out.push(b',');
                }
                if let Some(next) = next {
                    let start = out.len();
                    write_key::<CHECKED>(next, out)?;
                    if out.len() > MAX_BODY_BYTES {
                        return Err(NoJson::TooLong);
                    }
                    if is_in_tags && depth == TAGS_LEVEL {
                        tags.key(as_text(next, &out[start..]).unwrap_or_default());
                    }
                    out.push(b':');
                }
                break;
            }
        }
    }
}

/// The text of a scalar that was written as a JSON string; `None` if it was written as anything else.
fn as_text<'a>(scalar: Token<'a>, written: &'a [u8]) -> Option<&'a str> {
    let inner = written.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let text = match scalar {
        // Only a text may be escaped; one that is not UTF-8 was written as base64.
        Token::Str(text) | Token::Ext(EXT_DATETIME, text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    text.or_else(|| std::str::from_utf8(inner).ok())
}

fn push(open: &mut Vec<Open>, left: u64, is_map: bool, levels: usize) -> Result<(), &'static str> {
    if open.len() == levels {
        return Err(TOO_DEEP);
    }
    open.push(Open {
        left,
        is_map,
        is_first: true,
    });
    Ok(())
}

fn write_key<const CHECKED: bool>(key: Token<'_>, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match key {
        Token::Str(text) | Token::Ext(EXT_DATETIME, text) => {
            if CHECKED && std::str::from_utf8(text).is_err() {
                base64(text, out);
            } else {
                json_string::write(text, out);
            }
        }
        Token::Bin(bytes) | Token::Ext(_, bytes) => base64(bytes, out),
        Token::Float(value) if !value.is_finite() => write_scalar::<CHECKED>(key, out),
        Token::Array(_) | Token::Map(_) => return Err(CONTAINER_KEY),
        Token::Nil
        | Token::False
        | Token::True
        | Token::Uint(_)
        | Token::Int(_)
        | Token::Float(_) => {
            out.push(b'"');
            write_scalar::<CHECKED>(key, out);
            out.push(b'"');
        }
    }
    Ok(())
}

fn write_scalar<const CHECKED: bool>(scalar: Token<'_>, out: &mut Vec<u8>) {
    match scalar {
        Token::Nil => out.extend_from_slice(b"null"),
        Token::False => out.extend_from_slice(b"false"),
        Token::True => out.extend_from_slice(b"true"),
        Token::Uint(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Token::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Token::Float(value) if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
        Token::Float(f64::INFINITY) => out.extend_from_slice(b"\"Infinity\""),
        Token::Float(f64::NEG_INFINITY) => out.extend_from_slice(b"\"-Infinity\""),
        Token::Float(value) => float(value, out),
        Token::Str(text) | Token::Ext(EXT_DATETIME, text) => {
            if CHECKED && std::str::from_utf8(text).is_err() {
                write_bytes(text, out);
            } else {
                json_string::write(text, out);
            }
        }
        Token::Bin(bytes) => write_bytes(bytes, out),
        Token::Ext(kind, bytes) => {
            out.extend_from_slice(b"{\"__ext__\":");
            out.extend_from_slice(itoa::Buffer::new().format(kind).as_bytes());
            out.extend_from_slice(b",\"__bytes__\":");
            base64(bytes, out);
            out.push(b'}');
        }
        // The callers open containers themselves.
        Token::Array(_) | Token::Map(_) => {}
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"__bytes__\":");
    base64(bytes, out);
    out.push(b'}');
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    // The length overflows only for more bytes than memory holds.
    let len = base64::encoded_len(bytes.len(), true).unwrap_or(0);
    out.resize(start + len, 0);
    let _ = BASE64.encode_slice(bytes, &mut out[start..]);
    out.push(b'"');
}

/// A float as the shortest JSON number that reads back as the same.
fn float(value: f64, out: &mut Vec<u8>) {
    // A finite number can always be written, and a rare one may cost an allocation.
    out.extend_from_slice(&serde_json::to_vec(&value).unwrap_or_default());
}
