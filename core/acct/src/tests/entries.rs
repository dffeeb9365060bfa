//! Sections and entries.

use serde_json::{Value, json};

use super::{config, entries, faults, file};

fn listed(text: &str) -> Vec<(String, String, usize)> {
    entries(text)
        .into_iter()
        .map(|entry| (entry.provider, entry.pattern, entry.index))
        .collect()
}

/// The expected JSON is what Idem's acct read from the same file.
#[test]
fn the_entries_hold_what_idem_reads() {
    let text = include_str!("../../fixtures/acct/credentials.yml");
    let expected = include_str!("../../fixtures/acct/credentials.yml.expected.json");
    let expected: Value = serde_json::from_str(expected).unwrap();
    let file = file(text);
    assert_eq!(file.match_plugin(), "regex");
    for section in file.sections() {
        let provider = section.provider();
        let entries = section.entries().unwrap();
        let read = entries
            .iter()
            .map(|e| (e.pattern.clone(), (*e.config).clone()));
        let profiles: Vec<_> = match &expected[provider] {
            Value::Array(items) => items.iter().flat_map(|i| i.as_object().unwrap()).collect(),
            section => section.as_object().unwrap().iter().collect(),
        };
        let wanted = profiles.into_iter().map(|(pattern, value)| {
            let empty = json!({});
            (
                pattern.clone(),
                if value.is_null() {
                    empty
                } else {
                    value.clone()
                },
            )
        });
        assert_eq!(
            read.collect::<Vec<_>>(),
            wanted.collect::<Vec<_>>(),
            "{provider}"
        );
    }
    let names: Vec<_> = file
        .sections()
        .iter()
        .map(super::super::Section::provider)
        .collect();
    assert_eq!(names, ["kafka", "rabbitmq", "internal", "aws"]);
}

#[test]
fn lists_repeat_names_and_hold_several_profiles_each() {
    let text = "kafka:\n- a-*:\n    k: 1\n  b:\n- a-*: {k: 2}\n- {}\npika:\n  b: {}\n";
    let expected = [
        ("kafka", "a-*", 0),
        ("kafka", "b", 1),
        ("kafka", "a-*", 2),
        ("pika", "b", 0),
    ];
    let expected =
        expected.map(|(provider, pattern, index)| (provider.to_owned(), pattern.to_owned(), index));
    assert_eq!(listed(text), expected);
}

#[test]
fn nothing_under_a_profile_is_an_empty_configuration() {
    assert_eq!(config("internal:\n  default:\n"), json!({}));
    assert_eq!(listed("internal:\nkafka: ~\n"), []);
}

#[test]
fn an_empty_file_has_no_sections() {
    for text in ["", "# nothing\n", "---\n", "{}", "match_plugin: glob\n"] {
        let file = file(text);
        assert_eq!(file.sections().len(), 0, "{text:?}");
        assert_eq!(file.match_plugin(), "glob", "{text:?}");
    }
}

#[test]
fn keys_of_acct_itself_are_no_providers() {
    let text = "default: 5\nbackend_key: k\nacct-backends: [x]\nfile:\n  a:\n";
    assert_eq!(listed(text), [("file".to_owned(), "a".to_owned(), 0)]);
}

#[test]
fn a_section_is_judged_only_when_its_entries_are_asked_for() {
    let file = file("aws: 5\nazure: [1, .nan]\nfile: {a: {path: x}}\n");
    let judged: Vec<_> = file
        .sections()
        .iter()
        .map(|s| s.entries().is_ok())
        .collect();
    assert_eq!(judged, [false, false, true]);
}

#[test]
fn a_refused_shape_says_what_and_where() {
    for (text, expected) in [
        (
            "- a\n",
            "f:1:1: found a list at the top of the file, expected a mapping of providers; begin with a provider's name and a colon",
        ),
        (
            "\njust words\n",
            "f:2:1: found text at the top of the file, expected a mapping of providers; begin with a provider's name and a colon",
        ),
        (
            "kafka:\nmatch_plugin: [glob]\n",
            "f:2:1: match_plugin: found a list, expected the name of a match plugin such as glob or regex; name one or remove the key",
        ),
        (
            "match_plugin:\n",
            "f:1:1: match_plugin: found nothing, expected the name of a match plugin such as glob or regex; name one or remove the key",
        ),
        (
            "match_plugin: ''\n",
            "f:1:1: match_plugin: found empty text, expected the name of a match plugin such as glob or regex; name one or remove the key",
        ),
        (
            "kafka: hunter2\n",
            "f:1:1: kafka: found text, expected a mapping of patterns or a list of such mappings; write `PATTERN:` below the provider",
        ),
        (
            "kafka:\n  - a:\n  - hunter2\n",
            "f:3:5: kafka[1]: found text, expected a mapping with a profile pattern; write `- PATTERN:` and the configuration below it",
        ),
        (
            "kafka:\n  -\n",
            "f:2:4: kafka[0]: found nothing, expected a mapping with a profile pattern; write `- PATTERN:` and the configuration below it",
        ),
        (
            "kafka:\n  idem-*: hunter2\n",
            "f:2:3: kafka.idem-*: found text, expected a mapping of the provider's keys, or nothing; write the keys below the pattern",
        ),
        (
            "kafka:\n  a:\n    t: [{k: .inf}]\n",
            "f:3:13: kafka.a.t[0].k: found a number that is not finite, expected a value that JSON can hold; quote it if it is text",
        ),
    ] {
        assert_eq!(faults(text), [expected], "{text:?}");
    }
}

