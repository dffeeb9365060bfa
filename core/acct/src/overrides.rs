//! What the command line adds to an acct file: `--overrides` and `--extras`, as acct applies them.

use serde_json::Value as Json;

use super::key::Key;
use super::node::{Node, Value};
use super::place::Place;
use super::scalar;

/// An object of the command line.
pub type JsonObject = serde_json::Map<String, Json>;

/// The flags, which are to blame for what is wrong in their values.
pub(crate) const OVERRIDES: &str = "--overrides";
pub(crate) const EXTRAS: &str = "--extras";

/// The provider that has extras, and the keys that may come from them.
const KAFKA: &str = "kafka";
const KAFKA_EXTRAS: [&str; 3] = ["key", "partition", "topics"];

/// Overrides values of the file: mappings are merged, everything else is replaced.
pub(crate) fn override_with(root: &mut Node, overrides: &JsonObject) {
    if overrides.is_empty() {
        return;
    }
    if let Value::Null = root.value {
        root.value = Value::Map(Vec::new());
    }
    if let Value::Map(pairs) = &mut root.value {
        update(pairs, overrides);
    }
}

fn update(pairs: &mut Vec<(Key, Node)>, overrides: &JsonObject) {
    for (name, value) in overrides {
        let known = pairs.iter_mut().find(|(key, _)| key.name == *name);
        match (known, value) {
            (Some((_, node)), Json::Object(inner)) if matches!(node.value, Value::Map(_)) => {
                if let Value::Map(pairs) = &mut node.value {
                    update(pairs, inner);
                }
            }
            (Some(known), value) => *known = pair(name, value, OVERRIDES),
            (None, value) => pairs.push(pair(name, value, OVERRIDES)),
        }
    }
}

/// Adds the missing keys of `extras.kafka` to each kafka entry.
pub(crate) fn add_extras(root: &mut Node, extras: &JsonObject) -> Result<bool, String> {
    if let Some(unknown) = extras.keys().find(|it| *it != KAFKA) {
        return Err(format!(
            "found the unknown key `{unknown}` in extras, expected {KAFKA}, the only provider that takes them; correct --extras"
        ));
    }
    let extras = match extras.get(KAFKA) {
        None | Some(Json::Null) => return Ok(true),
        Some(Json::Object(extras)) => extras,
        Some(_) => return Err("found extras.kafka without keys, expected an object with key, partition or topics; correct --extras".to_owned()),
    };
    if let Some(unknown) = extras
        .keys()
        .find(|it| !KAFKA_EXTRAS.contains(&it.as_str()))
    {
        return Err(format!(
            "found the unknown key `{unknown}` in extras.kafka, expected one of {}; correct --extras",
            KAFKA_EXTRAS.join(", ")
        ));
    }
    let Value::Map(sections) = &mut root.value else {
        return Ok(false);
    };
    let sections = sections.iter_mut().filter(|(key, _)| key.name == KAFKA);
    let mut has_section = false;
    for (_, section) in sections {
        has_section = true;
        match &mut section.value {
            Value::Map(profiles) => complete(profiles, extras),
            Value::List(items) => {
                for item in items {
                    if let Value::Map(profiles) = &mut item.value {
                        complete(profiles, extras);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(has_section)
}

fn complete(profiles: &mut [(Key, Node)], extras: &JsonObject) {
    for (_, entry) in profiles {
        if let Value::Null = entry.value {
            entry.value = Value::Map(Vec::new());
        }
        let Value::Map(pairs) = &mut entry.value else {
            continue;
        };
        for (name, extra) in extras.iter().filter(|(_, extra)| !extra.is_null()) {
            match pairs.iter_mut().find(|(key, _)| key.name == *name) {
                Some(known) if is_empty(&known.1.value) => *known = pair(name, extra, EXTRAS),
                Some(_) => {}
                None => pairs.push(pair(name, extra, EXTRAS)),
            }
        }
    }
}

/// Missing to acct too, except for a partition of 0, which acct wrongly treats as missing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        _ => false,
    }
}

/// A key and its value as the flag gives them.
fn pair(name: &str, value: &Json, flag: &'static str) -> (Key, Node) {
    (Key::text(name, Place::Flag(flag)), from_json(value, flag))
}

fn from_json(value: &Json, flag: &'static str) -> Node {
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) if number.is_f64() => {
            scalar::finite(number.as_f64().unwrap_or(f64::NAN))
        }
        Json::Number(number) => Value::Number(number.clone()),
        Json::String(text) => Value::text(&**text),
        Json::Array(items) => Value::List(items.iter().map(|item| from_json(item, flag)).collect()),
        Json::Object(pairs) => Value::Map(
            pairs
                .iter()
                .map(|(name, value)| pair(name, value, flag))
                .collect(),
        ),
    };
    Node {
        value,
        place: Place::Flag(flag),
    }
}
