//! msgpack to JSON text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::STAMP;
use crate::token::{self, Head, Stop, Token};
use crate::{MAX_BODY_BYTES, MAX_DEPTH};

/// Salt's extension type for a datetime; its payload is text.
const EXT_DATETIME: i8 = 78;

/// Writes DATA, one msgpack map, as JSON text.
///
/// # Errors
///
/// One sentence about the fault: DATA is not exactly one well-formed map, is nested more than
/// [`MAX_DEPTH`] + 1 levels deep (a body of [`MAX_DEPTH`] levels may be inside a map), has a container as a key,
/// or is more than [`MAX_BODY_BYTES`] long as JSON.
pub fn data_to_json(data: &[u8]) -> Result<Vec<u8>, String> {
    whole_map(data, false, MAX_DEPTH + 1)
}

/// As [`data_to_json`], without the top-level key `_stamp`.
pub(crate) fn unstamped_to_json(data: &[u8]) -> Result<Vec<u8>, String> {
    whole_map(data, true, MAX_DEPTH)
}

/// Writes one msgpack value of any type as JSON text.
///
/// # Errors
///
/// As [`data_to_json`], except that the value need not be a map, and the limit is [`MAX_DEPTH`] levels.
pub fn value_to_json(value: &[u8]) -> Result<Vec<u8>, String> {
    let mut rest = value;
    let mut out = Vec::with_capacity(value.len() + value.len() / 2);
    write_value(&mut rest, &mut out, false, MAX_DEPTH)?;
    at_end(rest)?;
    Ok(out)
}

fn whole_map(data: &[u8], without_stamp: bool, levels: usize) -> Result<Vec<u8>, String> {
    opens_map(data)?;
    let mut rest = data;
    let mut out = Vec::with_capacity(data.len() + data.len() / 2);
    write_value(&mut rest, &mut out, without_stamp, levels)?;
    at_end(rest)?;
    Ok(out)
}

/// Checks, without writing anything, that [`data_to_json`] can write `data` (unless the text would be too long),
/// and that it has at most `levels`.
pub(crate) fn check_data(data: &[u8], levels: usize) -> Result<(), &'static str> {
    let map = opens_map(data)?;
    let mut rest = &data[map.len()..];
    // How many values remain in the innermost open container, and whether it is a map. A pair of a map counts
    // twice, so a key is next if the number is even.
    let (mut left, mut is_map) = (map.children, true);
    // The same for the containers around it. Most events have none, so nothing is allocated for them.
    let mut outer = Vec::new();
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
struct Open {
    left: u32,
    is_map: bool,
    is_first: bool,
}

fn write_value(
    input: &mut &[u8],
    out: &mut Vec<u8>,
    without_stamp: bool,
    levels: usize,
) -> Result<(), &'static str> {
    let mut open: Vec<Open> = Vec::with_capacity(8);
    loop {
        match token::read(input).map_err(malformed)? {
            Token::Array(left) => {
                out.push(b'[');
                push(&mut open, left, false, levels)?;
            }
            Token::Map(left) => {
                out.push(b'{');
                push(&mut open, left, true, levels)?;
            }
            scalar => write_scalar(scalar, out),
        }
        if out.len() > MAX_BODY_BYTES {
            return Err("its JSON text is longer than 100 MiB");
        }
        // Continue to the next value: past closing brackets, commas and keys.
        loop {
            let depth = open.len();
            let Some(top) = open.last_mut() else {
                return Ok(());
            };
            if top.left == 0 {
                out.push(if top.is_map { b'}' } else { b']' });
                open.pop();
                continue;
            }
            top.left -= 1;
            let key = if top.is_map {
                let key = token::read(input).map_err(malformed)?;
                if without_stamp && depth == 1 && key == Token::Str(STAMP) {
                    token::skip(input).map_err(malformed)?;
                    continue;
                }
                Some(key)
            } else {
                None
            };
            if !std::mem::take(&mut top.is_first) {
                out.push(b',');
            }
            if let Some(key) = key {
                write_key(key, out)?;
                out.push(b':');
            }
            break;
        }
    }
}

fn push(open: &mut Vec<Open>, left: u32, is_map: bool, levels: usize) -> Result<(), &'static str> {
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

fn write_key(key: Token<'_>, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match key {
        Token::Str(text) | Token::Ext(EXT_DATETIME, text) => match std::str::from_utf8(text) {
            Ok(text) => json(text, out),
            Err(_) => base64(text, out),
        },
        Token::Bin(bytes) | Token::Ext(_, bytes) => base64(bytes, out),
        Token::Float(value) if !value.is_finite() => write_scalar(key, out),
        Token::Array(_) | Token::Map(_) => return Err(CONTAINER_KEY),
        Token::Nil | Token::Bool(_) | Token::Uint(_) | Token::Int(_) | Token::Float(_) => {
            out.push(b'"');
            write_scalar(key, out);
            out.push(b'"');
        }
    }
    Ok(())
}

fn write_scalar(scalar: Token<'_>, out: &mut Vec<u8>) {
    match scalar {
        Token::Nil => out.extend_from_slice(b"null"),
        Token::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Token::Uint(value) => json(&value, out),
        Token::Int(value) => json(&value, out),
        Token::Float(value) if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
        Token::Float(f64::INFINITY) => out.extend_from_slice(b"\"Infinity\""),
        Token::Float(f64::NEG_INFINITY) => out.extend_from_slice(b"\"-Infinity\""),
        Token::Float(value) => json(&value, out),
        Token::Str(text) | Token::Ext(EXT_DATETIME, text) => match std::str::from_utf8(text) {
            Ok(text) => json(text, out),
            Err(_) => write_bytes(text, out),
        },
        Token::Bin(bytes) => write_bytes(bytes, out),
        Token::Ext(kind, bytes) => {
            out.extend_from_slice(b"{\"__ext__\":");
            json(&kind, out);
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
    out.extend_from_slice(BASE64.encode(bytes).as_bytes());
    out.push(b'"');
}

/// Writes text and numbers. Each of them has a JSON form, and writing to a `Vec` cannot fail.
fn json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok());
}
