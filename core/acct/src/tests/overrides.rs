//! `--overrides` and `--extras`.

use std::fs;

use serde_json::{Value, json};

use crate::{AcctSource, JsonObject};

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(pairs) => pairs,
        other => panic!("{other} is not an object"),
    }
}

/// The entries' configurations, by pattern.
fn configs(text: &str, extras: Value, overrides: Value) -> Result<Vec<(String, Value)>, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acct.yml");
    fs::write(&file, text).unwrap();
    let acct = AcctSource::new(&file)
        .extras(object(extras))
        .overrides(object(overrides))
        .load()
        .map_err(|errors| errors[0].message().to_owned())?;
    if let Some(fault) = acct.faults().first() {
        return Err(fault.message().to_owned());
    }
    let sections = acct.sections().iter();
    Ok(sections
        .flat_map(|section| section.entries().unwrap())
        .map(|entry| (entry.pattern.clone(), (*entry.config).clone()))
        .collect())
}

#[test]
fn overrides_go_into_mappings_and_replace_everything_else() {
    let text = "kafka: {a: {connection: {host: h, port: 1}, topics: [x, y]}, b: {}}\n";
    let overrides = json!({"kafka": {"a": {"connection": {"port": 2, "new": null}, "topics": ["z"]}}, "file": {"c": {"path": "/p"}}});
    assert_eq!(
        configs(text, json!({}), overrides).unwrap(),
        [
            (
                "a".to_owned(),
                json!({"connection": {"host": "h", "port": 2, "new": null}, "topics": ["z"]})
            ),
            ("b".to_owned(), json!({})),
            ("c".to_owned(), json!({"path": "/p"})),
        ]
    );
    assert_eq!(
        configs("", json!({}), json!({"p": {"a": {"k": 1.5}}})).unwrap(),
        [("a".to_owned(), json!({"k": 1.5}))]
    );
}

#[test]
fn extras_give_kafka_entries_what_they_lack() {
    let text = "kafka: [{a: {key: k, partition: 0, topics: []}}, {b: }]\nfile: {c: {}}\n";
    let extras = json!({"kafka": {"key": "e", "partition": 3, "topics": ["t"]}});
    assert_eq!(
        configs(text, extras, json!({})).unwrap(),
        [
            (
                "a".to_owned(),
                json!({"key": "k", "partition": 0, "topics": ["t"]})
            ),
            (
                "b".to_owned(),
                json!({"key": "e", "partition": 3, "topics": ["t"]})
            ),
            ("c".to_owned(), json!({})),
        ]
    );
    assert_eq!(
        configs(text, json!({"kafka": {"topic": "t"}}), json!({})),
        Err("found the unknown key `topic` in extras.kafka, expected one of key, partition, topics; correct --extras".to_owned())
    );
    assert_eq!(
        configs(text, json!({"kafak": {"key": "k"}}), json!({})),
        Err("found the unknown key `kafak` in extras, expected kafka, the only provider that takes them; correct --extras".to_owned())
    );
    assert_eq!(
        configs(text, json!({"kafka": 5}), json!({})),
        Err("found extras.kafka without keys, expected an object with key, partition or topics; correct --extras".to_owned())
    );
}

#[test]
fn a_fault_of_a_value_from_the_command_line_names_the_flag() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acct.yml");
    fs::write(
        &file,
        "kafka:\n  a: {key: k, evbus: {ordered: maybe}}\n  b: {}\nmatch_plugin: glob\n",
    )
    .unwrap();
    let overrides = json!({
        "kafka": {"a": {"evbus": {"durable": 5, "quue": 1}}, "b": "text", "c": {"evbus": {"batch": {"events": 0}}}},
        "match_plugin": [],
        "evbsu": {},
    });
    let acct = AcctSource::new(&file)
        .extras(object(json!({"kafak": 1})))
        .overrides(object(overrides))
        .load()
        .unwrap();
    let named = |faults: &[crate::AcctError]| -> Vec<String> {
        let named = faults
            .iter()
            .map(|fault| format!("{}: {}", fault.location(), fault.key()));
        let dir = format!("{}/", dir.path().display());
        named.map(|name| name.replace(&dir, "")).collect()
    };
    assert_eq!(
        named(acct.faults()),
        [
            "--overrides: match_plugin",
            "--overrides: evbsu",
            "--extras: "
        ]
    );
    assert_eq!(
        named(&acct.sections()[0].entries().unwrap_err()),
        [
            "--overrides: kafka.a.evbus.durable",
            "--overrides: kafka.a.evbus.quue",
            "--overrides: kafka.b",
            "--overrides: kafka.c.evbus.batch.events",
            "acct.yml:2:23: kafka.a.evbus.ordered",
        ]
    );
}
