//! The JSON Schemas of the documented events.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use crate::{
    ChunkEvent, Documented, ErrorEvent, EsmEvent, ExecEvent, HighEvent, LoggerEvent, LowEvent,
    RunEvent, StatePostEvent, StatePreEvent, StatusEvent, UnwrappedLoggerEvent,
};

const DOCUMENTATION: &str = "Idem's documentation";
const IDEM: &str = "Idem 25.0.1";

/// The format of the bodies of one profile.
#[derive(Debug)]
#[non_exhaustive]
pub struct Schema {
    /// The profile; `error-event` for error events, which are fired under any profile.
    pub name: &'static str,
    /// The values of the tag `type`.
    pub types: &'static [&'static str],
    /// A description of the event.
    pub about: &'static str,
    /// The source of the format.
    pub source: &'static str,
    make: fn() -> Value,
}

impl Schema {
    /// The JSON Schema, draft 2020-12.
    pub fn json(&self) -> Value {
        let mut schema = (self.make)();
        plain(&mut schema);
        let mut whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.name,
            "description": format!("{}. Source: {}.", self.about, self.source),
        });
        if let (Value::Object(whole), Value::Object(schema)) = (&mut whole, schema) {
            for (key, value) in schema {
                // The types' own descriptions are about Rust.
                whole.entry(key).or_insert(value);
            }
        }
        whole
    }
}

/// The name of the schema of [`ErrorEvent`].
pub(crate) const ERROR_EVENT: &str = "error-event";

const SCHEMAS: &[Schema] = &[
    Schema {
        name: StatusEvent::PROFILE,
        types: &["state-status"],
        about: "The status of a run",
        source: DOCUMENTATION,
        make: of::<StatusEvent>,
    },
    Schema {
        name: LowEvent::PROFILE,
        types: &["state-low-data"],
        about: "A run's low data: all compiled states",
        source: DOCUMENTATION,
        make: of::<LowEvent>,
    },
    Schema {
        name: HighEvent::PROFILE,
        types: &["state-high-data"],
        about: "The rendered high data of an SLS source",
        source: DOCUMENTATION,
        make: of::<HighEvent>,
    },
    Schema {
        name: StatePreEvent::PROFILE,
        types: &["state-pre", "state-post"],
        about: "Before a state function is called, and after it has returned",
        source: DOCUMENTATION,
        make: state,
    },
    Schema {
        name: ChunkEvent::PROFILE,
        types: &["state-chunk", "state-post"],
        about: "One compiled state, about to run",
        source: "Idem's documentation (type state-post) and Idem 25.0.1 (type state-chunk)",
        make: of::<ChunkEvent>,
    },
    Schema {
        name: RunEvent::PROFILE,
        types: &["state-result"],
        about: "The output of a state with complete meta-data",
        source: DOCUMENTATION,
        make: of::<RunEvent>,
    },
    Schema {
        name: ExecEvent::PROFILE,
        types: &["exec-post"],
        about: "The return of an exec function, or of a command run by evbus exec",
        source: DOCUMENTATION,
        make: of::<ExecEvent>,
    },
    Schema {
        name: LoggerEvent::PROFILE,
        types: &[],
        about: "A line of a log",
        source: DOCUMENTATION,
        make: of::<LoggerEvent>,
    },
    Schema {
        name: UnwrappedLoggerEvent::PROFILE,
        types: &[],
        about: "A line of Idem's own log, without the envelope",
        source: IDEM,
        make: of::<UnwrappedLoggerEvent>,
    },
    Schema {
        name: EsmEvent::PROFILE,
        types: &["esm-metadata"],
        about: "The metadata of the cache of managed states",
        source: IDEM,
        make: of::<EsmEvent>,
    },
    Schema {
        name: ERROR_EVENT,
        types: &[],
        about: "An event was not delivered; fired under the profile of that event",
        source: IDEM,
        make: of::<ErrorEvent>,
    },
];

/// The formats of all documented profiles.
pub fn schemas() -> &'static [Schema] {
    SCHEMAS
}

/// The format of a profile, if it is documented.
pub fn schema(name: &str) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|schema| schema.name == name)
}

fn of<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    // Inlined, so that a format can be read from top to bottom.
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    SchemaGenerator::new(settings)
        .into_root_schema_for::<T>()
        .to_value()
}

/// The schema of a profile with two formats. It selects one by the tag `type`, so that faults refer to that format.
fn state() -> Value {
    let is = |kind: &str| {
        json!({
            "type": "object",
            "required": ["tags"],
            "properties": {"tags": {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"const": kind}},
            }},
        })
    };
    let part = |mut schema: Value| {
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("title");
            schema.remove("description");
        }
        schema
    };
    json!({
        "type": "object",
        "required": ["tags"],
        "properties": {"tags": {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"type": "string", "enum": ["state-pre", "state-post"]}},
        }},
        "if": is("state-pre"),
        "then": part(of::<StatePreEvent>()),
        "else": {"if": is("state-post"), "then": part(of::<StatePostEvent>())},
    })
}

/// Turns a choice between constant texts into an `enum`, which is easier to read and results in one clear fault.
fn plain(schema: &mut Value) {
    let Ok(schema) = <&mut schemars::Schema>::try_from(schema) else {
        return;
    };
    let mut plain = RecursiveTransform(|schema: &mut schemars::Schema| {
        if let Some(Value::String(text)) = schema.get_mut("description") {
            // Its line breaks are those of the source.
            *text = text.replace('\n', " ");
        }
        let choices = schema.get("oneOf").and_then(Value::as_array);
        let texts: Option<Vec<Value>> = choices
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .try_fold(Vec::new(), |mut texts, choice| {
                match (choice.get("const"), choice.get("enum")) {
                    (Some(text), None) => texts.push(text.clone()),
                    (None, Some(Value::Array(more))) => texts.extend(more.iter().cloned()),
                    _ => return None,
                }
                Some(texts)
            });
        if let Some(texts) = texts.filter(|texts| !texts.is_empty()) {
            schema.remove("oneOf");
            schema.insert("type".to_owned(), "string".into());
            schema.insert("enum".to_owned(), Value::Array(texts));
        }
    });
    plain.transform(schema);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_of_the_documented_names() {
        let schema = schema("idem-status").expect("it is documented").json();
        let message = &schema["properties"]["message"];
        let names: Vec<&str> = crate::Status::ALL
            .iter()
            .map(|status| status.as_str())
            .collect();
        assert_eq!(message["type"], "string");
        assert_eq!(message["enum"], json!(names), "{schema:#}");
    }

    #[test]
    fn every_schema_is_one_and_says_what_it_is() {
        for schema in schemas() {
            let json = schema.json();
            assert!(jsonschema::meta::is_valid(&json), "{}", schema.name);
            assert_eq!(json["title"], schema.name);
            let text = json.to_string();
            assert!(
                !text.contains("oneOf") && !text.contains("anyOf"),
                "{json:#}"
            );
            for kind in schema.types {
                assert!(text.contains(&format!("\"{kind}\"")), "{json:#}");
            }
        }
    }
}
