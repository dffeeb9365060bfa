//! A tree as YAML text: what Idem's reader and ours both read back as the same data.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Number;
use zeroize::Zeroizing;

use super::key::Key;
use super::node::{Foreign, Node, Value};
use super::place::Place;
use super::scalar;

/// Enough for ordinary files, so that the buffer rarely grows and leaves a copy behind.
const ROOM: usize = 64 * 1024;

/// Keys longer than this, in bytes, are written after a `?`.
const LONG_KEY: usize = 100;

/// Writes a tree in block style. Keys and items keep their order, which determines the destinations' numbers.
pub(crate) fn yaml(root: &Node) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(ROOM));
    match &root.value {
        Value::Map(pairs) if !pairs.is_empty() => map(pairs, 0, &mut out),
        Value::List(items) if !items.is_empty() => list(items, 0, &mut out),
        _ => {
            inline(root, 2, &mut out);
            out.push('\n');
        }
    }
    out
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn map(pairs: &[(Key, Node)], indent: usize, out: &mut String) {
    for (place, (key, node)) in pairs.iter().enumerate() {
        if place > 0 {
            pad(indent, out);
        }
        // Readers reject a long key without `?`.
        if key.name.len() > LONG_KEY {
            out.push_str("? ");
            write_key(key, out);
            out.push('\n');
            pad(indent, out);
        } else {
            write_key(key, out);
        }
        out.push(':');
        match &node.value {
            Value::Map(pairs) if !pairs.is_empty() => {
                out.push('\n');
                pad(indent + 2, out);
                map(pairs, indent + 2, out);
            }
            Value::List(items) if !items.is_empty() => {
                out.push('\n');
                pad(indent, out);
                list(items, indent, out);
            }
            _ => {
                out.push(' ');
                inline(node, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

/// A key; unchanged if Python does not read it as text.
fn write_key(key: &Key, out: &mut String) {
    match key.meaning() {
        Value::Text(name) => text(&name, None, out),
        value if key.name.is_empty() || key.name.contains(char::is_control) => {
            let node = Node {
                value,
                place: Place::NoText,
            };
            inline(&node, 0, out);
        }
        _ => out.push_str(&key.name),
    }
}

fn list(items: &[Node], indent: usize, out: &mut String) {
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            pad(indent, out);
        }
        out.push_str("- ");
        match &item.value {
            Value::Map(pairs) if !pairs.is_empty() => map(pairs, indent + 2, out),
            Value::List(items) if !items.is_empty() => list(items, indent + 2, out),
            _ => {
                inline(item, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

/// A value that begins on the current line; `indent` applies to a text of several lines.
fn inline(node: &Node, indent: usize, out: &mut String) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => out.push_str(&number(value)),
        Value::Text(value) => text(value, Some(indent), out),
        Value::NotJson(Foreign::NotFinite(value)) => out.push_str(not_finite(*value)),
        Value::NotJson(Foreign::TooBig(digits)) => match scalar::plain(digits) {
            Ok(Value::Text(_)) | Err(_) => {
                out.push_str("!!int ");
                text(digits, None, out);
            }
            Ok(_) => out.push_str(digits.trim_end()),
        },
        Value::NotJson(Foreign::Set(keys)) => {
            out.push_str("!!set {");
            for (place, key) in keys.iter().enumerate() {
                out.push_str(if place == 0 { "? " } else { ", ? " });
                write_key(key, out);
            }
            out.push('}');
        }
        Value::NotJson(Foreign::Binary(bytes)) => {
            let encoded = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
            out.push_str("!!binary \"");
            out.push_str(&encoded);
            out.push('"');
        }
        // Only for display: neither YAML nor acct's packing has such a value.
        Value::NotJson(Foreign::Extension) => text(Foreign::Extension.kind(), None, out),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
    }
}

/// A number that is not finite, as YAML has it.
pub(crate) fn not_finite(number: f64) -> &'static str {
    if number.is_nan() {
        ".nan"
    } else if number > 0.0 {
        ".inf"
    } else {
        "-.inf"
    }
}

/// A number as YAML 1.1 has it: an exponent needs a point before it and a sign.
pub(crate) fn number(number: &Number) -> String {
    let text = number.to_string();
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) {
        ""
    } else {
        "+"
    };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// Text, in the plainest style that can hold it. If `block` is an indentation, several lines are written as such.
fn text(value: &str, block: Option<usize>, out: &mut String) {
    if is_plain(value) {
        out.push_str(value);
    } else if let Some(indent) = block.filter(|_| fits_block(value)) {
        out.push_str(if value.ends_with('\n') { "|" } else { "|-" });
        for line in value.lines() {
            out.push('\n');
            if !line.is_empty() {
                pad(indent, out);
                out.push_str(line);
            }
        }
    } else if value.contains(needs_escape) {
        escaped(value, out);
    } else {
        out.push('\'');
        for c in value.chars() {
            if c == '\'' {
                out.push('\'');
            }
            out.push(c);
        }
        out.push('\'');
    }
}

/// A word that readers of every version of YAML read as text.
fn is_plain(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_./@+=-".contains(c);
    value.starts_with(|c: char| c.is_ascii_alphabetic() || "_/".contains(c))
        && value.chars().all(inner)
        && value.len() > 1
        && matches!(scalar::plain(value), Ok(Value::Text(_)))
}

/// Several lines without leading blanks and without characters that need escapes.
fn fits_block(value: &str) -> bool {
    value.trim_end_matches('\n').contains('\n')
        && !value.ends_with("\n\n")
        && !value.contains(|c: char| c != '\n' && needs_escape(c))
        && !value.starts_with([' ', '\n'])
}

/// Characters that only escapes can express, or that an editor would not show.
fn needs_escape(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

fn escaped(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if needs_escape(c) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
