//! The envelope: `{"tags": {...}, "message": ..., "run_name": ...}`.

use evbus_abi::v1::AttributeV1;
use serde::Serialize;
use serde_json::{Map, Value};

/// What stands around a message when it is fired the way Idem fires; no other key ever does.
#[derive(Serialize)]
pub(super) struct Envelope<'a, M: ?Sized> {
    pub(super) tags: &'a Map<String, Value>,
    pub(super) message: &'a M,
    pub(super) run_name: &'a str,
}

/// The string tags, as destinations receive them beside the body.
pub(super) fn attributes(tags: &Map<String, Value>) -> Vec<AttributeV1> {
    tags.iter()
        .filter_map(|(key, value)| match value {
            Value::String(value) => Some(AttributeV1 {
                key: key.as_str().into(),
                value: value.as_str().into(),
            }),
            _ => None,
        })
        .collect()
}

/// The string tags of a body that was fired as it is, where it happens to be an envelope.
pub fn attributes_of_body(json: &[u8]) -> Vec<AttributeV1> {
    #[derive(serde::Deserialize)]
    struct Tags {
        tags: Map<String, Value>,
    }
    if json.first() != Some(&b'{') {
        return Vec::new();
    }
    serde_json::from_slice::<Tags>(json)
        .map(|envelope| attributes(&envelope.tags))
        .unwrap_or_default()
}
