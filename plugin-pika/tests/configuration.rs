//! Configurations that are refused, without a broker.

mod support;

use evbus_testkit::odd_files;
use serde_json::{Value, json};
use support::harness;

fn faults(config: Value) -> Vec<String> {
    let faults = harness().check(config);
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn it_serves_its_three_names() {
    assert_eq!(harness().names(), ["pika", "amqp", "rabbitmq"]);
}

#[test]
fn every_key_of_the_python_provider_is_taken() {
    let connection = json!({
        "host": "mq.example.com", "port": 5671, "login": "u", "password": "p",
        "virtualhost": "/v", "ssl": true, "ssl_options": {"verify": false},
        "client_properties": {"connection_name": "idem", "n": 1, "x": true},
    });
    let config = json!({
        "connection": connection, "routing_key": "r", "exchange": "default", "timeout": 5,
    });
    assert_eq!(faults(config), [""; 0]);
    let url = json!({"connection": {"url": "amqps://u:p@h:1/v?heartbeat=30"}, "routing_key": null});
    assert_eq!(faults(url), [""; 0]);
    assert_eq!(faults(json!({})), [""; 0]);
    assert_eq!(
        faults(json!({"connection": null, "exchange": null})),
        [""; 0]
    );
    // Seconds may be given with units.
    let connection = json!({"heartbeat": "1m", "connection_timeout": "500ms"});
    assert_eq!(
        faults(json!({"connection": connection, "timeout": "1m 30s"})),
        [""; 0]
    );
    // Keys without a value count as missing.
    let connection = json!({
        "url": null, "host": "h", "port": null, "ssl": null, "ssl_options": null,
        "client_properties": null, "virtualhost": null, "heartbeat": null,
    });
    let config = json!({
        "connection": connection, "routing_key": null, "timeout": null, "declare": null,
        "mandatory": null, "persistent": null,
    });
    assert_eq!(faults(config), [""; 0]);
}

#[test]
fn unknown_keys_are_named_at_any_depth() {
    let config = json!({
        "queue": "q",
        "connection": {"user": "u", "ssl": true, "ssl_options": {"ca": "x"}},
    });
    let faults = faults(config);
    let named: Vec<&str> = faults
        .iter()
        .filter_map(|fault| fault.split_once(", expected one of: "))
        .map(|(found, _)| found)
        .collect();
    assert_eq!(
        named,
        [
            "queue: found an unknown key",
            "connection.user: found an unknown key",
            "connection.ssl_options.ca: found an unknown key"
        ]
    );
}

#[test]
fn all_faults_are_found_at_once() {
    let config = json!({
        "connection": {"hots": "h", "port": "x", "url": 5, "ssl_options": {"ca_file": 5, "verify": 1}},
        "timeout": 0, "mandatory": "x", "exchange": "e".repeat(256),
    });
    let mut paths = harness().check(config);
    paths.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let paths: Vec<&str> = paths.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "connection.hots",
            "connection.port",
            "connection.ssl_options.ca_file",
            "connection.ssl_options.verify",
            "connection.url",
            "exchange",
            "mandatory",
            "timeout",
        ]
    );
}

#[test]
fn each_impossible_value_is_one_sentence_at_its_key() {
    let cases = [
        (
            json!({"timeout": 0}),
            "timeout: found a number, expected a number of seconds from 0.001 to 86400, or a duration with units such as 30s, 5m, 7d",
        ),
        (
            json!({"timeout": -1}),
            "timeout: found a number, expected a number of seconds from 0.001 to 86400, or a duration with units such as 30s, 5m, 7d",
        ),
        (
            json!({"timeout": "2d"}),
            "timeout: found text, expected a number of seconds from 0.001 to 86400, or a duration with units",
        ),
        (
            json!({"connection": {"heartbeat": "70000s"}}),
            "connection.heartbeat: found text, expected a number of seconds from 0 to 65535, or a duration with units",
        ),
        (
            json!({"connection": {"heartbeat": "1500ms"}}),
            "connection.heartbeat: found a fraction of a second; AMQP counts heartbeats in whole seconds",
        ),
        (
            json!({"exchange": "e".repeat(256)}),
            "exchange: 256 bytes long; AMQP allows at most 255",
        ),
        (
            json!({"connection": {"port": 70000}}),
            "connection.port: found a number, expected a whole number from 1 to 65535",
        ),
        (
            json!({"connection": {"port": 0}}),
            "connection.port: found a number, expected a whole number from 1 to 65535",
        ),
        (
            json!({"connection": {"url": "amqp://mq:0/"}}),
            "connection.url: has port 0; expected a port from 1 to 65535",
        ),
        (
            json!({"connection": {"url": "amqp://mq:70000/"}}),
            "connection.url: not an AMQP URL; expected amqp://",
        ),
        (
            json!({"connection": {"connection_timeout": 100_000}}),
            "connection.connection_timeout: found a number, expected a number of seconds from 0.001 to 86400, or a duration with units such as 30s, 5m, 7d",
        ),
        (
            json!({"connection": {"virtualhost": "v".repeat(256)}}),
            "connection: the virtual host is 256 bytes long",
        ),
        (
            json!({"connection": {"url": "localhost:5672"}}),
            "connection.url: not an AMQP URL; expected amqp://",
        ),
        (
            json!({"connection": {"ssl_options": {"ca_file": "/nowhere"}}}),
            "connection.ssl_options: given for a connection that is not encrypted",
        ),
        (
            json!({"connection": {"ssl": true, "ssl_options": {"ca_file": "/nowhere"}}}),
            "connection.ssl_options.ca_file: cannot read /nowhere",
        ),
        (
            json!({"connection": {"ssl": true, "ssl_options": {"ca_file": file!()}}}),
            "connection.ssl_options.ca_file: ",
        ),
        (
            json!({"connection": {"ssl": true, "ssl_options": {"key_file": "/nowhere"}}}),
            "connection.ssl_options.key_file: given without a `cert_file`",
        ),
    ];
    for (config, expected) in cases {
        let found = faults(config.clone());
        assert_eq!(found.len(), 1, "{config}: {found:?}");
        assert!(found[0].starts_with(expected), "{config}: {found:?}");
    }
}

