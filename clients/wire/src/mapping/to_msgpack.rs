//! JSON text to msgpack, in one pass over the text, which checks the text and finds its string tags.

use super::{KEPT_BYTES, STAMP, StringTags, TAGS, TAGS_LEVEL};
use crate::json::{Expected, JsonKind, JsonTokens, decode, float};
use crate::{MAX_DEPTH, pack, stamp};

/// Writes JSON text as msgpack.
///
/// # Errors
///
/// One sentence about what is not JSON, with the byte at which it stands; or the text is nested
/// more than [`MAX_DEPTH`] levels deep.
pub fn json_to_msgpack(json: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = JsonReader::default();
    reader.out.reserve(json.len() + 16);
    reader.walk::<true>(json, None)?;
    Ok(reader.out)
}

/// Reads JSON texts, one after the other: a walk over each checks it and finds its string tags, and writes
/// DATA if they are needed. Keeps its memory.
#[derive(Debug, Default)]
pub struct JsonReader {
    out: Vec<u8>,
    is_wrapped: bool,
    open: Vec<Open>,
    tags: StringTags,
    /// A string with escapes, decoded.
    decoded: String,
}

impl JsonReader {
    /// Checks that `json` is one JSON value that is not nested too deeply, and finds its string tags. Returns
    /// it as text.
    ///
    /// # Errors
    ///
    /// As [`json_to_msgpack`].
    pub fn check<'a>(&mut self, json: &'a [u8]) -> Result<&'a str, String> {
        let (text, _) = self.walk::<false>(json, None)?;
        Ok(text)
    }

    /// As [`check`](Self::check), and writes DATA for [`Frame::of_read`](crate::Frame::of_read): the body's
    /// msgpack form with `_stamp`, the time it was fired.
    ///
    /// # Errors
    ///
    /// As [`json_to_msgpack`].
    pub fn check_and_write<'a>(
        &mut self,
        json: &'a [u8],
        time_unix_ns: u64,
    ) -> Result<&'a str, String> {
        let stamp = stamp(time_unix_ns);
        let (text, is_stamped) = self.walk::<true>(json, Some(&stamp))?;
        self.is_wrapped = !is_stamped;
        if is_stamped {
            return Ok(text);
        }
        let mut opening = Vec::with_capacity(8);
        pack::map(&mut opening, 2);
        pack::str(&mut opening, b"body");
        self.out.splice(..0, opening);
        pack::str(&mut self.out, STAMP);
        pack::str(&mut self.out, stamp.as_bytes());
        Ok(text)
    }

    /// DATA of the last text that was written so.
    pub(crate) fn data(&self) -> &[u8] {
        &self.out
    }

    /// These DATA, which ends the reader.
    pub(crate) fn into_data(self) -> Vec<u8> {
        self.out
    }

    /// Whether these DATA are `{"body": <the body>, "_stamp": ...}`, because the body is not a map, or already has a
    /// `_stamp`; otherwise they are the body with `_stamp` added.
    pub(crate) fn is_wrapped(&self) -> bool {
        self.is_wrapped
    }

    /// The string tags of the last text, if it is an object with one key `tags` whose value is an object.
    pub fn tags(&self) -> &StringTags {
        &self.tags
    }

    /// Lets go of memory beyond what ordinary texts need, and of the last text.
    pub fn trim(&mut self) {
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        self.decoded.clear();
        self.decoded.shrink_to(KEPT_BYTES);
        self.tags.clear();
        self.tags.trim(KEPT_BYTES);
        self.open.clear();
    }

    /// Walks over a whole text. Returns it, and whether `stamp` is in what was written.
    fn walk<'a, const WRITES: bool>(
        &mut self,
        json: &'a [u8],
        stamp: Option<&str>,
    ) -> Result<(&'a str, bool), String> {
        self.out.clear();
        self.open.clear();
        self.tags.clear();
        let mut walk = Walk::<WRITES> {
            tokens: JsonTokens::new(json)?,
            out: &mut self.out,
            open: &mut self.open,
            tags: &mut self.tags,
            decoded: &mut self.decoded,
            stamp,
            place: Place::default(),
        };
        let stamped = (walk.whole()).map_err(|expected| walk.tokens.fault(expected))?;
        let text = walk.tokens.text();
        self.tags.finish();
        Ok((text, stamped))
    }
}

