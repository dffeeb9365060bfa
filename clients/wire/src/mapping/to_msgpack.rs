//! JSON text to msgpack, in one pass over the text.

use super::STAMP;
use crate::{JsonString, JsonToken, JsonTokens, MAX_DEPTH, pack};

/// Writes JSON text as msgpack.
///
/// Intended for text that the event layer has checked. For other text it returns an error or some value; it never
/// panics.
///
/// # Errors
///
/// One sentence about what is not JSON, with the byte at which it stands; or the text is nested
/// more than [`MAX_DEPTH`] levels deep.
pub fn json_to_msgpack(json: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(json.len() + 16);
    Writer::new(json, &mut out, None)?.write()?;
    Ok(out)
}

/// How DATA contains a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamped {
    /// DATA is the body, a map, with `_stamp` added.
    Beside,
    /// DATA is `{"body": <the body>, "_stamp": ...}`, because the body is not a map, or already has a `_stamp`.
    Around,
}

/// Writes a body as DATA: its msgpack form with `_stamp`, the time it was fired.
///
/// # Errors
///
/// As [`json_to_msgpack`].
pub(crate) fn json_to_data(json: &[u8], stamp: &str) -> Result<(Vec<u8>, Stamped), String> {
    let mut out = Vec::with_capacity(json.len() + 64);
    if Writer::new(json, &mut out, Some(stamp))?.write()? {
        return Ok((out, Stamped::Beside));
    }
    out.clear();
    pack::map(&mut out, 2);
    pack::str(&mut out, b"body");
    Writer::new(json, &mut out, None)?.write()?;
    pack::str(&mut out, STAMP);
    pack::str(&mut out, stamp.as_bytes());
    Ok((out, Stamped::Around))
}

/// An array or map that has been opened and not closed.
struct Open {
    /// Where its one-byte header is in the output.
    header: usize,
    count: u32,
    is_map: bool,
}

struct Writer<'a> {
    tokens: JsonTokens<'a>,
    out: &'a mut Vec<u8>,
    open: Vec<Open>,
    /// What is still to be added to the outermost map.
    stamp: Option<&'a str>,
}

type Result<T, E = String> = std::result::Result<T, E>;

impl<'a> Writer<'a> {
    fn new(json: &'a [u8], out: &'a mut Vec<u8>, stamp: Option<&'a str>) -> Result<Self> {
        Ok(Self {
            tokens: JsonTokens::new(json)?,
            out,
            open: Vec::with_capacity(8),
            stamp,
        })
    }

    /// Writes the whole text. Returns whether the stamp is in it.
    fn write(mut self) -> Result<bool> {
        const AFTER: &str = "a comma or a closing bracket";
        let mut stamped = false;
        let mut token = self.next("a value")?;
        'values: loop {
            let mut complete = !self.value(token)?;
            // Continue to the next value: past closing brackets, commas and keys.
            while let Some(top) = self.open.last_mut() {
                top.count += u32::from(complete);
                let is_map = top.is_map;
                token = self.next(AFTER)?;
                match token {
                    JsonToken::CloseObject if is_map => {}
                    JsonToken::CloseArray if !is_map => {}
                    JsonToken::Comma if complete => {
                        token = self.next("a value")?;
                        token = self.item(is_map, token)?;
                        continue 'values;
                    }
                    // The container has just been opened.
                    _ if !complete => {
                        token = self.item(is_map, token)?;
                        continue 'values;
                    }
                    _ => return Err(self.tokens.fault(AFTER)),
                }
                stamped |= self.close();
                complete = true;
            }
            break;
        }
        match self.tokens.take() {
            Ok(None) => Ok(stamped),
            _ => Err(self.tokens.fault("the end")),
        }
    }

    fn next(&mut self, expected: &str) -> Result<JsonToken<'a>> {
        let token = self.tokens.take()?;
        token.ok_or_else(|| self.tokens.fault(expected))
    }

    /// Writes a scalar, or opens a container. Returns whether it did the latter.
    fn value(&mut self, token: JsonToken<'a>) -> Result<bool> {
        match token {
            JsonToken::String(string) => self.string(string)?,
            JsonToken::Integer(text) => {
                if let Ok(value) = text.parse::<u64>() {
                    pack::uint(self.out, value);
                } else if let Ok(value) = text.parse::<i64>() {
                    pack::int(self.out, value);
                } else {
                    pack::str(self.out, text.as_bytes());
                }
            }
            JsonToken::Float(value) => pack::float(self.out, value),
            JsonToken::OpenObject | JsonToken::OpenArray => {
                if self.open.len() == MAX_DEPTH {
                    return Err(format!("it is nested more than {MAX_DEPTH} levels deep"));
                }
                self.open.push(Open {
                    header: self.out.len(),
                    count: 0,
                    is_map: token == JsonToken::OpenObject,
                });
                // Right for up to 15 items, which is nearly every container.
                self.out.push(0);
                return Ok(true);
            }
            JsonToken::Null => pack::nil(self.out),
            JsonToken::Bool(value) => pack::bool(self.out, value),
            _ => return Err(self.tokens.fault("a value")),
        }
        Ok(false)
    }

    /// Writes the key at the front of a map's item. Returns the first token of the item's value.
    fn item(&mut self, is_map: bool, token: JsonToken<'a>) -> Result<JsonToken<'a>> {
        if !is_map {
            return Ok(token);
        }
        let JsonToken::String(key) = token else {
            return Err(self.tokens.fault("a key in double quotes"));
        };
        let start = self.out.len();
        self.string(key)?;
        // A short str has a header of one byte.
        if self.open.len() == 1 && &self.out[start + 1..] == STAMP {
            self.stamp = None;
        }
        match self.tokens.take() {
            Ok(Some(JsonToken::Colon)) => self.next("a value"),
            _ => Err(self.tokens.fault("a colon")),
        }
    }

    fn string(&mut self, string: JsonString<'_>) -> Result<()> {
        if let Some(plain) = string.plain() {
            pack::str(self.out, plain.as_bytes());
            return Ok(());
        }
        let mut text = String::new();
        if !string.decode(&mut text, |_, _| ()) {
            return Err(self.tokens.fault("a string with valid escapes"));
        }
        pack::str(self.out, text.as_bytes());
        Ok(())
    }

    /// Closes the innermost container. Returns whether the stamp was added to it.
    fn close(&mut self) -> bool {
        let Some(mut top) = self.open.pop() else {
            return false;
        };
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
        let mut header = Vec::with_capacity(5);
        if top.is_map {
            pack::map(&mut header, top.count);
        } else {
            pack::array(&mut header, top.count);
        }
        if let [byte] = header[..] {
            self.out[top.header] = byte;
        } else {
            self.out.splice(top.header..=top.header, header);
        }
        stamp.is_some()
    }
}
