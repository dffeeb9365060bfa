//! Values as text.

use minijinja::value::{Value, ValueKind};

use crate::Fault;

/// The longest text that a template gives, in bytes.
pub const MAX_TEXT: usize = 1024 * 1024;

pub(crate) fn append(value: &Value, text: &mut String) -> Result<(), Fault> {
    use std::fmt::Write as _;

    match value.kind() {
        ValueKind::String => text.push_str(value.as_str().unwrap_or_default()),
        ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        // Text takes whatever is written to it.
        ValueKind::Number => _ = write!(text, "{value}"),
        other => {
            return Err(Fault::new(format!(
                "found {}, expected text, a number or a boolean",
                kind(other)
            )));
        }
    }
    if text.len() > MAX_TEXT {
        return Err(Fault::new(format!(
            "found a text of {} bytes, expected at most {MAX_TEXT}",
            text.len()
        )));
    }
    Ok(())
}

/// What a kind of value is called.
pub(crate) fn kind(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Undefined => "an undefined value",
        ValueKind::None => "none",
        ValueKind::Bool => "a boolean",
        ValueKind::Number => "a number",
        ValueKind::String => "text",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq => "a list",
        ValueKind::Map => "a mapping",
        ValueKind::Iterable => "an iterator",
        _ => "a value of another kind",
    }
}
