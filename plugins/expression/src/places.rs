//! Where a configuration has templates: the JSON Schema of its provider says which texts are.

use serde_json::Value;

use crate::is_template;

/// With this keyword set to `true`, a schema says that a text may be a template.
pub const TEMPLATE_KEYWORD: &str = "x-template";

/// How deeply schemas and configurations are looked through.
const MAX_DEPTH: usize = 32;

/// Leads from a value to one within it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A key of a mapping.
    Key(String),
    /// The position in a list, from 0.
    Item(usize),
}

impl Step {
    /// The value that it leads to.
    #[must_use]
    pub fn value_in<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match self {
            Self::Key(key) => value.get(key),
            Self::Item(index) => value.get(index),
        }
    }
}

/// The texts of a configuration with expressions in them, where the schema has templates, and the steps to each.
pub fn templates_in<'c>(schema: &Value, config: &'c Value) -> Vec<(Vec<Step>, &'c str)> {
    let mut found = Vec::new();
    look(schema, schema, config, &mut Vec::new(), &mut found);
    found
}

/// Keys joined by `.`, positions as `[0]`.
#[must_use]
pub fn path_of(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(key) if path.is_empty() => path.push_str(key),
            Step::Key(key) => path.extend([".", key]),
            Step::Item(index) => path.extend(["[", &index.to_string(), "]"]),
        }
    }
    path
}

fn look<'c>(
    schema: &Value,
    node: &Value,
    value: &'c Value,
    at: &mut Vec<Step>,
    found: &mut Vec<(Vec<Step>, &'c str)>,
) {
    if at.len() > MAX_DEPTH {
        return;
    }
    match value {
        Value::String(text) if is_template(text) && takes_template(schema, node, 0) => {
            found.push((at.clone(), text));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let step = Step::Item(index);
                if let Some(below) = below(schema, node, &step, 0) {
                    at.push(step);
                    look(schema, below, item, at, found);
                    at.pop();
                }
            }
        }
        Value::Object(pairs) => {
            for (key, value) in pairs {
                let step = Step::Key(key.clone());
                if let Some(below) = below(schema, node, &step, 0) {
                    at.push(step);
                    look(schema, below, value, at, found);
                    at.pop();
                }
            }
        }
        _ => {}
    }
}

fn takes_template(schema: &Value, node: &Value, depth: usize) -> bool {
    let node = followed(schema, node);
    node.get(TEMPLATE_KEYWORD) == Some(&Value::Bool(true))
        || depth < MAX_DEPTH
            && variants(node).any(|variant| takes_template(schema, variant, depth + 1))
}

/// The schema of what is below a value.
fn below<'s>(schema: &'s Value, node: &'s Value, step: &Step, depth: usize) -> Option<&'s Value> {
    let node = followed(schema, node);
    let own = match step {
        Step::Item(_) => node.get("items"),
        Step::Key(key) => {
            let own = node.get("properties").and_then(|keys| keys.get(key));
            own.or_else(|| node.get("additionalProperties").filter(|it| it.is_object()))
        }
    };
    own.or_else(|| {
        variants(node)
            .filter(|_| depth < MAX_DEPTH)
            .find_map(|variant| below(schema, variant, step, depth + 1))
    })
}

fn variants(node: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf", "allOf"]
        .into_iter()
        .filter_map(|word| node.get(word)?.as_array())
        .flatten()
}

fn followed<'a>(schema: &'a Value, mut node: &'a Value) -> &'a Value {
    for _ in 0..16 {
        let target = (node.get("$ref").and_then(Value::as_str))
            .and_then(|reference| schema.pointer(reference.strip_prefix('#')?));
        match target {
            Some(target) => node = target,
            None => break,
        }
    }
    node
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_are_found_where_the_schema_has_them() {
        let schema = json!({
            "properties": {
                "topics": {"anyOf": [{"$ref": "#/$defs/Text"}, {"items": {"$ref": "#/$defs/Text"}}, {"type": "null"}]},
                "headers": {"additionalProperties": {"$ref": "#/$defs/Text"}},
                "password": {"type": "string"}
            },
            "$defs": {"Text": {"type": "string", "x-template": true}}
        });
        let config = json!({
            "topics": ["a", "${ b }"],
            "headers": {"x": "${ c }", "y": "d"},
            "password": "${ e }",
            "other": "${ f }"
        });
        let found: Vec<_> = (templates_in(&schema, &config).into_iter())
            .map(|(steps, text)| (path_of(&steps), text))
            .collect();
        assert_eq!(
            found,
            [
                ("topics[1]".to_owned(), "${ b }"),
                ("headers.x".to_owned(), "${ c }")
            ]
        );
        let one = json!({"topics": "${ b }"});
        assert_eq!(templates_in(&schema, &one).len(), 1);
    }
}
