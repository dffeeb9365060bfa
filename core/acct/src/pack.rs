//! The data of an encrypted acct file: a tree as msgpack, and back.
//!
//! There is no text, so nodes that come from here have no place in one. Keys have the type that Python gives
//! them, so that Idem finds the same data in a file, whoever encrypted it.

use std::collections::HashSet;

use rmp::Marker;
use rmp::decode::RmpRead as _;
use rmp::encode;
use serde_json::Number;
use zeroize::Zeroizing;

use super::key::Key;
use super::node::{Foreign, Node, Value};
use super::place::Place;
use super::scalar;

/// How deep lists and mappings may nest.
const MAX_DEPTH: usize = 100;

/// Describes two keys that have the same name once they are encrypted.
pub(crate) const ONE_NAME: &str =
    "two keys of one mapping that have the same name after encryption";

/// At most this many values that cannot be packed are found at a time.
const MAX_UNPACKABLE: usize = 100;

/// Writing to a Vec or a counter cannot fail.
const ACCEPTS: &str = "memory takes every byte";

/// A value that cannot be packed: the path to it, the place of its key or item, and what it is.
#[derive(Debug)]
pub(crate) struct Unpackable {
    pub(crate) path: String,
    pub(crate) place: Place,
    pub(crate) what: &'static str,
}

/// Packs a tree. The result is wiped when it is dropped.
///
/// # Errors
///
/// Every value that cannot be packed, up to [`MAX_UNPACKABLE`].
pub(crate) fn pack(node: &Node) -> Result<Zeroizing<Vec<u8>>, Vec<Unpackable>> {
    // The first pass only counts the size: a buffer that grows leaves copies of secrets behind.
    let mut size = Vec::new();
    let mut counted = Counter(0);
    let mut unfit = Vec::new();
    write(node, node.place, &mut counted, &mut unfit);
    if !unfit.is_empty() {
        return Err(unfit);
    }
    size.reserve_exact(counted.0);
    let mut packed = Zeroizing::new(size);
    write(node, node.place, &mut *packed, &mut unfit);
    Ok(packed)
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes a node; what cannot be written is left out and noted. `place` is that of its key or item.
fn write(node: &Node, place: Place, out: &mut impl std::io::Write, unfit: &mut Vec<Unpackable>) {
    match &node.value {
        Value::Null => encode::write_nil(out).expect(ACCEPTS),
        Value::Bool(value) => encode::write_bool(out, *value).expect(ACCEPTS),
        Value::Number(number) => write_number(number, out),
        Value::Text(text) => encode::write_str(out, text).expect(ACCEPTS),
        Value::NotJson(Foreign::NotFinite(number)) => {
            encode::write_f64(out, *number).expect(ACCEPTS);
        }
        Value::NotJson(Foreign::Binary(bytes)) => encode::write_bin(out, bytes).expect(ACCEPTS),
        Value::NotJson(foreign) => refuse(unfit, foreign.kind(), place, ""),
        Value::List(items) => {
            let Ok(length) = u32::try_from(items.len()) else {
                return refuse(unfit, "a list that is too long", place, "");
            };
            encode::write_array_len(out, length).expect(ACCEPTS);
            for (index, item) in items.iter().enumerate() {
                let before = unfit.len();
                write(item, item.place, out, unfit);
                under(&mut unfit[before..], || format!("[{index}]"));
            }
        }
        Value::Map(pairs) => {
            let Ok(length) = u32::try_from(pairs.len()) else {
                return refuse(unfit, "a mapping that is too long", place, "");
            };
            encode::write_map_len(out, length).expect(ACCEPTS);
            let mut names = HashSet::new();
            for (key, value) in pairs {
                let meaning = key.meaning();
                // The name that it has when it is read back: `0x10` becomes 16 and collides with the key '16'.
                let name = Key::of(&meaning, Place::NoText).map(|key| key.name);
                if name.is_none_or(|name| !names.insert(name)) {
                    refuse(unfit, ONE_NAME, key.place, &key.name);
                }
                let meaning = Node {
                    value: meaning,
                    place: key.place,
                };
                let before = unfit.len();
                write(&meaning, key.place, out, unfit);
                write(value, key.place, out, unfit);
                under(&mut unfit[before..], || key.name.clone());
            }
        }
    }
}

fn refuse(unfit: &mut Vec<Unpackable>, what: &'static str, place: Place, path: &str) {
    if unfit.len() < MAX_UNPACKABLE {
        let path = path.to_owned();
        unfit.push(Unpackable { path, place, what });
    }
}

/// Puts one more step in front of the paths of values that cannot be packed.
fn under(found: &mut [Unpackable], step: impl Fn() -> String) {
    for unfit in found {
        let step = step();
        unfit.path = match unfit.path.as_str() {
            "" => step,
            path if path.starts_with('[') => format!("{step}{path}"),
            path => format!("{step}.{path}"),
        };
    }
}

fn write_number(number: &Number, out: &mut impl std::io::Write) {
    if let Some(number) = number.as_u64() {
        encode::write_uint(out, number).expect(ACCEPTS);
    } else if let Some(number) = number.as_i64() {
        encode::write_sint(out, number).expect(ACCEPTS);
    } else {
        let number = number.as_f64().unwrap_or(f64::NAN);
        encode::write_f64(out, number).expect(ACCEPTS);
    }
}

/// Reads a tree that takes all of the content; the error is what was found instead.
pub(crate) fn unpack(mut content: &[u8]) -> Result<Node, &'static str> {
    let node = read(&mut content, 0)?;
    if content.is_empty() {
        Ok(node)
    } else {
        Err("trailing data")
    }
}

