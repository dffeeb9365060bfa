//! JSON text: written without loss, checked without building it.

use std::cell::RefCell;

use evbus_wire::Finite;
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::{EventError, MAX_DEPTH};

/// Has JSON text written, and an event made of it. `write` returns how deeply the text is nested.
#[inline]
pub(super) fn written<E>(
    profile: &str,
    write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<usize>,
    make: impl FnOnce(&str) -> Result<E, EventError>,
) -> Result<E, EventError> {
    let fault = |reason: String| EventError::Unserializable {
        profile: profile.to_owned(),
        serial: "JSON",
        reason,
    };
    with_scratch(|text| {
        let found = write(text).map_err(|error| fault(error.to_string()))?;
        if found > MAX_DEPTH {
            return Err(EventError::TooDeep { found });
        }
        make(str::from_utf8(text).map_err(|error| fault(error.to_string()))?)
    })
}

/// Appends a value as JSON text. Returns how deeply it is nested.
#[inline]
pub(super) fn append<T: Serialize + ?Sized>(
    text: &mut Vec<u8>,
    value: &T,
) -> serde_json::Result<usize> {
    let start = text.len();
    serde_json::to_writer(&mut *text, &Finite(value))?;
    Ok(depth(&text[start..]))
}

/// What a thread keeps between events; a larger buffer is given back.
const SCRATCH_BYTES: usize = 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Text is written where there is room already, then copied once, into the event.
#[inline]
fn with_scratch<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    SCRATCH.with(|scratch| {
        let mut borrowed = scratch.try_borrow_mut();
        let mut own = Vec::new();
        let text = match &mut borrowed {
            Ok(text) => &mut **text,
            // A value's own `Serialize` may fire events too.
            Err(_) => &mut own,
        };
        text.clear();
        let done = work(text);
        if text.capacity() > SCRATCH_BYTES {
            *text = Vec::new();
        }
        done
    })
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
