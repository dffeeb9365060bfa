//! JSON text to msgpack, in one pass over the text.

use super::STAMP;
use crate::{MAX_DEPTH, pack, unescape};

/// Writes JSON text as msgpack.
///
/// Made for text that the event layer has checked: other text gives an error or some value, and
/// never a panic.
///
/// # Errors
///
/// One sentence about what is not JSON, with the byte at which it stands; or the text is nested
/// more than [`MAX_DEPTH`] levels deep.
pub fn json_to_msgpack(json: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(json.len() + 16);
    Writer::new(json, &mut out, None).write()?;
    Ok(out)
}

/// How a body stands in DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamped {
    /// DATA is the body's map and `_stamp`.
    Beside,
    /// DATA is `{"body": <the body>, "_stamp": ...}`, since the body is not a map, or a map with a
    /// `_stamp` of its own.
    Around,
}

/// Writes a body as DATA: its msgpack form with `_stamp`, the time it was fired.
///
/// # Errors
///
/// As [`json_to_msgpack`].
pub fn json_to_data(json: &[u8], stamp: &str) -> Result<(Vec<u8>, Stamped), String> {
    let mut out = Vec::with_capacity(json.len() + 64);
    if Writer::new(json, &mut out, Some(stamp)).write()? {
        return Ok((out, Stamped::Beside));
    }
    out.clear();
    pack::map(&mut out, 2);
    pack::str(&mut out, b"body");
    Writer::new(json, &mut out, None).write()?;
    pack::str(&mut out, STAMP);
    pack::str(&mut out, stamp.as_bytes());
    Ok((out, Stamped::Around))
}

/// An array or map that has been opened and not closed.
struct Open {
    /// Where its one-byte header stands in the output.
    header: usize,
    count: u32,
    is_map: bool,
}

struct Writer<'a> {
    text: &'a [u8],
    at: usize,
    out: &'a mut Vec<u8>,
    open: Vec<Open>,
    /// What the outermost map still gets.
    stamp: Option<&'a str>,
}

type Result<T, E = String> = std::result::Result<T, E>;

impl<'a> Writer<'a> {
    fn new(text: &'a [u8], out: &'a mut Vec<u8>, stamp: Option<&'a str>) -> Self {
        let open = Vec::with_capacity(8);
        Self {
            text,
            at: 0,
            out,
            open,
            stamp,
        }
    }

    /// Writes the whole text; tells whether the stamp is in it.
    fn write(mut self) -> Result<bool> {
        let mut stamped = false;
        'values: loop {
            let mut complete = !self.value()?;
            // To the next value: past closing brackets, commas and keys.
            while let Some(top) = self.open.last_mut() {
                top.count += u32::from(complete);
                let close = if top.is_map { b'}' } else { b']' };
                match self.token() {
                    Some(byte) if byte == close => {
                        self.at += 1;
                        stamped |= self.close();
                        complete = true;
                    }
                    Some(b',') if complete => {
                        self.at += 1;
                        self.key()?;
                        continue 'values;
                    }
                    // The container has just been opened.
                    Some(_) if !complete => {
                        self.key()?;
                        continue 'values;
                    }
                    _ => return Err(self.fault("a comma or a closing bracket")),
                }
            }
            break;
        }
        match self.token() {
            None => Ok(stamped),
            Some(_) => Err(self.fault("the end")),
        }
    }

    /// The next byte that is not white space; not taken.
    fn token(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                _ => return Some(byte),
            }
        }
        None
    }

    /// Takes a scalar, or the opening of a container; tells which.
    fn value(&mut self) -> Result<bool> {
        match self.token() {
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(bracket @ (b'{' | b'[')) => {
                if self.open.len() == MAX_DEPTH {
                    return Err(format!("it is nested more than {MAX_DEPTH} levels deep"));
                }
                self.at += 1;
                self.open.push(Open {
                    header: self.out.len(),
                    count: 0,
                    is_map: bracket == b'{',
                });
                // Right for up to 15 items, which is nearly every container.
                self.out.push(0);
                return Ok(true);
            }
            _ if self.literal(b"null") => pack::nil(self.out),
            _ if self.literal(b"true") => pack::bool(self.out, true),
            _ if self.literal(b"false") => pack::bool(self.out, false),
            _ => return Err(self.fault("a value")),
        }
        Ok(false)
    }

    fn literal(&mut self, word: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes a key and its colon, if the innermost container is a map.
    fn key(&mut self) -> Result<()> {
        if self.open.last().is_none_or(|top| !top.is_map) {
            return Ok(());
        }
        if self.token() != Some(b'"') {
            return Err(self.fault("a key in double quotes"));
        }
        let start = self.out.len();
        self.string()?;
        // A short str has a header of one byte.
        if self.open.len() == 1 && &self.out[start + 1..] == STAMP {
            self.stamp = None;
        }
        if self.token() != Some(b':') {
            return Err(self.fault("a colon"));
        }
        self.at += 1;
        Ok(())
    }

    /// Closes the innermost container; tells whether it got the stamp.
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

    fn number(&mut self) -> Result<()> {
        let rest = &self.text[self.at..];
        let len = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let text = std::str::from_utf8(&rest[..len]).map_err(|_| self.fault("a number"))?;
        if text.contains(['.', 'e', 'E']) {
            let value = text.parse().map_err(|_| self.fault("a number"))?;
            pack::float(self.out, value);
        } else if let Ok(value) = text.parse::<u64>() {
            pack::uint(self.out, value);
        } else if let Ok(value) = text.parse::<i64>() {
            pack::int(self.out, value);
        } else if text.ends_with(|c: char| c.is_ascii_digit()) && !text[1..].contains(['-', '+']) {
            pack::str(self.out, text.as_bytes());
        } else {
            return Err(self.fault("a number"));
        }
        self.at += len;
        Ok(())
    }

    fn string(&mut self) -> Result<()> {
        let body = self.at + 1;
        let mut end = body;
        let mut escaped = false;
        loop {
            let rest = self.text.get(end..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                return Err(self.fault("the string's closing quote"));
            };
            end += found;
            if self.text[end] == b'"' {
                break;
            }
            escaped = true;
            end += 2;
        }
        let inner = &self.text[body..end];
        if escaped {
            let text = unescaped(inner).ok_or_else(|| self.fault("a string with valid escapes"))?;
            pack::str(self.out, &text);
        } else {
            pack::str(self.out, inner);
        }
        self.at = end + 1;
        Ok(())
    }

    fn fault(&self, expected: &str) -> String {
        format!("it is not JSON: expected {expected} at byte {}", self.at)
    }
}

/// A string's text, from what stands between its quotes. A lone surrogate becomes U+FFFD.
fn unescaped(inner: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        text.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let c = unescape(&mut rest)?.unwrap_or(char::REPLACEMENT_CHARACTER);
        text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    text.extend_from_slice(rest);
    Some(text)
}
