//! Validates recorded events against the documented formats.

use std::collections::HashMap;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError, Validator};
use serde::Serialize;
use serde_json::Value;

use crate::schema::{ERROR_EVENT, schemas};
use evbus_report::counted;

/// Validates bodies against the [`schemas`] of their profiles.
#[derive(Debug)]
pub struct Checker {
    profiles: HashMap<&'static str, Validator>,
    error_event: Validator,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// The profile is not documented, so any body is valid.
    Undocumented,
    /// The profile is documented, and these are the faults of the body, in the order of their pointers.
    Documented(Vec<Fault>),
}

/// A deviation of a body from the format of its profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Fault {
    /// Where it is in the body, as a JSON pointer; empty for the body itself.
    pub pointer: String,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl Default for Checker {
    fn default() -> Self {
        Self::new()
    }
}

impl Checker {
    /// Compiles the formats, which takes some milliseconds.
    pub fn new() -> Self {
        let validator = |schema: &Value| {
            jsonschema::validator_for(schema).expect("the schemas of this crate are valid")
        };
        let mut profiles: HashMap<_, _> = schemas()
            .iter()
            .map(|schema| (schema.name, validator(&schema.json())))
            .collect();
        let error_event = profiles
            .remove(ERROR_EVENT)
            .expect("error events have a schema");
        Self {
            profiles,
            error_event,
        }
    }

    /// Validates the body of an event that was fired under `profile` against its format. The body of an
    /// error event, which has the key `publish_event_error_message`, is validated against the format of
    /// error events.
    pub fn check(&self, profile: &str, body: &Value) -> Checked {
        let Some(validator) = self.profiles.get(profile) else {
            return Checked::Undocumented;
        };
        let validator = match body.get("publish_event_error_message") {
            Some(_) => &self.error_event,
            None => validator,
        };
        let mut faults: Vec<Fault> = validator
            .iter_errors(body)
            .map(|error| fault(&error))
            .collect();
        faults.sort_by(|one, other| one.pointer.cmp(&other.pointer));
        Checked::Documented(faults)
    }
}

fn fault(error: &ValidationError<'_>) -> Fault {
    let (found, expected) = match error.kind() {
        ValidationErrorKind::Type { kind } => (describe(error.instance()), types(kind)),
        ValidationErrorKind::Enum { options } => (
            describe(error.instance()),
            match options.as_array().map(Vec::as_slice) {
                Some([only]) => only.to_string(),
                Some(options) => format!("one of {}", list(options.iter())),
                None => options.to_string(),
            },
        ),
        ValidationErrorKind::Constant { expected_value } => {
            (describe(error.instance()), expected_value.to_string())
        }
        ValidationErrorKind::Required { property } => (
            describe(error.instance()),
            format!("also the key {property}"),
        ),
        ValidationErrorKind::AdditionalProperties { unexpected } => (
            keys(unexpected.iter().map(String::as_str)),
            "no such key".to_owned(),
        ),
        ValidationErrorKind::Minimum { limit } => {
            (describe(error.instance()), format!("at least {limit}"))
        }
        _ => (describe(error.instance()), error.to_string()),
    };
    Fault {
        pointer: error.instance_path().as_str().to_owned(),
        found,
        expected,
    }
}

fn types(kind: &TypeKind) -> String {
    let names: Vec<&str> = match kind {
        TypeKind::Single(one) => vec![one.as_str()],
        TypeKind::Multiple(several) => several.iter().map(JsonType::as_str).collect(),
    };
    names.join(" or ")
}

/// How much of a value is shown. A value may be long, and its content does not matter here.
const SHOWN: usize = 60;

fn describe(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() > SHOWN => {
            let start: String = text.chars().take(SHOWN).collect();
            format!("the string {start:?}... ({} bytes)", text.len())
        }
        Value::String(text) => format!("the string {text:?}"),
        Value::Number(number) => format!("the number {number}"),
        Value::Bool(value) => value.to_string(),
        Value::Null => "null".to_owned(),
        Value::Array(items) => format!("an array of {}", count(items.len(), "item")),
        Value::Object(entries) if entries.is_empty() => "an empty object".to_owned(),
        Value::Object(entries) => {
            format!(
                "an object with {}",
                keys(entries.keys().map(String::as_str))
            )
        }
    }
}