/// An array or object that has been opened and not closed.
#[derive(Debug)]
struct Open {
    /// Where its one-byte header is in the output.
    header: usize,
    count: u32,
    is_map: bool,
}

/// Where a walk is, as far as tags are concerned.
#[derive(Debug, Default)]
struct Place {
    has_tags: bool,
    is_in_tags: bool,
    coming: Coming,
}

/// What the next value is.
#[derive(Debug, Default, PartialEq)]
enum Coming {
    #[default]
    Any,
    /// That of the top-level key `tags`, the first of this name.
    Tags,
    /// That of a tag whose key is a text.
    Tag,
}

/// One walk over a text. It writes msgpack if `WRITES`.
struct Walk<'a, 'r, const WRITES: bool> {
    tokens: JsonTokens<'a>,
    out: &'r mut Vec<u8>,
    open: &'r mut Vec<Open>,
    tags: &'r mut StringTags,
    decoded: &'r mut String,
    /// What is still to be added to the outermost map.
    stamp: Option<&'r str>,
    place: Place,
}

type Result<T, E = Expected> = std::result::Result<T, E>;

impl<const WRITES: bool> Walk<'_, '_, WRITES> {
    /// Walks to the end. Returns whether the stamp was written.
    fn whole(&mut self) -> Result<bool> {
        let mut stamped = false;
        let mut kind = self.tokens.step()?;
        'values: loop {
            let mut complete = !self.value(kind)?;
            // Continue to the next value: past closing brackets, commas and keys.
            while let Some(top) = self.open.last_mut() {
                top.count += u32::from(complete);
                let is_map = top.is_map;
                kind = self.tokens.step()?;
                match kind {
                    JsonKind::CloseObject if is_map => {}
                    JsonKind::CloseArray if !is_map => {}
                    JsonKind::Comma if complete => {
                        kind = self.tokens.step()?;
                        kind = self.item(is_map, kind)?;
                        continue 'values;
                    }
                    JsonKind::End => return Err(Expected::CommaOrBracket),
                    // The container has just been opened.
                    _ if !complete => {
                        kind = self.item(is_map, kind)?;
                        continue 'values;
                    }
                    _ => return Err(Expected::CommaOrBracket),
                }
                stamped |= self.close();
                complete = true;
            }
            break;
        }
        match self.tokens.step()? {
            JsonKind::End => Ok(stamped),
            _ => Err(Expected::End),
        }
    }

    /// Writes a scalar, or opens a container. Returns whether it did the latter.
    #[inline]
    fn value(&mut self, kind: JsonKind) -> Result<bool> {
        let coming = std::mem::take(&mut self.place.coming);
        match kind {
            JsonKind::String | JsonKind::Escaped => {
                let (text, is_exact) = text_of(&self.tokens, kind, self.decoded);
                if WRITES {
                    pack::str(self.out, text.as_bytes());
                }
                // One with half a surrogate pair is not a text.
                if coming == Coming::Tag && is_exact {
                    self.tags.value(text);
                }
            }
            JsonKind::OpenObject | JsonKind::OpenArray => {
                if self.open.len() == MAX_DEPTH {
                    return Err(Expected::FewerLevels);
                }
                let is_map = kind == JsonKind::OpenObject;
                self.open.push(Open {
                    header: self.out.len(),
                    count: 0,
                    is_map,
                });
                self.place.is_in_tags |= coming == Coming::Tags && is_map;
                if WRITES {
                    // Right for up to 15 items, which is nearly every container.
                    self.out.push(0);
                }
                return Ok(true);
            }
            JsonKind::Comma
            | JsonKind::Colon
            | JsonKind::CloseObject
            | JsonKind::CloseArray
            | JsonKind::End => return Err(Expected::Value),
            scalar if WRITES => write_scalar(scalar, self.tokens.lexeme(scalar), self.out),
            _ => {}
        }
        Ok(false)
    }

    /// Writes the key at the front of an object's item. Returns the first token of the item's value.
    #[inline]
    fn item(&mut self, is_map: bool, kind: JsonKind) -> Result<JsonKind> {
        if !is_map {
            return Ok(kind);
        }
        match kind {
            JsonKind::String | JsonKind::Escaped => {}
            JsonKind::End => return Err(Expected::Value),
            _ => return Err(Expected::Key),
        }
        let (key, is_exact) = text_of(&self.tokens, kind, self.decoded);
        if WRITES {
            pack::str(self.out, key.as_bytes());
        }
        match self.open.len() {
            1 if key.as_bytes() == STAMP => self.stamp = None,
            1 if key.as_bytes() == TAGS => {
                // Of two, it is not known which one counts.
                self.tags.clear();
                if !std::mem::replace(&mut self.place.has_tags, true) {
                    self.place.coming = Coming::Tags;
                }
            }
            TAGS_LEVEL if self.place.is_in_tags && is_exact => {
                self.tags.key(key);
                self.place.coming = Coming::Tag;
            }
            _ => {}
        }
        match self.tokens.step()? {
            JsonKind::Colon => self.tokens.step(),
            _ => Err(Expected::Colon),
        }
    }

    /// Closes the innermost container. Returns whether the stamp was added to it.
    #[inline]
    fn close(&mut self) -> bool {
        self.place.is_in_tags &= self.open.len() > TAGS_LEVEL;
        let Some(mut top) = self.open.pop() else {
            return false;
        };
        if !WRITES {
            return false;
        }
        let stamp = if self.open.is_empty() && top.is_map {
            self.stamp.take()
        } else {
            None
        };
        if let Some(stamp) = stamp {
            pack::str(self.out, STAMP);
            pack::str(self.out, stamp.as_bytes());
            top.count += 1;
        }
        match u8::try_from(top.count) {
            Ok(count @ 0..16) => {
                self.out[top.header] = count | if top.is_map { 0x80 } else { 0x90 };
            }
            _ => self.long_header(&top),
        }
        stamp.is_some()
    }

    #[cold]
    fn long_header(&mut self, container: &Open) {
        let mut header = Vec::with_capacity(5);
        if container.is_map {
            pack::map(&mut header, container.count);
        } else {
            pack::array(&mut header, container.count);
        }
        self.out.splice(container.header..=container.header, header);
    }
}

/// The text of the last token, a string, decoded into `memory` if it has escapes, with U+FFFD for each lone surrogate;
/// and whether it has none of these.
#[inline]
fn text_of<'t>(tokens: &JsonTokens<'t>, kind: JsonKind, memory: &'t mut String) -> (&'t str, bool) {
    let raw = tokens.lexeme(kind);
    if kind == JsonKind::String {
        return (raw, true);
    }
    let mut is_exact = true;
    memory.clear();
    decode(raw, memory, |_, _| is_exact = false);
    (memory, is_exact)
}

fn write_scalar(kind: JsonKind, text: &str, out: &mut Vec<u8>) {
    match kind {
        JsonKind::Integer => {
            if let Ok(value) = text.parse::<u64>() {
                pack::uint(out, value);
            } else if let Ok(value) = text.parse::<i64>() {
                pack::int(out, value);
            } else {
                pack::str(out, text.as_bytes());
            }
        }
        JsonKind::Float => pack::float(out, float(text)),
        JsonKind::True => pack::bool(out, true),
        JsonKind::False => pack::bool(out, false),
        // The walk writes strings and containers itself.
        _ => pack::nil(out),
    }
}
