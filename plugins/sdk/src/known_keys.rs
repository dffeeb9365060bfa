//! Which keys a configuration may have at a location, read from its JSON Schema.

use serde_json::Value;

use crate::expectation::{below_key, below_list};
use evbus_expression::places::Step;

/// The keys that may occur beside the one that the last step leads to. `None` if the schema permits any, as for a map.
pub(crate) fn beside(schema: &Value, steps: &[Step]) -> Option<Vec<String>> {
    let (_, parents) = steps.split_last()?;
    let mut node = resolve(schema, schema)?;
    for step in parents {
        node = match step {
            Step::Key(key) => below_key(schema, node, key, 0)?,
            Step::Item(_) => below_list(schema, node, 0)?,
        };
    }
    let keys = resolve(schema, node)?.get("properties")?.as_object()?;
    let mut keys: Vec<String> = keys.keys().cloned().collect();
    keys.sort();
    Some(keys)
}

/// The key that is meant by one that there is not, if that is the name that other programs have for it; in
/// words, which say where the key is if it is not in the same mapping.
pub(crate) fn meant(unknown: &str, mapping: &str, other_names: &[(&str, &str)]) -> Option<String> {
    let (_, meant) = other_names.iter().find(|(other, _)| *other == unknown)?;
    let (parent, key) = meant.rsplit_once('.').unwrap_or(("", meant));
    Some(match parent {
        parent if parent == mapping => format!("`{key}`"),
        "" => format!("`{key}` of the entry itself"),
        _ => format!("`{meant}`"),
    })
}

/// A longer key resembles none; to compare it would take long.
const MAX_COMPARED: usize = 100;

/// The known key that an unknown key resembles, if any.
pub(crate) fn nearest<'k>(unknown: &str, keys: &'k [String]) -> Option<&'k str> {
    keys.iter()
        .filter(|_| unknown.len() <= MAX_COMPARED)
        .map(|key| (strsim::damerau_levenshtein(unknown, key), key))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, key)| *distance <= key.len() / 3 + 1 && *distance < key.len())
        .map(|(_, key)| key.as_str())
}

/// Follows references, and the layer of an `Option`.
pub(crate) fn resolve<'a>(schema: &'a Value, node: &'a Value) -> Option<&'a Value> {
    let mut node = follow(schema, node)?;
    // The schema of a Rust type has only a few references in a row.
    for _ in 0..16 {
        let Some(variants) = node.get("anyOf").and_then(Value::as_array) else {
            return Some(node);
        };
        let variant = variants
            .iter()
            .find(|variant| variant.get("type").is_none_or(|kind| kind != "null"))?;
        node = follow(schema, variant)?;
    }
    None
}

/// Follows references.
pub(crate) fn follow<'a>(schema: &'a Value, mut node: &'a Value) -> Option<&'a Value> {
    for _ in 0..16 {
        match node.get("$ref").and_then(Value::as_str) {
            Some(reference) => node = schema.pointer(reference.strip_prefix('#')?)?,
            None => return Some(node),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Inner {
        acks: u8,
        client_id: String,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Outer {
        connection: Option<Inner>,
        backups: Vec<Inner>,
        headers: std::collections::BTreeMap<String, String>,
    }

    #[test]
    fn keys_are_found_at_every_depth() {
        let schema = schemars::schema_for!(Outer);
        let key = |key: &str| Step::Key(key.to_owned());
        let keys = |steps: &[Step]| beside(schema.as_value(), steps).map(|keys| keys.join(" "));
        assert_eq!(
            keys(&[key("conection")]).as_deref(),
            Some("backups connection headers")
        );
        assert_eq!(
            keys(&[key("connection"), key("ack")]).as_deref(),
            Some("acks client_id")
        );
        assert_eq!(
            keys(&[key("backups"), Step::Item(1), key("ack")]).as_deref(),
            Some("acks client_id")
        );
        assert_eq!(keys(&[key("headers"), key("any"), key("thing")]), None);
    }

    #[test]
    fn a_name_of_another_program_leads_to_the_key_and_its_path_if_it_is_elsewhere() {
        let names = [("user", "connection.login"), ("queue", "routing_key")];
        let meant = |key, mapping| meant(key, mapping, &names).unwrap_or_default();
        assert_eq!(meant("user", "connection"), "`login`");
        assert_eq!(meant("user", ""), "`connection.login`");
        assert_eq!(meant("queue", ""), "`routing_key`");
        assert_eq!(
            meant("queue", "connection"),
            "`routing_key` of the entry itself"
        );
        assert_eq!(meant("login", "connection"), "");
    }

    #[test]
    fn a_key_that_is_longer_than_any_known_one_is_compared_with_none() {
        let known = ["k".repeat(MAX_COMPARED + 2)];
        let alike = |len: usize| nearest(&"k".repeat(len), &known).is_some();
        assert!(alike(MAX_COMPARED));
        assert!(!alike(MAX_COMPARED + 1));
    }
}
