//! What the plugin says of keys that do not fit together, of numbers with units, and of the names that other clients
//! have. No broker is needed.

mod support;

use evbus_sdk::serde_json::{Value, json};
use support::{assert_fault, faults, harness};

#[test]
fn settings_that_contradict_each_other_are_all_found_without_connecting() {
    let config = json!({"connection": {
        "acks": 1, "enable_idempotence": true, "max.in.flight": 10, "retries": 0,
        "queue.buffering.backpressure.threshold": 2, "linger_ms": 5000, "message.timeout.ms": 1000,
        "reconnect.backoff.ms": 5000, "reconnect.backoff.max.ms": 1000,
    }});
    let expected = [
        ("acks", "contradicts `enable_idempotence: true`"),
        ("max.in.flight", "requires at most 5"),
        ("retries", "requires at least 1"),
        ("queue.buffering.backpressure.threshold", "requires 1"),
        ("linger_ms", "must be less than `message.timeout.ms`"),
        ("reconnect.backoff.ms", "must not be greater than"),
    ];
    let found = faults(config);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (fault, (key, text)) in found.iter().zip(expected) {
        assert!(fault.starts_with(&format!("connection.{key}: ")), "{fault}");
        assert!(fault.contains(text), "{fault}");
    }
    for config in [
        json!({"acks": 0, "max.in.flight": 10, "retries": 0}),
        json!({"enable_idempotence": false, "max.in.flight": 10, "retries": 0}),
        json!({"linger_ms": 5000, "message.timeout.ms": 0, "max.in.flight": 5}),
        json!({"reconnect.backoff.ms": 2000}),
        json!({"reconnect.backoff.ms": 5000}),
        json!({"enable.idempotence": "T", "enable.gapless.guarantee": true}),
    ] {
        assert_eq!(faults(json!({"connection": config})), [""; 0], "{config}");
    }
    // In any of the ways in which librdkafka reads truth and numbers.
    for (config, key) in [
        (json!({"enable.idempotence": "TRUE", "acks": 1}), "acks"),
        (json!({"enable.idempotence": 1, "acks": "01"}), "acks"),
        (json!({"max.in.flight": "0x10"}), "max.in.flight"),
        (json!({"max.in.flight": "010"}), "max.in.flight"),
    ] {
        let found = faults(json!({"connection": config}));
        let at = format!("connection.{key}: ");
        assert!(found.len() == 1 && found[0].starts_with(&at), "{found:?}");
    }
    assert_fault(
        json!({"connection": {"enable.gapless.guarantee": true, "acks": 1}}),
        "connection.enable.gapless.guarantee",
        "requires an idempotent producer",
    );
}

#[test]
fn rules_between_keys_hide_neither_each_other_nor_what_cannot_be_read() {
    let config = json!({
        "connection": {
            "security_protocol": "PLAINTEXT", "sasl_plain_username": "u", "sasl_mechanism": "PLAIN",
            "retries": 0, "max_request_size": "1 MB",
        },
        "ssl": {"cert_file": "/nowhere"},
    });
    let paths: Vec<String> = harness()
        .check(config)
        .into_iter()
        .map(|fault| fault.path)
        .collect();
    assert_eq!(
        paths,
        [
            "connection.max_request_size",
            "connection.security_protocol",
            "connection.security_protocol",
            "connection.sasl_mechanism",
            "ssl.key_file",
            "ssl.cert_file",
            "connection.retries",
        ]
    );
}

#[test]
fn the_names_that_other_clients_have_for_keys_lead_to_the_right_ones() {
    for (config, path, meant) in [
        (
            json!({"connection": {"servers": "a"}}),
            "connection.servers",
            "`bootstrap_servers`",
        ),
        (
            json!({"connection": {"brokers": ["a"]}}),
            "connection.brokers",
            "`bootstrap_servers`",
        ),
        (
            json!({"connection": {"username": "u"}}),
            "connection.username",
            "`sasl_plain_username`",
        ),
        (
            json!({"connection": {"password": "p"}}),
            "connection.password",
            "`sasl_plain_password`",
        ),
        (
            json!({"connection": {"ssl_cafile": "x"}}),
            "connection.ssl_cafile",
            "`ssl.ca_file`",
        ),
        (
            json!({"connection": {"topic": "t"}}),
            "connection.topic",
            "`topics` of the entry itself",
        ),
        (
            json!({"brokers": "a"}),
            "brokers",
            "`connection.bootstrap_servers`",
        ),
        (json!({"topic": "t"}), "topic", "`topics`"),
    ] {
        assert_fault(config, path, &format!("did you mean {meant}?"));
    }
}

#[test]
fn a_number_with_a_unit_is_refused_and_never_cut_to_the_number() {
    let connection = |name: &str, value: Value| json!({"connection": {name: value}});
    assert_fault(
        connection("linger_ms", json!("5ms")),
        "connection.linger_ms",
        "found text, expected a number of milliseconds, without a unit",
    );
    for (name, value, what) in [
        (
            "linger.ms",
            json!("5ms"),
            "a number of milliseconds without a unit",
        ),
        (
            "message.timeout.ms",
            json!("30s"),
            "a number of milliseconds without a unit",
        ),
        (
            "message.timeout.ms",
            json!(0.5),
            "a number of milliseconds without a unit",
        ),
        ("batch.size", json!("64 KiB"), "a number without a unit"),
        (
            "message.send.max.retries",
            json!("5e1"),
            "a number without a unit",
        ),
    ] {
        let sentence = format!("reads only the beginning, expected {what}");
        assert_fault(
            connection(name, value),
            &format!("connection.{name}"),
            &sentence,
        );
    }
    for (name, value) in [
        ("message.timeout.ms", "30000"),
        ("message.timeout.ms", " 30000"),
        ("message.timeout.ms", "0x7530"),
        ("linger.ms", "0.5"),
        ("linger.ms", "5e1"),
        ("linger.ms", "1234.5678"),
        ("message.send.max.retries", "017"),
        ("client.id", "5s"),
        ("bootstrap.servers", "127.0.0.1:9092"),
        ("acks", "all"),
    ] {
        assert_eq!(
            faults(connection(name, json!(value))),
            [""; 0],
            "{name}: {value}"
        );
    }
}
