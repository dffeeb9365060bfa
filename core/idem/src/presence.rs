//! Keys that are absent, null or there: all three come back as they were.

use std::borrow::Cow;

use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Reads a key that may be null and must be there.
pub(crate) fn nullable<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer)
}

/// Reads a key that may be absent: an `Option` that is `None` only then. A null is one of `T`'s own.
pub(crate) fn given<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// The schema of what [`nullable`] reads. Schemas of a bare `Option` say that the key may be absent.
pub(crate) struct Nullable<T>(std::marker::PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Nullable<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Nullable_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        Option::<T>::json_schema(generator)
    }
}

/// What a state or a function says of its result: the documentation shows text, Idem mostly fires
/// lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Comment {
    /// Text.
    Text(String),
    /// Lines, which are text as a rule.
    Lines(Vec<Value>),
    /// Nothing: a null.
    Nothing,
}

impl JsonSchema for Comment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Comment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({"type": ["string", "array", "null"]})
    }
}

impl From<&str> for Comment {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Comment {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<String>> for Comment {
    fn from(lines: Vec<String>) -> Self {
        Self::Lines(lines.into_iter().map(Value::String).collect())
    }
}