#[test]
fn every_fault_of_a_section_is_reported() {
    assert_eq!(
        faults("kafka: [{a: 1, b: 2}, x, {c: {d: .nan, e: .inf}}]\n").len(),
        5
    );
}

#[test]
fn a_path_leads_to_its_key_or_the_nearest_parent() {
    let text = "kafka:\n  idem-*:\n    connection:\n      acks: all\n      librdkafka:\n        linger.ms: 5\n        linger: {ms: 6}\n    topics:\n      - a\n      - {b: 1}\n    a.b:\n      c: 1\n";
    let entries = entries(text);
    for (path, line, column) in [
        (".", 2, 3),
        ("", 2, 3),
        ("?", 2, 3),
        ("connection", 3, 5),
        ("connection.acks", 4, 7),
        ("connection.missing.deeper", 3, 5),
        ("connectio", 2, 3),
        ("connection.acks.deeper", 4, 7),
        ("connection.librdkafka.linger.ms", 6, 9),
        ("connection.librdkafka.linger", 7, 9),
        ("topics", 8, 5),
        ("topics[0]", 9, 9),
        ("topics[1].b", 10, 10),
        ("topics.1.b", 10, 10),
        ("topics[7]", 8, 5),
        ("topics[x", 8, 5),
        ("connection.?.acks", 4, 7),
        ("a.b.c", 12, 7),
    ] {
        let found = entries[0].locate(path);
        assert_eq!(found.to_string(), format!("f:{line}:{column}"), "{path}");
    }
}

#[test]
fn a_plugins_fault_names_place_and_key() {
    let entries = entries("kafka:\n  idem-*:\n    topics: [1]\n");
    for (path, expected) in [
        (
            "topics[0]",
            "f:3:14: kafka.idem-*.topics[0]: found a number, expected text; quote it",
        ),
        (
            ".",
            "f:2:3: kafka.idem-*: found a number, expected text; quote it",
        ),
    ] {
        let fault = entries[0].fault(path, "found a number, expected text; quote it");
        assert_eq!(fault.to_string(), expected);
    }
}

#[test]
fn faults_of_names_point_at_them() {
    let read = file("kafka:\nmatch_plugin: glub\n");
    let fault = read.match_plugin_fault("found `glub`");
    assert_eq!(fault.to_string(), "f:2:1: match_plugin: found `glub`");
    assert_eq!(
        file("").match_plugin_fault("m").to_string(),
        "f: match_plugin: m"
    );
    assert_eq!(read.sections()[0].fault("m").to_string(), "f:1:1: kafka: m");
    assert_eq!(fault.key(), "match_plugin");
    assert_eq!(fault.message(), "found `glub`");
    assert_eq!(fault.location(), &read.match_plugin_location);
}

#[test]
fn a_key_cannot_smuggle_control_characters_into_a_message() {
    assert_eq!(
        faults("kafka:\n  \"a\\n\\e[2J\": 5\n"),
        [
            "f:2:3: kafka.a\\n\\u{1b}[2J: found a number, expected a mapping of the provider's keys, or nothing; write the keys below the pattern"
        ]
    );
}

#[test]
fn debug_output_keeps_values_secret() {
    let text = "kafka:\n  a:\n    connection: {password: hunter2, pin: 4711}\n";
    let shown = format!("{:?} {:?}", file(text), entries(text));
    assert!(shown.contains("kafka"));
    assert!(
        !shown.contains("hunter2") && !shown.contains("4711"),
        "{shown}"
    );
}

#[test]
fn the_examples_of_the_manual_are_valid() {
    let manual = include_str!("../../../../docs/ACCT_FILE.md");
    let examples: Vec<_> = manual
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    // The others need rendering or secrets.
    assert!(examples.len() >= 4);
    for example in examples {
        assert_eq!(faults(example), [""; 0], "{example}");
        assert!(!entries(example).is_empty(), "{example}");
    }
}

#[test]
fn the_errors_of_the_manual_are_those_that_are_shown() {
    let manual = include_str!("../../../../docs/ACCT_FILE.md");
    for text in [
        "kafka:\n  a:\npika:\nkafka:\n",
        "kafka:\n  *: {}\n",
        "kafka:\n  a:\n\tb: 1\n",
        "kafka:\n  idem-*: text\n",
        "kafka:\n  idem-*:\n    a: 1\n    evbus:\n      quue: {}\n",
        "kafka:\n  idem-*:\n    a: 1\n    evbus:\n      queue:\n        events: 0\n",
    ] {
        let faults = faults(text);
        let [fault] = faults.as_slice() else {
            panic!("{text:?}: {faults:?}");
        };
        // Where the sample stands in its file does not matter.
        let sentence = fault.splitn(4, ':').last().unwrap_or_default();
        assert!(manual.contains(sentence), "{text:?}: {fault}");
    }
}
