//! Values as JSON.

use minijinja::value::{Value, ValueKind};
use serde::Serialize as _;

use crate::Fault;
use crate::expression::valid;
use crate::text::kind;

/// The largest JSON that an expression gives, in bytes.
pub const MAX_JSON: usize = 16 * 1024 * 1024;

/// How many values are written. A list that the engine repeats costs nothing until it is written.
const MAX_VALUES: usize = 2_000_000;

/// How deeply values may be nested: as deeply as bodies may.
const MAX_DEPTH: usize = 128;

pub(crate) fn written(value: &Value) -> Result<String, Fault> {
    let mut json = Vec::new();
    append(value, &mut json, &mut 0, 0)?;
    // It is made of texts.
    String::from_utf8(json).map_err(|error| Fault::new(error.to_string()))
}

fn append(
    value: &Value,
    json: &mut Vec<u8>,
    values: &mut usize,
    depth: usize,
) -> Result<(), Fault> {
    *values += 1;
    if *values > MAX_VALUES {
        return Err(Fault::new(format!(
            "found more than {MAX_VALUES} values within each other"
        )));
    }
    if depth > MAX_DEPTH {
        return Err(Fault::new(format!(
            "found a value that is nested more than {MAX_DEPTH} levels deep"
        )));
    }
    if json.len() > MAX_JSON {
        return Err(Fault::new(format!(
            "found a value of more than {MAX_JSON} bytes"
        )));
    }
    match value.kind() {
        ValueKind::None => json.extend_from_slice(b"null"),
        ValueKind::Bool | ValueKind::Number | ValueKind::String => scalar(value, json)?,
        ValueKind::Seq | ValueKind::Iterable => {
            json.push(b'[');
            for (position, item) in items(value)?.enumerate() {
                if position > 0 {
                    json.push(b',');
                }
                append(&checked(item)?, json, values, depth + 1)?;
            }
            json.push(b']');
        }
        ValueKind::Map => {
            json.push(b'{');
            for (position, name) in items(value)?.enumerate() {
                if position > 0 {
                    json.push(b',');
                }
                let name = checked(name)?;
                key(&name, json)?;
                json.push(b':');
                let item = value.get_item(&name).unwrap_or_default();
                append(&checked(item)?, json, values, depth + 1)?;
            }
            json.push(b'}');
        }
        other => {
            return Err(Fault::new(format!(
                "found {}, expected a value that JSON can represent",
                kind(other)
            )));
        }
    }
    Ok(())
}

fn items(value: &Value) -> Result<minijinja::value::ValueIter, Fault> {
    value.try_iter().map_err(|_| {
        Fault::new("found a value that cannot be listed, expected one that JSON can represent")
    })
}

fn checked(value: Value) -> Result<Value, Fault> {
    valid(value).map_err(|error| Fault::of(&error, ""))
}

fn scalar(value: &Value, json: &mut Vec<u8>) -> Result<(), Fault> {
    let unfit =
        || Fault::new("found a number that JSON cannot represent: infinite, or not a number");
    if value.kind() == ValueKind::Number
        && f64::try_from(value.clone()).is_ok_and(|number| !number.is_finite())
    {
        return Err(unfit());
    }
    let mut writer = serde_json::Serializer::new(json);
    value.serialize(&mut writer).map_err(|_| unfit())
}

/// A key, which is text in JSON.
fn key(key: &Value, json: &mut Vec<u8>) -> Result<(), Fault> {
    match key.kind() {
        ValueKind::String => scalar(key, json),
        ValueKind::None | ValueKind::Bool | ValueKind::Number => {
            json.push(b'"');
            append(key, json, &mut 0, 0)?;
            json.push(b'"');
            Ok(())
        }
        other => Err(Fault::new(format!(
            "found {} as a key, expected text",
            kind(other)
        ))),
    }
}