fn read(rest: &mut &[u8], depth: usize) -> Result<Node, &'static str> {
    const CUT: &str = "truncated data";
    if depth > MAX_DEPTH {
        return Err("values nested more than 100 levels deep");
    }
    let marker = rmp::decode::read_marker(rest).map_err(|_| CUT)?;
    macro_rules! data {
        ($read:ident) => {
            rest.$read().map_err(|_| CUT)?
        };
    }
    let length: u32 = match marker {
        Marker::FixStr(length) | Marker::FixArray(length) | Marker::FixMap(length) => length.into(),
        Marker::FixExt1 => 1,
        Marker::FixExt2 => 2,
        Marker::FixExt4 => 4,
        Marker::FixExt8 => 8,
        Marker::FixExt16 => 16,
        Marker::Str8 | Marker::Bin8 | Marker::Ext8 => data!(read_data_u8).into(),
        Marker::Str16 | Marker::Bin16 | Marker::Ext16 | Marker::Array16 | Marker::Map16 => {
            data!(read_data_u16).into()
        }
        Marker::Str32 | Marker::Bin32 | Marker::Ext32 | Marker::Array32 | Marker::Map32 => {
            data!(read_data_u32)
        }
        _ => 0,
    };
    let value = match marker {
        Marker::Null => Value::Null,
        Marker::True => Value::Bool(true),
        Marker::False => Value::Bool(false),
        Marker::FixPos(number) => Value::Number(number.into()),
        Marker::FixNeg(number) => Value::Number(number.into()),
        Marker::U8 => Value::Number(data!(read_data_u8).into()),
        Marker::U16 => Value::Number(data!(read_data_u16).into()),
        Marker::U32 => Value::Number(data!(read_data_u32).into()),
        Marker::U64 => Value::Number(data!(read_data_u64).into()),
        Marker::I8 => Value::Number(data!(read_data_i8).into()),
        Marker::I16 => Value::Number(data!(read_data_i16).into()),
        Marker::I32 => Value::Number(data!(read_data_i32).into()),
        Marker::I64 => Value::Number(data!(read_data_i64).into()),
        Marker::F32 => scalar::finite(data!(read_data_f32).into()),
        Marker::F64 => scalar::finite(data!(read_data_f64)),
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
            text(take(rest, length)?)?
        }
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => binary(take(rest, length)?),
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => list(rest, length, depth)?,
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => map(rest, length, depth)?,
        Marker::Reserved => return Err("an invalid byte"),
        _ => {
            // An extension, whose type precedes its content.
            take(rest, 1)?;
            take(rest, length)?;
            Value::NotJson(Foreign::Extension)
        }
    };
    Ok(Node {
        value,
        place: Place::NoText,
    })
}

fn take<'c>(rest: &mut &'c [u8], length: u32) -> Result<&'c [u8], &'static str> {
    let (taken, left) = rest
        .split_at_checked(length as usize)
        .ok_or("truncated data")?;
    *rest = left;
    Ok(taken)
}

fn text(bytes: &[u8]) -> Result<Value, &'static str> {
    std::str::from_utf8(bytes)
        .map(Value::text)
        .map_err(|_| "text that is not UTF-8")
}

/// Text if possible, as acct reads it.
fn binary(bytes: &[u8]) -> Value {
    text(bytes).unwrap_or_else(|_| Value::NotJson(Foreign::Binary(Zeroizing::new(bytes.to_vec()))))
}

fn list(rest: &mut &[u8], length: u32, depth: usize) -> Result<Value, &'static str> {
    (0..length)
        .map(|_| read(rest, depth + 1))
        .collect::<Result<_, _>>()
        .map(Value::List)
}

fn map(rest: &mut &[u8], length: u32, depth: usize) -> Result<Value, &'static str> {
    let mut pairs: Vec<(Key, Node)> = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..length {
        let key = read(rest, depth + 1)?;
        let key = Key::of(&key.value, Place::NoText).ok_or("a key that is not text")?;
        let value = read(rest, depth + 1)?;
        if !seen.insert(key.name.clone()) {
            return Err("a mapping with a duplicate key");
        }
        pairs.push((key, value));
    }
    Ok(Value::Map(pairs))
}
