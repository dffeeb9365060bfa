//! Every location in a configuration, from the plugins' own schemas, with a canary in it.

use serde_json::{Map, Value, json};

use super::canary::{NUMBER, canary};

/// Keys whose values are names, which messages show if they are in the file as text: where to connect and as whom,
/// what to publish to, which files to read. Given by reference, they are hidden too, and so is the password in an
/// address.
pub(crate) const NAMES: [(&str, &str); 17] = [
    ("kafka", "topics"),
    ("kafka", "key"),
    ("kafka", "connection.bootstrap_servers"),
    ("kafka", "connection.client_id"),
    ("kafka", "connection.sasl_plain_username"),
    ("kafka", "ssl.ca_file"),
    ("kafka", "ssl.cert_file"),
    ("kafka", "ssl.key_file"),
    ("pika", "exchange"),
    ("pika", "routing_key"),
    ("pika", "connection.host"),
    ("pika", "connection.login"),
    ("pika", "connection.virtualhost"),
    ("pika", "connection.ssl_options.ca_file"),
    ("pika", "connection.ssl_options.cert_file"),
    ("pika", "connection.ssl_options.key_file"),
    ("file", "path"),
];

/// Properties that no schema lists.
const MORE: [(&str, &str); 8] = [
    ("kafka", "sasl.jaas.config"),
    ("kafka", "sasl.password"),
    ("kafka", "ssl.key.pem"),
    ("kafka", "ssl.key.password"),
    ("kafka", "linger.ms"),
    ("kafka", "security.protocol"),
    ("kafka", "sasl.mechanisms"),
    ("kafka", "request.required.acks"),
];

/// The entries of a provider, by pattern: each position of its schema with each kind of canary.
pub(crate) fn entries(provider: &str, schema: &Value) -> Map<String, Value> {
    let mut locations = Vec::new();
    collect(schema, schema, &[], &mut locations);
    for (_, name) in MORE.iter().filter(|(of, _)| *of == provider) {
        locations.push((vec!["connection".to_owned(), (*name).to_owned()], false));
    }
    locations.push((vec!["no_such_key".to_owned()], false));
    locations.push((
        vec!["connection".to_owned(), "no.such.key".to_owned()],
        false,
    ));
    let mut entries = Map::new();
    for (location, takes_keys) in locations {
        let path = location.join(".");
        let is_name = NAMES.contains(&(provider, &*path));
        let mut values = vec![
            ("number", json!(NUMBER)),
            ("env", json!({"$env": "EVBUS_CANARY"})),
            ("file", json!({"$file": "canary"})),
            ("exec", json!({"$exec": ["./give"]})),
            ("nested", json!({"a": [{"b": canary("nested")}]})),
            (
                "deep",
                json!([[canary("deep")], {"password": canary("deep")}]),
            ),
            ("login", json!(format!("u:{}@h", canary("login")))),
        ];
        if !is_name {
            values.push(("text", json!(canary("text"))));
            values.push(("list", json!([canary("list")])));
            values.push(("url", json!(format!("amqp://u:{}@h/", canary("url")))));
        }
        // Messages show a mapping's keys, so that an unknown one can be corrected.
        if !takes_keys {
            values.push(("key", json!({canary("key"): null})));
        }
        for (kind, value) in values {
            entries.insert(format!("{path}-{kind}"), at(provider, &location, value));
        }
    }
    entries
}

/// A configuration with a value at a position, and the required keys.
fn at(provider: &str, location: &[String], value: Value) -> Value {
    let mut value = value;
    for key in location.iter().rev() {
        value = json!({key: value});
    }
    if matches!(provider, "file" | "fixture-good") && location[0] != "path" {
        value["path"] = json!("out.jsonl");
    }
    value
}

/// The positions below a schema, and whether each takes a mapping.
fn collect(root: &Value, node: &Value, above: &[String], locations: &mut Vec<(Vec<String>, bool)>) {
    let node = follow(root, node);
    for (name, below) in node["properties"].as_object().into_iter().flatten() {
        let location = [above, std::slice::from_ref(name)].concat();
        locations.push((location.clone(), takes_keys(root, below)));
        collect(root, below, &location, locations);
    }
    for variant in variants(node) {
        collect(root, variant, above, locations);
    }
}

fn takes_keys(root: &Value, node: &Value) -> bool {
    let node = follow(root, node);
    node["type"].to_string().contains("object")
        || variants(node).any(|variant| takes_keys(root, variant))
}

fn variants(node: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf", "allOf"]
        .into_iter()
        .filter_map(|word| node[word].as_array())
        .flatten()
}

fn follow<'v>(root: &'v Value, node: &'v Value) -> &'v Value {
    match node["$ref"].as_str() {
        Some(reference) => follow(root, root.pointer(&reference[1..]).unwrap()),
        None => node,
    }
}