fn count(number: usize, what: &str) -> String {
    counted(number, what, &format!("{what}s"))
}

/// Lists at most eight of them.
fn keys<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let number = names.len();
    let shown = list(names.take(8).map(|name| {
        let mut short: String = name.chars().take(SHOWN).collect();
        if short.len() < name.len() {
            short.push_str("...");
        }
        format!("{short:?}")
    }));
    match number {
        1 => format!("the key {shown}"),
        2..=8 => format!("the keys {shown}"),
        _ => format!("{number} keys, such as {shown}"),
    }
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(message: &str) -> Value {
        json!({
            "tags": {"ref": null, "type": "state-status"}, "message": message, "run_name": "r",
        })
    }

    #[track_caller]
    fn check(profile: &str, body: &Value, expected: &[(&str, &str, &str)]) {
        let Checked::Documented(faults) = Checker::new().check(profile, body) else {
            panic!("{profile} is documented");
        };
        let faults: Vec<_> = faults
            .iter()
            .map(|fault| {
                let Fault {
                    pointer,
                    found,
                    expected,
                } = fault;
                (pointer.as_str(), found.as_str(), expected.as_str())
            })
            .collect();
        assert_eq!(faults, expected);
    }

    #[test]
    fn a_fault_names_its_place_what_is_there_and_what_should_be() {
        check("idem-status", &status("RUNNING"), &[]);
        let all = "one of \"FINISHED\", \"CREATED\", \"GATHERING\", \"COMPILING\", \"RUNNING\", \
                   \"COMPILATION_ERROR\", \"GATHER_ERROR\", \"RUNTIME_ERROR\", \"UNDEFINED\"";
        check(
            "idem-status",
            &status("DONE"),
            &[("/message", "the string \"DONE\"", all)],
        );
        check(
            "idem-status",
            &json!({"tags": {"type": "state-post"}, "message": "RUNNING", "run_name": 1, "_stamp": "x"}),
            &[
                ("", "the key \"_stamp\"", "no such key"),
                ("/run_name", "the number 1", "string"),
                (
                    "/tags",
                    "an object with the key \"type\"",
                    "also the key \"ref\"",
                ),
                (
                    "/tags/type",
                    "the string \"state-post\"",
                    "\"state-status\"",
                ),
            ],
        );
        check(
            "idem-status",
            &json!([1]),
            &[("", "an array of 1 item", "object")],
        );
    }

    #[test]
    fn the_two_formats_of_idem_state_are_told_apart_by_the_tag() {
        let tags = json!({"ref": "states.x", "type": "state-post"});
        check(
            "idem-state",
            &json!({"tags": tags, "message": {"name": "a", "comment": 1, "result": null}, "run_name": ""}),
            &[(
                "/message/comment",
                "the number 1",
                "null or string or array",
            )],
        );
        check(
            "idem-state",
            &json!({"tags": {"ref": null, "type": "state-odd"}, "message": 1, "run_name": ""}),
            &[(
                "/tags/type",
                "the string \"state-odd\"",
                "one of \"state-pre\", \"state-post\"",
            )],
        );
    }

    #[test]
    fn an_error_event_is_well_under_every_profile() {
        let lost = json!({
            "tags": {"ref": "idem.event.publish_error_callback_handler", "plugin": "kafka", "type": "state-status"},
            "run_name": "r",
            "publish_event_error_message": "too large",
        });
        check("idem-status", &lost, &[]);
        check("idem-low", &lost, &[]);
        let checked = Checker::new().check("idem-custom", &lost);
        assert_eq!(checked, Checked::Undocumented);
    }

    #[test]
    fn long_values_are_cut() {
        let long = "x".repeat(1000);
        check(
            "idem-logger",
            &json!({"tags": {"module": "m", "level": 3, "timestamp": "t"}, "message": [long], "run_name": ""}),
            &[
                ("/message", "an array of 1 item", "string"),
                ("/tags/level", "the number 3", "string"),
            ],
        );
        assert!(describe(&Value::String(long)).len() < 100);
    }
}