#[test]
fn rules_between_keys_hide_neither_each_other_nor_what_cannot_be_read() {
    let paths = |connection: Value| -> Vec<String> {
        let faults = harness().check(json!({"connection": connection, "timeout": "soon"}));
        faults.into_iter().map(|fault| fault.path).collect()
    };
    assert_eq!(
        paths(json!({
            "url": "amqp://h/?auth_mechanism=external", "host": "h", "ssl": false,
            "ssl_options": {"ca_file": "/nowhere"},
        })),
        [
            "timeout",
            "connection.host",
            "connection.url",
            "connection.ssl_options"
        ]
    );
    assert_eq!(
        paths(json!({
            "url": "nonsense", "ssl_options": {"ca_file": "/nowhere", "cert_file": "/nowhere"},
        })),
        [
            "timeout",
            "connection.url",
            "connection.ssl_options.cert_file",
            "connection.ssl_options.ca_file"
        ]
    );
    // Whether the connection is encrypted is not known.
    assert_eq!(
        paths(json!({"ssl": "yes", "ssl_options": {"key_file": "/nowhere"}})),
        ["connection.ssl", "timeout"]
    );
}

#[test]
fn the_names_that_other_programs_have_for_keys_lead_to_the_right_ones() {
    for (config, path, meant) in [
        (
            json!({"connection": {"hostname": "h"}}),
            "connection.hostname",
            "host",
        ),
        (
            json!({"connection": {"user": "u"}}),
            "connection.user",
            "login",
        ),
        (
            json!({"connection": {"username": "u"}}),
            "connection.username",
            "login",
        ),
        (
            json!({"connection": {"pass": "p"}}),
            "connection.pass",
            "password",
        ),
        (
            json!({"connection": {"vhost": "/"}}),
            "connection.vhost",
            "virtualhost",
        ),
        (json!({"host": "h"}), "host", "connection.host"),
        (json!({"queue": "q"}), "queue", "routing_key"),
        (
            json!({"connection": {"ssl": true, "ssl_options": {"ca": "x"}}}),
            "connection.ssl_options.ca",
            "ca_file",
        ),
    ] {
        let found = faults(config);
        assert_eq!(found.len(), 1, "{found:?}");
        let begins = format!("{path}: found an unknown key, expected one of: ");
        assert!(found[0].starts_with(&begins), "{found:?}");
        let ends = format!("; did you mean `{meant}`?");
        assert!(found[0].ends_with(&ends), "{found:?}");
    }
}

#[test]
fn files_that_are_none_are_refused_and_never_waited_for() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let directory = (folder.path().to_owned(), "it is a directory".to_owned());
    let odd_files = odd_files(folder.path(), 16 * 1024 * 1024);
    for (odd, found) in odd_files.into_iter().chain([directory]) {
        for options in [
            json!({"ca_file": odd}),
            json!({"cert_file": odd, "key_file": odd}),
        ] {
            let files = options.as_object().map_or(0, serde_json::Map::len);
            let found_all = faults(json!({"connection": {"ssl": true, "ssl_options": options}}));
            assert_eq!(found_all.len(), files, "{found_all:?}");
            assert!(
                found_all.iter().all(|fault| fault.contains(&found)),
                "{found_all:?}"
            );
        }
    }
}

#[test]
fn the_schema_marks_the_secrets_and_describes_every_field() {
    let schema = harness().schema();
    assert_eq!(schema["$defs"]["Secret"]["writeOnly"], true);
    for fields in [
        &schema["properties"],
        &schema["$defs"]["ConnectionConfig"]["properties"],
        &schema["$defs"]["SslOptions"]["properties"],
    ] {
        for (name, field) in fields.as_object().expect("properties") {
            assert!(
                field["description"].is_string(),
                "{name} has no description"
            );
        }
    }
}

#[test]
fn a_login_by_certificate_without_a_certificate_is_refused() {
    for connection in [
        json!({"url": "amqp://h/?auth_mechanism=external"}),
        json!({"url": "amqps://h/?auth_mechanism=external"}),
        json!({"url": "amqps://h/?auth_mechanism=external", "ssl_options": {"verify": false}}),
    ] {
        let faults = faults(json!({"connection": connection}));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("connection.url: "), "{faults:?}");
        assert!(faults[0].contains("`cert_file`"), "{faults:?}");
    }
}

#[test]
fn with_tls_a_host_that_no_certificate_can_be_for_is_refused() {
    for (key, connection) in [
        ("host", json!({"host": "127.1", "ssl": true})),
        ("url", json!({"url": "amqps://u:hunter2@a_b%20c/"})),
    ] {
        let faults = faults(json!({"connection": connection}));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].starts_with(&format!("connection.{key}: ")),
            "{faults:?}"
        );
        assert!(!faults[0].contains("hunter2"), "{faults:?}");
    }
    let plain = json!({"connection": {"host": "127.1"}});
    assert_eq!(faults(plain), [""; 0]);
}
