//! The envelope: `{"tags": {...}, "message": ..., "run_name": ...}`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::{StringTags, json};

/// Appends a message with what stands around it when it is fired the way Idem fires; no other key ever does. Returns
/// how deeply the envelope is nested.
#[inline]
pub(super) fn append<M: Serialize + ?Sized>(
    text: &mut Vec<u8>,
    tags: &Map<String, Value>,
    run_name: &str,
    message: &M,
) -> serde_json::Result<usize> {
    text.extend_from_slice(b"{\"tags\":");
    let in_tags = json::append(text, tags)?;
    text.extend_from_slice(b",\"message\":");
    let in_message = json::append(text, message)?;
    text.extend_from_slice(b",\"run_name\":");
    json::append(text, run_name)?;
    text.push(b'}');
    Ok(1 + in_tags.max(in_message))
}

/// The string tags, as destinations receive them beside the body.
pub(super) fn string_tags(tags: &Map<String, Value>) -> StringTags {
    if tags.is_empty() {
        return StringTags::default();
    }
    StringTags::of(tags.iter().map(|(key, value)| (key, value.as_str())))
}

/// The string tags of a body that was fired as it is, if it happens to be an envelope.
pub fn tags_of_body(json: &[u8]) -> StringTags {
    #[derive(Deserialize)]
    struct Envelope {
        tags: Tags,
    }
    // A look tells most bodies from envelopes; a key may be written with escapes.
    let may_have_tags = || {
        memchr::memmem::find(json, b"\"tags\"").is_some()
            || memchr::memmem::find(json, b"\\u00").is_some()
    };
    if json.first() != Some(&b'{') || !may_have_tags() {
        return StringTags::default();
    }
    serde_json::from_slice::<Envelope>(json)
        .map(|envelope| envelope.tags.0)
        .unwrap_or_default()
}

/// The string tags in a mapping, read without building the others.
struct Tags(StringTags);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl<'de> Visitor<'de> for Visit {
            type Value = Tags;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a mapping of tags")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tags, A::Error> {
                let tags = std::iter::from_fn(|| {
                    map.next_entry::<Cow<'de, str>, &'de RawValue>().transpose()
                });
                // Not collected first: there may be millions.
                let mut fault = None;
                let tags = StringTags::of(
                    tags.map_while(|entry| entry.map_err(|error| fault = Some(error)).ok())
                        .map(|(key, value)| (key, text_of(value))),
                );
                match fault {
                    Some(fault) => Err(fault),
                    None => Ok(Tags(tags)),
                }
            }
        }

        deserializer.deserialize_map(Visit)
    }
}

/// What a JSON value says, if it is a string.
fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    let text = value.get();
    match text.strip_prefix('"')?.strip_suffix('"') {
        Some(inner) if !inner.contains('\\') => Some(inner.into()),
        _ => serde_json::from_str::<String>(text).ok().map(Cow::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_string_tags_of_a_body_are_those_that_a_parser_finds() {
        for (body, expected) in [
            (
                r#"{"tags":{"b":"1","a":"\u00e9\"","n":1,"m":{"x":"y"}},"message":{"tags":{"z":"z"}}}"#,
                &["b", "1", "a", "é\""][..],
            ),
            (
                r#"{ "message":1, "\u0074ags" : { "k" : "v" , "k":null, "l":"" } }"#,
                &["l", ""],
            ),
            (r#"{"tags":{"a":"1"},"tags":{"b":"2"}}"#, &[]),
            (r#"{"tags":["a"]}"#, &[]),
            (r#"{"tags":{"a":"1"}"#, &[]),
            (r#"["tags"]"#, &[]),
        ] {
            let found = tags_of_body(body.as_bytes());
            let found: Vec<_> = found.iter().flat_map(<[&str; 2]>::from).collect();
            assert_eq!(found, expected, "{body}");
        }
    }
}
