//! From an event to the headers of a message.
//!
//! | header | value |
//! |---|---|
//! | `evbus-id` | the event's id, as a UUID; the same at every attempt, so duplicates can be told |
//! | `evbus-time` | when the event was fired, in nanoseconds since the Unix epoch, decimal |
//! | `evbus-profile` | the event's profile name; only where the topic is not that name itself |
//! | `content-type` | media type of the payload |
//! | one of `extra_headers` | what its template gives |
//! | any other | the event's string tag of that name (`ref`, `type`, ...) |
//!
//! Compact headers are one: `evbus`, with the 16 bytes of the id, 8 bytes of the time, big-endian, and the
//! profile where the table has it. The media type is there only if it is not JSON's. `extra_headers` come after them.

use std::borrow::Cow;
use std::io::Write as _;

use evbus_sdk::Event;
use rdkafka::message::{Header, OwnedHeaders};

use crate::config::Headers;

const ID: &str = "evbus-id";
const TIME: &str = "evbus-time";
const PROFILE: &str = "evbus-profile";
const CONTENT_TYPE: &str = "content-type";
const COMPACT: &str = "evbus";
const JSON: &str = "application/json";

/// Whether a header of that name means something that this plugin says.
pub(crate) fn is_own_header(name: &str) -> bool {
    [ID, TIME, PROFILE, CONTENT_TYPE, COMPACT].contains(&name)
}

/// The headers of an event's message; `with_profile` if the topic does not have its name. `scratch` is
/// memory that is used again for the next message.
pub(crate) fn headers(
    kind: Headers,
    event: Event<'_>,
    with_profile: bool,
    extra: &[(&str, Cow<'_, str>)],
    scratch: &mut Vec<u8>,
) -> Option<OwnedHeaders> {
    let headers = match kind {
        Headers::All => all(event, with_profile, extra, scratch),
        Headers::Compact => compact(event, with_profile, extra.len(), scratch),
        Headers::None if extra.is_empty() => return None,
        Headers::None => OwnedHeaders::new_with_capacity(extra.len()),
    };
    let with_extra =
        |headers, (name, value): &(&str, Cow<'_, str>)| add(headers, name, value.as_bytes());
    Some(extra.iter().fold(headers, with_extra))
}

fn all(
    event: Event<'_>,
    with_profile: bool,
    extra: &[(&str, Cow<'_, str>)],
    scratch: &mut Vec<u8>,
) -> OwnedHeaders {
    let tags = event.attributes();
    let mut headers = OwnedHeaders::new_with_capacity(tags.len() + extra.len() + 4);
    headers = add(headers, ID, event.id().text(&mut [0; 36]).as_bytes());
    scratch.clear();
    // Memory takes every byte.
    let _ = write!(scratch, "{}", event.time_unix_ns());
    headers = add(headers, TIME, scratch);
    if with_profile {
        headers = add(headers, PROFILE, event.profile().as_bytes());
    }
    headers = add(headers, CONTENT_TYPE, event.content_type().as_bytes());
    for (tag, value) in tags {
        // Such a tag stays in the body alone, so that the configured headers mean what they say.
        if !is_own_header(tag) && !extra.iter().any(|(name, _)| *name == tag) {
            headers = add(headers, tag, value.as_bytes());
        }
    }
    headers
}

fn compact(
    event: Event<'_>,
    with_profile: bool,
    extra: usize,
    scratch: &mut Vec<u8>,
) -> OwnedHeaders {
    scratch.clear();
    scratch.extend_from_slice(&event.id().0);
    scratch.extend_from_slice(&event.time_unix_ns().to_be_bytes());
    if with_profile {
        scratch.extend_from_slice(event.profile().as_bytes());
    }
    let headers = add(OwnedHeaders::new_with_capacity(2 + extra), COMPACT, scratch);
    match event.content_type() {
        JSON => headers,
        other => add(headers, CONTENT_TYPE, other.as_bytes()),
    }
}

fn add(headers: OwnedHeaders, key: &str, value: &[u8]) -> OwnedHeaders {
    headers.insert(Header {
        key,
        value: Some(value),
    })
}

/// Kafka's timestamp of an event: milliseconds since the Unix epoch.
pub(crate) fn timestamp(event: Event<'_>) -> i64 {
    // u64::MAX nanoseconds are fewer milliseconds than i64::MAX.
    i64::try_from(event.time_unix_ns() / 1_000_000).unwrap_or(i64::MAX)
}

/// What is wrong with a name as a topic, if anything.
///
/// The rule is Kafka's: 1 to 249 ASCII letters, digits, `.`, `_` and `-`, and not `.` or `..`.
pub(crate) fn topic_fault(name: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 249 {
        Some(format!(
            "is {} characters long; Kafka accepts topic names of 1 to 249",
            name.len()
        ))
    } else if name == "." || name == ".." {
        Some(format!("`{name}` is not a valid topic name for Kafka"))
    } else {
        let bad = name
            .char_indices()
            .find(|(at, _)| !allowed(name.as_bytes()[*at]));
        bad.map(|(_, bad)| {
            format!(
                "`{name}` contains the character {bad:?}; Kafka accepts ASCII letters, digits, `.`, `_` and `-` in topic names"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_rule_for_topic_names_is_kept() {
        for good in ["idem-status", "A.b_c-9", &"x".repeat(249), "..."] {
            assert_eq!(topic_fault(good), None, "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "größe",
            "a\0b",
            &"x".repeat(250),
        ] {
            assert!(topic_fault(bad).is_some(), "{bad}");
        }
    }
}
