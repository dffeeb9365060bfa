//! What is wrong with a value of a configuration, in words that never show the value.
//!
//! A deserializer's own text is not passed on, whoever wrote it: it may repeat what stood there, and at
//! a wrong place a password is as likely as anything else. The sentence is composed of what is known
//! without reading the value: its kind, and the JSON Schema of its key.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::known_keys;
use evbus_expression::places::Step;

/// With this keyword, a schema describes in words what it expects.
const IN_WORDS: &str = "x-expected";

/// What the number of a key counts, in the plural: `bytes`, `seconds`. Seconds beside the type of text are a
/// [`TimeSpan`](crate::TimeSpan), whose text has units.
const UNIT: &str = "x-unit";

/// More keys of a mapping are not listed.
const MAX_KEYS: usize = 20;

/// Deeper schemas are not described.
const MAX_DEPTH: usize = 8;

/// A location in a configuration, and its schema.
pub(crate) struct Location<'a> {
    /// The steps that lead to it.
    pub(crate) steps: Vec<Step>,
    found: &'a Value,
    expected: Option<&'a Value>,
}

/// What a refusal is about.
pub(crate) enum Complaint {
    /// The value at the location.
    Value,
    /// A key that is not in the mapping at the location.
    Missing(String),
    /// A key that the mapping at the location also contains under another name.
    Twice(String),
}

impl<'a> Location<'a> {
    /// The location at which a deserializer refused a configuration.
    pub(crate) fn of(schema: &'a Value, config: &'a Value, path: &Path) -> Self {
        let mut found = config;
        let mut node = known_keys::resolve(schema, schema);
        let mut steps = Vec::new();
        for segment in path {
            let (step, next) = match segment {
                Segment::Map { key } | Segment::Enum { variant: key } => (
                    Step::Key(key.clone()),
                    node.and_then(|node| below_key(schema, node, key, 0)),
                ),
                Segment::Seq { index } => (
                    Step::Item(*index),
                    node.and_then(|node| below_list(schema, node, 0)),
                ),
                Segment::Unknown => break,
            };
            // A variant that is only a text has nothing below it.
            let Some(value) = step.value_in(found) else {
                break;
            };
            steps.push(step);
            found = value;
            node = next;
        }
        Self {
            steps,
            found,
            expected: node,
        }
    }

    /// The subject of a refusal; only keys that are in the schema are read from its text.
    pub(crate) fn complaint(&self, schema: &Value, refusal: &str) -> Complaint {
        let named = |begin| named(refusal, begin, schema, self.expected);
        if let Some(name) = named("missing field `") {
            Complaint::Missing(name.to_owned())
        } else if let Some(name) = named("duplicate field `") {
            Complaint::Twice(name.to_owned())
        } else {
            Complaint::Value
        }
    }

    /// The required keys that the mapping here lacks. `None` if a key has another name than in the schema, because one
    /// of them may be that key.
    pub(crate) fn missing(&self, schema: &Value) -> Option<Vec<String>> {
        let keys = self.found.as_object()?;
        let node = self.expected?;
        let has_alias = keys
            .keys()
            .any(|key| below_key(schema, node, key, 0).is_none());
        let required = known_keys::resolve(schema, node)?.get("required")?;
        let required = required.as_array()?.iter().filter_map(Value::as_str);
        (!has_alias).then(|| {
            required
                .filter(|key| !keys.contains_key(*key))
                .map(str::to_owned)
                .collect()
        })
    }

    /// What is wrong with the value here.
    pub(crate) fn sentence(&self, schema: &Value) -> String {
        sentence(schema, self.found, self.expected)
    }
}

/// Lists in positions where the schema has a mapping, each with its fault. `serde` accepts a list as a mapping, with
/// its first item as the first key, so that a password could become the name of a file.
pub(crate) fn lists_for_mappings(schema: &Value, config: &Value) -> Vec<(Vec<Step>, String)> {
    look_for(schema, config, &|node, found| {
        found.is_array() && !allows(schema, node, found, 0) && takes_mapping(schema, node, 0)
    })
}

