//! JSON text: written without loss, checked without building it.

use std::cell::RefCell;

use evbus_wire::Finite;
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::{Event, EventError, MAX_DEPTH};

/// Writes a value as JSON text, and has an event made of it.
pub(super) fn written<T: Serialize + ?Sized>(
    profile: &str,
    value: &T,
    make: impl FnOnce(&str) -> Result<Event, EventError>,
) -> Result<Event, EventError> {
    // Written where there is room already, then copied once, into the event. Taken out of its place,
    // since a value's own `Serialize` may fire events too.
    let mut text = SCRATCH.take();
    text.clear();
    let fault = |reason: String| EventError::Unserializable {
        profile: profile.to_owned(),
        serial: "JSON",
        reason,
    };
    let event = serde_json::to_writer(&mut text, &Finite(value))
        .map_err(|error| fault(error.to_string()))
        .and_then(|()| match depth(&text) {
            found if found > MAX_DEPTH => Err(EventError::TooDeep { found }),
            _ => Ok(()),
        })
        .and_then(|()| str::from_utf8(&text).map_err(|error| fault(error.to_string())))
        .and_then(make);
    if text.capacity() <= SCRATCH_BYTES {
        SCRATCH.set(text);
    }
    event
}

/// What a thread keeps between events; a larger buffer is given back.
const SCRATCH_BYTES: usize = 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Checks that `text` is one JSON value and not nested too deeply; it is UTF-8 then.
///
/// # Errors
///
/// It is not one JSON value, or it is nested too deeply.
pub fn check(text: &[u8]) -> Result<&str, EventError> {
    // First, so that no parser ever meets a deeply nested value.
    let found = depth(text);
    if found > MAX_DEPTH {
        return Err(EventError::TooDeep { found });
    }
    let text = std::str::from_utf8(text).map_err(|error| EventError::NotJson {
        reason: format!("invalid UTF-8 after byte {}", error.valid_up_to()),
    })?;
    serde_json::from_str::<IgnoredAny>(text)
        .map(|_| text)
        .map_err(|error| EventError::NotJson {
            reason: error.to_string(),
        })
}

/// How deeply arrays and objects are nested; right for JSON, some number for anything else. It does not use
/// `JsonTokens`, because every event passes here and only brackets and quotes matter.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => {
                            bytes.next();
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_nesting_and_not_brackets_in_strings() {
        for (text, expected) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a": [1, {"b": []}]}"#, 4),
            (r#"["[[[", "\"[["]"#, 1),
            (r#"["\\", []]"#, 2),
        ] {
            assert_eq!(depth(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_very_deep_body_is_refused_without_a_stack_overflow() {
        let text = "[".repeat(1_000_000);
        assert_eq!(
            check(text.as_bytes()),
            Err(EventError::TooDeep { found: 1_000_000 })
        );
    }

    #[test]
    fn text_that_is_no_json_is_refused_with_its_place() {
        let error = check(b"{\"a\": }").expect_err("this is not JSON");
        assert!(error.to_string().contains("line 1 column 7"), "{error}");
        let error = check(b"\"\xff\"").expect_err("this is not UTF-8");
        assert!(
            error.to_string().contains("invalid UTF-8 after byte 1"),
            "{error}"
        );
    }
}
