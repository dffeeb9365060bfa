//! Which keys a configuration takes at a place, read from its JSON Schema.

use serde_json::Value;

/// The keys that may stand beside the one at `path` (keys joined by `.`, list positions as `[0]`).
/// `None` where the schema does not say, as with a map of free keys.
pub(crate) fn beside(schema: &Value, path: &str) -> Option<Vec<String>> {
    let parents = path.rsplit_once('.').map_or("", |(parents, _)| parents);
    let mut node = resolve(schema, schema)?;
    for step in parents.split('.').filter(|step| !step.is_empty()) {
        let (name, positions) = step.split_once('[').unwrap_or((step, ""));
        node = resolve(schema, node.get("properties")?.get(name)?)?;
        for _ in positions.split(']').filter(|position| !position.is_empty()) {
            node = resolve(schema, node.get("items")?)?;
        }
    }
    let keys = node.get("properties")?.as_object()?;
    let mut keys: Vec<String> = keys.keys().cloned().collect();
    keys.sort();
    Some(keys)
}

/// Follows references, and the layer that an `Option` adds.
pub(crate) fn resolve<'a>(schema: &'a Value, node: &'a Value) -> Option<&'a Value> {
    let mut node = follow(schema, node)?;
    // A schema from a Rust type refers to no more than a few definitions in a row.
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
        let keys = |path| beside(schema.as_value(), path).map(|keys| keys.join(" "));
        assert_eq!(
            keys("conection").as_deref(),
            Some("backups connection headers")
        );
        assert_eq!(keys("connection.ack").as_deref(), Some("acks client_id"));
        assert_eq!(keys("backups[1].ack").as_deref(), Some("acks client_id"));
        assert_eq!(keys("headers.any.thing"), None);
    }
}