/// Numbers and durations outside of the range that the schema gives for their key, each with its fault.
pub(crate) fn out_of_range(schema: &Value, config: &Value) -> Vec<(Vec<Step>, String)> {
    look_for(schema, config, &|node, found| {
        let Some(node) = known_keys::follow(schema, node) else {
            return false;
        };
        let found = match found {
            Value::String(text) if is_time_span(node) => {
                evbus_duration::parse(text).map(|found| found.as_secs_f64())
            }
            other => other.as_f64(),
        };
        let Some(found) = found else {
            return false;
        };
        let bound = |word| node.get(word).and_then(Value::as_f64);
        bound("minimum").is_some_and(|least| found < least)
            || bound("maximum").is_some_and(|most| found > most)
    })
}

/// The locations in a configuration for which `is_wrong` is true, given their schema and value, with a sentence for each.
/// The inside of such a value is not examined.
fn look_for(
    schema: &Value,
    config: &Value,
    is_wrong: &dyn Fn(&Value, &Value) -> bool,
) -> Vec<(Vec<Step>, String)> {
    let mut wrong = Vec::new();
    look_in(
        schema,
        schema,
        config,
        is_wrong,
        &mut Vec::new(),
        &mut wrong,
    );
    wrong
}

fn look_in(
    schema: &Value,
    node: &Value,
    found: &Value,
    is_wrong: &dyn Fn(&Value, &Value) -> bool,
    at: &mut Vec<Step>,
    wrong: &mut Vec<(Vec<Step>, String)>,
) {
    if is_wrong(node, found) {
        wrong.push((at.clone(), sentence(schema, found, Some(node))));
        return;
    }
    let mut look = |step, below, value| {
        at.push(step);
        look_in(schema, below, value, is_wrong, at, wrong);
        at.pop();
    };
    match found {
        Value::Array(items) => {
            if let Some(below) = below_list(schema, node, 0) {
                for (index, item) in items.iter().enumerate() {
                    look(Step::Item(index), below, item);
                }
            }
        }
        Value::Object(pairs) => {
            for (key, value) in pairs {
                if let Some(below) = below_key(schema, node, key, 0) {
                    look(Step::Key(key.clone()), below, value);
                }
            }
        }
        _ => {}
    }
}

fn is_time_span(node: &Value) -> bool {
    node.get(UNIT).is_some_and(|unit| unit == "seconds") && types(node).contains(&"string")
}

fn takes_mapping(schema: &Value, node: &Value, depth: usize) -> bool {
    let node = known_keys::follow(schema, node).filter(|_| depth < MAX_DEPTH);
    node.is_some_and(|node| {
        types(node).contains(&"object")
            || variants(node).any(|variant| takes_mapping(schema, variant, depth + 1))
    })
}

fn sentence(schema: &Value, found: &Value, node: Option<&Value>) -> String {
    let kind = kind(found);
    let unit = node.and_then(|node| known_keys::follow(schema, node)?.get(UNIT));
    match node.and_then(|node| expected(schema, node, 0)) {
        // It may be the number with a unit, `100 MB`.
        Some(Expected { words, .. })
            if unit.is_some()
                && found.is_string()
                && !node.is_some_and(|node| allows(schema, node, found, 0)) =>
        {
            format!("found {kind}, expected {words}, without a unit")
        }
        Some(Expected { words, whole: true }) => format!("found {kind}, expected {words}"),
        Some(Expected { words, .. })
            if !node.is_some_and(|node| allows(schema, node, found, 0)) =>
        {
            format!("found {kind}, expected {words}")
        }
        // Something inside it is wrong, and its kind may be all that is known about what was expected.
        Some(Expected { words, .. }) if words != kind => {
            format!("found {kind} that cannot be used here, expected {words}")
        }
        _ => format!("found {kind} that cannot be used here"),
    }
}

