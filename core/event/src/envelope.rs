//! The envelope: `{"tags": {...}, "message": ..., "run_name": ...}`.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::StringTags;

/// What stands around a message when it is fired the way Idem fires; no other key ever does.
#[derive(Serialize)]
pub(super) struct Envelope<'a, M: ?Sized> {
    pub(super) tags: &'a Map<String, Value>,
    pub(super) message: &'a M,
    pub(super) run_name: &'a str,
}

/// The string tags, as destinations receive them beside the body.
pub(super) fn string_tags(tags: &Map<String, Value>) -> StringTags {
    tags.iter()
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .collect()
}

/// The string tags of a body that was fired as it is, if it happens to be an envelope.
pub fn tags_of_body(json: &[u8]) -> StringTags {
    #[derive(serde::Deserialize)]
    struct Tags {
        tags: Map<String, Value>,
    }
    // A look tells most bodies from envelopes; a key may be written with escapes.
    let may_have_tags = || {
        memchr::memmem::find(json, b"\"tags\"").is_some()
            || memchr::memmem::find(json, b"\\u00").is_some()
    };
    if json.first() != Some(&b'{') || !may_have_tags() {
        return StringTags::default();
    }
    serde_json::from_slice::<Tags>(json)
        .map(|envelope| string_tags(&envelope.tags))
        .unwrap_or_default()
}
