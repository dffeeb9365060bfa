//! Whether a msgpack value and a JSON text mean the same.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rmpv::Value;
use serde_json::Value as Json;

use crate::model::is_str;

/// How deeply a JSON text is nested.
pub fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether the host takes a text for one JSON value.
pub fn is_json(text: &[u8]) -> bool {
    depth(text) <= evbus_wire::MAX_DEPTH
        && std::str::from_utf8(text)
            .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

/// Fails unless `packed` says the same as `text`. Texts that `serde_json` cannot build, though they
/// are JSON, are taken for the same: numbers out of range, and lone surrogates.
pub fn check_same(packed: &Value, text: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Json>(text) else {
        return;
    };
    assert!(
        is_same(packed, &json),
        "the msgpack is {packed}, the JSON {}",
        String::from_utf8_lossy(text)
    );
}

fn is_same(packed: &Value, json: &Json) -> bool {
    match (packed, json) {
        (Value::Nil, Json::Null) => true,
        (Value::Boolean(packed), Json::Bool(json)) => packed == json,
        (Value::Integer(packed), Json::Number(json)) => match packed.as_u64() {
            // For `serde_json`, -0 is not an integer.
            Some(0) => json.as_f64() == Some(0.0),
            Some(packed) => json.as_u64() == Some(packed),
            None => json.as_i64().is_some() && json.as_i64() == packed.as_i64(),
        },
        (Value::F64(packed), Json::Number(json)) => {
            json.as_f64().is_some_and(|json| near(json, *packed))
        }
        // An integer of more than 64 bits.
        (Value::String(packed), Json::Number(json)) => {
            let packed = packed.as_str().and_then(|text| text.parse().ok());
            packed.zip(json.as_f64()).is_some_and(|(a, b)| near(a, b))
        }
        (Value::String(packed), Json::String(json)) => packed.as_bytes() == json.as_bytes(),
        (Value::Array(packed), Json::Array(json)) => {
            packed.len() == json.len() && packed.iter().zip(json).all(|(a, b)| is_same(a, b))
        }
        (Value::Map(packed), Json::Object(json)) => {
            // If a key is repeated, `serde_json` keeps the last one.
            let last: HashMap<&[u8], &Value> = (packed.iter())
                .filter_map(|(key, value)| match key {
                    Value::String(key) => Some((key.as_bytes(), value)),
                    _ => None,
                })
                .collect();
            last.len() == json.len()
                && json.iter().all(|(key, json)| {
                    (last.get(key.as_bytes())).is_some_and(|packed| is_same(packed, json))
                })
        }
        _ => false,
    }
}

/// `serde_json` reads numbers to within a unit in the last place.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= a.abs().max(f64::MIN_POSITIVE) * 1e-14
}

/// A msgpack value as JSON text, by the table in [`evbus_wire::mapping`].
pub fn json_of(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(",");
    match value {
        Value::Array(items) => format!("[{}]", list(items.iter().map(json_of).collect())),
        Value::Map(pairs) => {
            let pair =
                |(key, value): &(Value, Value)| format!("{}:{}", key_of(key), json_of(value));
            format!("{{{}}}", list(pairs.iter().map(pair).collect()))
        }
        Value::Binary(bytes) => bytes_of(bytes),
        Value::String(text) => match text.as_str() {
            Some(text) => Json::from(text).to_string(),
            None => bytes_of(text.as_bytes()),
        },
        Value::Ext(78, bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Json::from(text).to_string(),
            Err(_) => bytes_of(bytes),
        },
        Value::Ext(kind, bytes) => {
            format!(
                r#"{{"__ext__":{kind},"__bytes__":"{}"}}"#,
                BASE64.encode(bytes)
            )
        }
        Value::F32(number) => float_of(f64::from(*number)),
        Value::F64(number) => float_of(*number),
        Value::Nil => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
    }
}

fn bytes_of(bytes: &[u8]) -> String {
    format!(r#"{{"__bytes__":"{}"}}"#, BASE64.encode(bytes))
}

fn float_of(number: f64) -> String {
    if number.is_nan() {
        r#""NaN""#.to_owned()
    } else if number.is_infinite() {
        let sign = if number < 0.0 { "-" } else { "" };
        format!(r#""{sign}Infinity""#)
    } else {
        Json::from(number).to_string()
    }
}

fn key_of(key: &Value) -> String {
    let text = match key {
        Value::String(text) if text.is_str() => return json_of(key),
        Value::String(text) => BASE64.encode(text.as_bytes()),
        Value::Ext(78, bytes) if std::str::from_utf8(bytes).is_ok() => return json_of(key),
        Value::Binary(bytes) | Value::Ext(_, bytes) => BASE64.encode(bytes),
        scalar => json_of(scalar).trim_matches('"').to_owned(),
    };
    format!(r#""{text}""#)
}

/// The body in the DATA of a frame that a host or a program of this project wrote.
///
/// # Panics
///
/// DATA is not what such a frame has.
pub fn body(mut data: Vec<(Value, Value)>, wrap: bool) -> Value {
    let (stamp, _) = data.pop().expect("DATA has a _stamp at its end");
    assert!(is_str(&stamp, "_stamp"), "found {stamp} at the end of DATA");
    if !wrap {
        return Value::Map(data);
    }
    let (key, body) = data.pop().expect("DATA has a body");
    assert!(
        is_str(&key, "body") && data.is_empty(),
        "found {key} in DATA"
    );
    body
}