/// The kind of a value, without the value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// The key named in a refusal of `serde`, if it is in the schema: then it is not a text from the file.
fn named<'a>(
    refusal: &'a str,
    begin: &str,
    schema: &Value,
    node: Option<&Value>,
) -> Option<&'a str> {
    let (name, _) = refusal.strip_prefix(begin)?.split_once('`')?;
    below_key(schema, node?, name, 0).map(|_| name)
}

/// The schema of a key.
pub(crate) fn below_key<'s>(
    schema: &'s Value,
    node: &'s Value,
    key: &str,
    depth: usize,
) -> Option<&'s Value> {
    let node = known_keys::follow(schema, node)?;
    let own = node.get("properties").and_then(|keys| keys.get(key));
    let free = || node.get("additionalProperties").filter(|it| it.is_object());
    own.or_else(|| {
        variants(node)
            .filter(|_| depth < MAX_DEPTH)
            .find_map(|variant| below_key(schema, variant, key, depth + 1))
    })
    .or_else(free)
}

pub(crate) fn below_list<'s>(
    schema: &'s Value,
    node: &'s Value,
    depth: usize,
) -> Option<&'s Value> {
    let node = known_keys::follow(schema, node)?;
    node.get("items").or_else(|| {
        variants(node)
            .filter(|_| depth < MAX_DEPTH)
            .find_map(|variant| below_list(schema, variant, depth + 1))
    })
}

/// The alternatives or parts of a schema.
fn variants(node: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf", "allOf"]
        .into_iter()
        .filter_map(|word| node.get(word)?.as_array())
        .flatten()
}

/// A description of what is expected at a location.
struct Expected {
    words: String,
    /// Whether it is complete, not only the type of the value.
    whole: bool,
}

impl Expected {
    fn whole(words: impl Into<String>) -> Self {
        let words = words.into();
        Self { words, whole: true }
    }

    fn type_only(words: impl Into<String>) -> Self {
        let words = words.into();
        Self {
            words,
            whole: false,
        }
    }
}

fn expected(schema: &Value, node: &Value, depth: usize) -> Option<Expected> {
    if depth > MAX_DEPTH {
        return None;
    }
    let node = known_keys::follow(schema, node)?;
    if let Some(words) = node.get(IN_WORDS).and_then(Value::as_str) {
        return Some(Expected::whole(words));
    }
    let mut choices = choices(node);
    let mut others = Vec::new();
    for variant in variants(node) {
        let variant = known_keys::follow(schema, variant)?;
        let own = self::choices(variant);
        if !own.is_empty() {
            choices.extend(own);
        } else if variant.get("type").is_none_or(|kind| kind != "null") {
            others.push(expected(schema, variant, depth + 1)?);
        }
    }
    choices.dedup();
    if !choices.is_empty() {
        let listed = choices.join(", ");
        others.insert(
            0,
            Expected::whole(match choices.len() {
                1 => format!("`{listed}`"),
                _ => format!("one of: {listed}"),
            }),
        );
    }
    if !others.is_empty() {
        let words: Vec<&str> = others.iter().map(|other| other.words.as_str()).collect();
        return Some(Expected {
            words: words.join(" or "),
            whole: others.iter().any(|other| other.whole),
        });
    }
    of_type(schema, node, depth)
}

/// The values listed in a schema, as they are written in the file.
fn choices(node: &Value) -> Vec<String> {
    let listed = node.get("enum").and_then(Value::as_array);
    let values = listed.into_iter().flatten().chain(node.get("const"));
    values
        .filter(|value| !value.is_null())
        .map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}

/// The types named in a schema, except the one of a key without a value.
fn types(node: &Value) -> Vec<&str> {
    match node.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(some)) => some.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
    .into_iter()
    .filter(|name| *name != "null")
    .collect()
}

