//! JSON text to a tree with positions.
//!
//! The text is checked whole first. Then each value is read from its own part of the text, so that its
//! place is known.

use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::key::{Key, KeyPath};
use super::node::{Foreign, Node, Value};
use super::yaml::MAX_TWICE;
use super::{AcctError, Location, Position, scalar};

/// How deep lists and mappings may nest.
const MAX_DEPTH: usize = 100;

/// Reads one value. Repeated keys are repeated in the result, and each is a fault in `twice`.
///
/// # Errors
///
/// The first fault that ends the reading.
pub(crate) fn parse(
    text: &str,
    file: &Arc<str>,
    twice: &mut Vec<AcctError>,
) -> Result<Node, AcctError> {
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| {
        let place = Position {
            line: error.line().max(1),
            column: error.column().max(1),
        };
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        let message = format!(
            "found text that is not JSON ({reason}), expected a JSON object; check quotes, commas and brackets"
        );
        AcctError::new(Location::at(file, place), "", &message)
    })?;
    let mut places = Places {
        text,
        offset: 0,
        place: Position { line: 1, column: 1 },
        path: KeyPath::default(),
        twice: Vec::new(),
    };
    let error =
        |(place, key, message): Fault| AcctError::new(Location::at(file, place), &key, &message);
    let root = node(whole, &mut places, 0).map_err(error);
    twice.extend(places.twice.into_iter().map(error));
    root
}

/// Converts values to positions; they must be in the order of the text.
struct Places<'t> {
    text: &'t str,
    offset: usize,
    place: Position,
    /// Where the value is that is being read.
    path: KeyPath,
    /// The faults of repeated keys.
    twice: Vec<Fault>,
}

impl Places<'_> {
    /// The position of a part of the text.
    fn of(&mut self, part: &str) -> Position {
        let offset = part.as_ptr().addr() - self.text.as_ptr().addr();
        for c in self.text[self.offset..offset].chars() {
            if c == '\n' {
                self.place = Position {
                    line: self.place.line + 1,
                    column: 1,
                };
            } else {
                self.place.column += 1;
            }
        }
        self.offset = offset;
        self.place
    }
}

type Fault = (Position, String, String);

fn node(raw: &RawValue, places: &mut Places<'_>, depth: usize) -> Result<Node, Fault> {
    let text = raw.get();
    let at = places.of(text);
    // The whole text was checked, so every value that is asked for exists.
    let misread = |_: serde_json::Error| {
        let message = "found a value that cannot be read, expected JSON; correct it";
        (at, String::new(), message.to_owned())
    };
    if depth > MAX_DEPTH {
        let message =
            "found values nested more than 100 levels deep, expected fewer; check brackets";
        return Err((at, String::new(), message.to_owned()));
    }
    let value = match text.as_bytes().first() {
        Some(b'{') => {
            let Pairs(pairs) = serde_json::from_str(text).map_err(misread)?;
            map(pairs, places, depth)?
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(misread)?;
            let items = items.into_iter().enumerate().map(|(index, item)| {
                places.path.enter_item(index);
                let item = node(item, places, depth + 1);
                places.path.leave();
                item
            });
            Value::List(items.collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::text(serde_json::from_str::<String>(text).map_err(misread)?),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') => Value::Null,
        _ => number(text),
    };
    Ok(Node {
        value,
        place: at.into(),
    })
}

fn number(text: &str) -> Value {
    if text.contains(['.', 'e', 'E']) {
        return scalar::finite(text.parse().unwrap_or(f64::NAN));
    }
    let whole = text.parse::<i128>().ok().and_then(Number::from_i128);
    whole.map_or_else(
        || Value::NotJson(Foreign::TooBig(Zeroizing::new(text.to_owned()))),
        Value::Number,
    )
}

fn map(
    pairs: Vec<(String, &RawValue)>,
    places: &mut Places<'_>,
    depth: usize,
) -> Result<Value, Fault> {
    let mut seen = std::collections::HashSet::new();
    let mut read = Vec::with_capacity(pairs.len());
    for (name, raw) in pairs {
        places.path.enter(&name);
        let value = node(raw, places, depth + 1)?;
        places.path.leave();
        if !seen.insert(name.clone()) {
            let message = "duplicate key; rename or remove one of the two";
            let fault = (places.place, places.path.of(&name), message.to_owned());
            if places.twice.len() == MAX_TWICE {
                return Err(fault);
            }
            places.twice.push(fault);
        }
        let key = Key::text(&name, value.place);
        read.push((key, value));
    }
    Ok(Value::Map(read))
}

/// The pairs of an object in the order of the text, each value as its text.
struct Pairs<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
