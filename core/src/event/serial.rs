//! Serial plugins: the form in which bodies reach destinations.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use bytes::Bytes;
use serde_json::Value;

use super::envelope::attributes_of_body;
use super::{ContentType, Event, EventError, Origin};
use evbus_wire::mapping;

/// The form in which bodies reach destinations; Idem's serial plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Serial {
    /// JSON text.
    #[default]
    Json,
    /// msgpack.
    Msgpack,
    /// What Python's `str` makes of the body.
    Str,
}

impl FromStr for Serial {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "json" => Ok(Self::Json),
            "msgpack" => Ok(Self::Msgpack),
            "str" => Ok(Self::Str),
            _ => Err(format!("found {name:?}, expected json, msgpack or str")),
        }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Msgpack => "msgpack",
            Self::Str => "str",
        })
    }
}

impl Serial {
    /// Brings an event's body into this form, and finds the attributes of one that came through a
    /// socket. Does nothing for the common case: JSON that stays JSON.
    pub(crate) fn apply(self, event: &mut Event) -> Result<(), EventError> {
        if event.origin == Origin::Salt {
            let json =
                mapping::data_to_json(&event.body).map_err(|reason| self.fault(event, reason))?;
            event.attributes = attributes_of_body(&json);
            event.body = json.into();
            event.content_type = ContentType::Json;
        }
        if event.content_type != ContentType::Json {
            return Ok(());
        }
        match self {
            Self::Json => {}
            Self::Msgpack => {
                let packed = mapping::json_to_msgpack(&event.body)
                    .map_err(|reason| self.fault(event, reason))?;
                event.body = packed.into();
                event.content_type = ContentType::Msgpack;
            }
            Self::Str => {
                let value: Value = serde_json::from_slice(&event.body)
                    .map_err(|error| self.fault(event, error.to_string()))?;
                event.body = Bytes::from(python_str(&value));
                event.content_type = ContentType::Text;
            }
        }
        Ok(())
    }

    fn fault(self, event: &Event, reason: String) -> EventError {
        EventError::Unserializable {
            profile: event.profile.to_string(),
            serial: match self {
                Self::Json => "JSON",
                Self::Msgpack => "msgpack",
                Self::Str => "text",
            },
            reason,
        }
    }
}

/// What Python's `str` makes of the value that this JSON value is in Python.
fn python_str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => {
            let mut text = String::new();
            python_repr(other, &mut text);
            text
        }
    }
}

fn python_repr(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => python_quote(text, out),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                python_repr(item, out);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            for (position, (key, item)) in entries.iter().enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                python_quote(key, out);
                out.push_str(": ");
                python_repr(item, out);
            }
            out.push('}');
        }
    }
}

fn python_quote(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_is_what_python_prints() {
        for (value, expected) in [
            (json!("FINISHED"), "FINISHED"),
            (
                json!({"a": [1, 2.5, null, true]}),
                "{'a': [1, 2.5, None, True]}",
            ),
            (
                json!(["it's", "say \"x\" it's", "tab\t\\"]),
                r#"["it's", 'say "x" it\'s', 'tab\t\\']"#,
            ),
            (json!([]), "[]"),
        ] {
            assert_eq!(python_str(&value), expected);
        }
    }
}
