//! An event as a line.

use std::io::Write;
use std::str;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use evbus_sdk::Event;
use evbus_sdk::serde::de::IgnoredAny;
use evbus_sdk::serde_json;

use crate::Format;

/// Why an event has no line in the format.
pub(crate) const LINE_BREAK: &str = "the body contains a line break, which `format: body` cannot keep on one line; use `format: json_lines`";

/// The beginning of every line of [`Format::JsonLines`].
pub(crate) const LINE_START: &str = "{\"id\":\"";

/// Appends the event's line, line break included. On an error, nothing is appended.
pub(crate) fn push_line(
    format: Format,
    event: Event<'_>,
    lines: &mut Vec<u8>,
) -> Result<(), &'static str> {
    match format {
        Format::JsonLines => push_object(event, lines),
        Format::Body => push_body(event, lines)?,
    }
    lines.push(b'\n');
    Ok(())
}

fn push_object(event: Event<'_>, line: &mut Vec<u8>) {
    let time = humantime::format_rfc3339_nanos(event.time());
    push(
        line,
        format_args!(
            "{LINE_START}{}\",\"time\":\"{time}\",\"profile\":",
            event.id()
        ),
    );
    push_string(line, event.profile());
    for (position, (key, value)) in event.attributes().enumerate() {
        line.extend_from_slice(if position == 0 { b",\"tags\":{" } else { b"," });
        push_string(line, key);
        line.push(b':');
        push_string(line, value);
    }
    if event.attributes().len() > 0 {
        line.push(b'}');
    }
    let body = event.body();
    if is_json(event) {
        line.extend_from_slice(b",\"body\":");
        push_json(line, body);
    } else if let Ok(text) = str::from_utf8(body) {
        line.extend_from_slice(b",\"encoding\":\"text\",\"body\":");
        push_string(line, text);
    } else {
        line.extend_from_slice(b",\"encoding\":\"base64\",\"body\":\"");
        push_base64(line, body);
        line.push(b'"');
    }
    line.push(b'}');
}

fn push_body(event: Event<'_>, line: &mut Vec<u8>) -> Result<(), &'static str> {
    let body = event.body();
    if !body.contains(&b'\n') {
        line.extend_from_slice(body);
        return Ok(());
    }
    if !is_json(event) {
        return Err(LINE_BREAK);
    }
    push_json(line, body);
    Ok(())
}

/// Whether the body has the form of its media type. Bodies are not trusted: invalid JSON must not make the line
/// unreadable.
fn is_json(event: Event<'_>) -> bool {
    event.content_type() == "application/json"
        && str::from_utf8(event.body())
            .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Appends JSON; line breaks can only stand between its tokens, where a space does as well.
fn push_json(line: &mut Vec<u8>, json: &[u8]) {
    let start = line.len();
    line.extend_from_slice(json);
    for byte in &mut line[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

fn push_string(line: &mut Vec<u8>, text: &str) {
    // Neither writing to a Vec nor serializing a string can fail.
    let _ = serde_json::to_writer(line, text);
}

fn push(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = line.write_fmt(text);
}

fn push_base64(line: &mut Vec<u8>, bytes: &[u8]) {
    let start = line.len();
    line.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The length is exact: three bytes become four characters, including padding.
    let _ = BASE64.encode_slice(bytes, &mut line[start..]);
}
