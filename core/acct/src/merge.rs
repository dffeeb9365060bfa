//! The keys that `<<` adds to a mapping.

use std::collections::HashMap;

use super::Position;
use super::key::Key;
use super::node::{Node, Value};
use super::syntax::Fault;

/// Takes the value of a `<<` key: a mapping, or a list of mappings of which the first wins.
pub(crate) fn take(value: Node, at: Position, into: &mut Vec<(Key, Node)>) -> Result<(), Fault> {
    let at = value.place.position().unwrap_or(at);
    let refuse = |found: &str, at| {
        let message = format!(
            "found {found} under `<<`, expected a mapping or a list of mappings; refer to one with an alias, or quote the key"
        );
        Err((at, message))
    };
    match value.value {
        Value::Map(pairs) => into.extend(pairs),
        Value::List(items) => {
            for item in items.into_iter().rev() {
                match item.value {
                    Value::Map(pairs) => into.extend(pairs),
                    _ => return refuse(item.value.kind(), item.place.position().unwrap_or(at)),
                }
            }
        }
        other => return refuse(other.kind(), at),
    }
    Ok(())
}

/// Each key once, at its first position and with its last value, like a Python dictionary made of the pairs.
pub(crate) fn last_of_each(pairs: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    let mut names = HashMap::new();
    let mut identities = HashMap::new();
    let mut distinct: Vec<(Key, Node)> = Vec::new();
    for (key, node) in pairs {
        let identity = key.identity();
        let place = names
            .get(&key.name)
            .or_else(|| identities.get(&identity))
            .copied();
        if let Some(place) = place {
            distinct[place] = (key, node);
        } else {
            names.insert(key.name.clone(), distinct.len());
            identities.insert(identity, distinct.len());
            distinct.push((key, node));
        }
    }
    distinct
}