fn of_type(schema: &Value, node: &Value, depth: usize) -> Option<Expected> {
    let names = types(node);
    let mut described = Vec::new();
    for name in &names {
        described.push(match *name {
            "string" if node.get("format").is_some_and(|it| it == "password") => {
                Expected::type_only("text; write the secret in quotes")
            }
            "string" if is_time_span(node) => Expected::whole(evbus_duration::WITH_UNITS),
            "string" => match node.get("pattern").and_then(Value::as_str) {
                Some(pattern) => Expected::whole(format!("text that matches {pattern}")),
                None => Expected::type_only("text"),
            },
            "integer" => range(node, "a whole number"),
            "number" => range(node, "a number"),
            "boolean" => Expected::type_only("true or false"),
            "array" => Expected::type_only(
                match node
                    .get("items")
                    .and_then(|it| expected(schema, it, depth + 1))
                {
                    Some(Expected { words, .. }) if words == "text" => "a list of texts".to_owned(),
                    Some(Expected { words, .. }) => format!("a list, each item {words}"),
                    None => "a list".to_owned(),
                },
            ),
            "object" => Expected::type_only(mapping(node)),
            _ => return None,
        });
    }
    let words: Vec<&str> = described.iter().map(|one| one.words.as_str()).collect();
    (!words.is_empty()).then(|| Expected {
        words: words.join(", or "),
        whole: described.iter().any(|one| one.whole),
    })
}

fn mapping(node: &Value) -> String {
    let Some(keys) = node.get("properties").and_then(Value::as_object) else {
        return "a mapping".to_owned();
    };
    let mut listed: Vec<&str> = keys.keys().map(String::as_str).collect();
    match listed.len() {
        0 => return "a mapping".to_owned(),
        1 => return format!("a mapping with the key {}", listed[0]),
        many if many > MAX_KEYS => {
            listed.truncate(MAX_KEYS);
            listed.push("...");
        }
        _ => {}
    }
    format!("a mapping with the keys {}", listed.join(", "))
}

fn range(node: &Value, what: &str) -> Expected {
    let format = node.get("format").and_then(Value::as_str);
    let (least, most) = match format {
        Some("int8") => (Some("-128"), Some("127")),
        Some("int16") => (Some("-32768"), Some("32767")),
        Some("int32") => (Some("-2147483648"), Some("2147483647")),
        Some("uint8") => (Some("0"), Some("255")),
        Some("uint16") => (Some("0"), Some("65535")),
        Some("uint32") => (Some("0"), Some("4294967295")),
        Some("uint" | "uint64" | "uint128") => (Some("0"), None),
        _ => (None, None),
    };
    let given = |word| {
        node.get(word)
            .filter(|it| it.is_number())
            .map(Value::to_string)
    };
    let least = given("minimum").or(least.map(str::to_owned));
    let most = given("maximum").or(most.map(str::to_owned));
    let unit = node.get(UNIT).and_then(Value::as_str);
    let what = unit.map_or_else(|| what.to_owned(), |unit| format!("{what} of {unit}"));
    match (least, most) {
        (Some(least), Some(most)) => Expected::whole(format!("{what} from {least} to {most}")),
        (Some(least), None) => Expected::whole(format!("{what} of at least {least}")),
        (None, Some(most)) => Expected::whole(format!("{what} of at most {most}")),
        (None, None) => Expected::type_only(what),
    }
}

/// Whether a value has a type that is permitted at the location.
fn allows(schema: &Value, node: &Value, value: &Value, depth: usize) -> bool {
    let Some(node) = known_keys::follow(schema, node).filter(|_| depth < MAX_DEPTH) else {
        return true;
    };
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let own = types(node);
    own.contains(&name)
        || (name == "integer" && own.contains(&"number"))
        || variants(node).any(|variant| allows(schema, variant, value, depth + 1))
}
