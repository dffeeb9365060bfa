//! The two forms of a body: Salt's DATA, which is msgpack, and JSON text.
//!
//! From msgpack to JSON, with the order kept:
//!
//! | msgpack | JSON |
//! |---|---|
//! | nil, bool, integers, str, array, map | the same; integers are exact |
//! | float | the shortest text that reads back as the same number |
//! | NaN and the infinities, which JSON cannot represent | `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | bin, and str that is not UTF-8 | `{"__bytes__": "<standard base64>"}`, whatever the bytes are |
//! | ext 78, Salt's datetime | its text: `"20240229T12:34:56.789012"` |
//! | other ext | `{"__ext__": <type>, "__bytes__": "<standard base64>"}` |
//! | map keys that are not str | their text: `"1"`, `"1.5"`, `"true"`, `"null"`; bytes as base64 |
//!
//! The form of bytes does not depend on their content, so that the type of a field does not depend on whether a
//! value happens to be UTF-8.
//!
//! From JSON to msgpack, in the shortest forms, with the order kept: integers that need more than 64 bits become
//! their decimal text, as in Salt; a lone surrogate in a string becomes U+FFFD.
//!
//! Neither direction is recursive, so nesting cannot overflow the stack.

mod json_string;
mod stamped;
mod string_tags;
mod to_json;
mod to_msgpack;

#[cfg(test)]
mod tests;

pub(crate) use json_string::next_special;
pub use stamped::stamp_data;
pub use string_tags::{MAX_TAGS, StringTags};
pub(crate) use to_json::check_data;
pub use to_json::{JsonWriter, NoJson, data_to_json, value_to_json};
pub use to_msgpack::{JsonReader, json_to_msgpack};

/// The key of the time that every event on Salt's bus carries in its DATA.
pub const STAMP: &[u8] = b"_stamp";

/// The key of an envelope's tags.
const TAGS: &[u8] = b"tags";

/// How many containers are open around a tag.
const TAGS_LEVEL: usize = 2;

/// What a reader or a writer keeps when it is trimmed.
const KEPT_BYTES: usize = 1024 * 1024;
