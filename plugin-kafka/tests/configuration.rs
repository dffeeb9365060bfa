//! What the plugin accepts in the acct file, and how it refuses the rest. No broker is needed.

mod support;

use evbus_sdk::Secret;
use evbus_sdk::serde_json::{Value, json};
use evbus_testkit::{named_pipe, odd_files};
use support::{assert_fault, faults, harness};

#[test]
fn a_key_without_a_value_counts_as_one_that_is_not_there() {
    let connection = json!({
        "client_id": null, "compression_type": null, "ssl_context": null, "linger.ms": null,
        "sasl_plain_username": null, "sasl_plain_password": null, "api_version": null,
    });
    let config = json!({
        "connection": connection, "topics": null, "key": null, "partition": null, "ssl": null,
    });
    assert_eq!(faults(config), Vec::<String>::new());
    assert_eq!(faults(json!({"connection": null})), Vec::<String>::new());
    let misspelt = json!({"connection": {"linger.mss": null}});
    assert_fault(misspelt, "connection.linger.mss", "unknown key");
}

#[test]
fn all_names_of_aiokafkas_producer_are_taken() {
    let config = json!({
        "connection": {
            "bootstrap_servers": ["a:9092", "b:9092"],
            "client_id": "me",
            "acks": "all",
            "compression_type": "zstd",
            "max_batch_size": 16384,
            "linger_ms": 0.5,
            "connections_max_idle_ms": 540_000,
            "max_request_size": 1_048_576,
            "retry_backoff_ms": 100,
            "request_timeout_ms": 40_000,
            "metadata_max_age_ms": 300_000,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "u",
            "sasl_plain_password": "p",
            "enable_idempotence": true,
            "api_version": "auto",
        },
        "topics": ["one", "two"],
        "key": "k",
        "partition": 3,
        "ssl": {},
    });
    assert_eq!(faults(config), Vec::<String>::new());
    assert_eq!(faults(json!({})), Vec::<String>::new());
    let single = json!({"connection": {"bootstrap_servers": "a:1,b:2", "acks": 0}, "topics": "t"});
    assert_eq!(faults(single), Vec::<String>::new());
    for acks in [json!(0), json!(1), json!(-1), json!("all"), json!("1")] {
        assert_eq!(
            faults(json!({"connection": {"acks": acks}})),
            Vec::<String>::new()
        );
    }
}

#[test]
fn any_property_of_librdkafka_is_taken_by_its_own_name() {
    let config = json!({"connection": {
        "linger.ms": 0.5,
        "message.timeout.ms": "10000",
        "socket.keepalive.enable": false,
        "partitioner": "murmur2",
        "retries": 3,
    }});
    assert_eq!(faults(config), Vec::<String>::new());
}

#[test]
fn an_unknown_name_is_a_fault_that_names_the_nearest_known_one() {
    let connection = |name: &str| json!({"connection": {name: 1}});
    assert_fault(
        connection("linger.mss"),
        "connection.linger.mss",
        "`linger.ms`",
    );
    assert_fault(connection("lingerms"), "connection.lingerms", "`linger.ms`");
    assert_fault(
        connection("compresion_type"),
        "connection.compresion_type",
        "`compression_type`",
    );
    assert_fault(
        connection("wibble"),
        "connection.wibble",
        "unknown key, expected",
    );
    assert_fault(json!({"topic": "t"}), "topic", "unknown key");
    assert_fault(json!({"ssl": {"cafile": "x"}}), "ssl.cafile", "unknown key");
}

#[test]
fn a_key_that_cannot_be_read_hides_no_other_fault_and_is_blamed_for_none() {
    let config = json!({
        "connection": {
            "linger.mss": 5, "acks": 7, "max_batch_size": "hunter2", "request_timeout_ms": -1,
            "sasl_plain_username": "u", "sasl_plain_password": 31337, "security_protocol": "SASL_SSL",
            "bootstrap_servers": "a:99999", "metadata_max_age_ms": ["hunter2"],
        },
        "ssl": {"cafile": "/x", "key_file": {}},
        "topic": "t", "key": 5, "partition": -1, "topics": ["a b"],
    });
    let found = faults(config);
    assert!(!found.concat().contains("hunter2"), "{found:#?}");
    let mut paths: Vec<&str> = found
        .iter()
        .filter_map(|fault| Some(fault.split_once(": ")?.0))
        .collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "connection.acks",
            "connection.bootstrap_servers",
            "connection.linger.mss",
            "connection.max_batch_size",
            "connection.metadata_max_age_ms",
            "connection.request_timeout_ms",
            "connection.sasl_plain_password",
            "key",
            "partition",
            "ssl.cafile",
            "ssl.key_file",
            "topic",
            "topics[0]",
        ],
        "{found:#?}"
    );
}

#[test]
fn a_port_that_librdkafka_would_cut_is_a_fault_of_its_key() {
    let is_taken = [
        "a",
        "a:1",
        "a:65535",
        "[::1]",
        "[::1]:9092",
        "::1",
        "a:9092,b",
        "a:9092, b:9093",
        "",
        "PLAINTEXT://a:9092/x",
    ];
    for servers in is_taken {
        let config = json!({"connection": {"bootstrap_servers": servers}});
        assert_eq!(faults(config), [""; 0], "{servers}");
    }
    for wrong in [
        "host:99999",
        "host:65536",
        "host:0",
        "host:-1",
        "host:",
        "host:kafka",
        "[::1]:99999",
        "PLAINTEXT://host:99999/",
    ] {
        for (key, value, position) in [
            ("bootstrap_servers", json!(wrong), 1),
            ("bootstrap_servers", json!(["a:9092", wrong]), 2),
            ("bootstrap.servers", json!(format!("a,b:1,{wrong}")), 3),
            ("metadata.broker.list", json!(wrong), 1),
        ] {
            let text = format!(
                "found an invalid port in address {position}, expected a number from 1 to 65535"
            );
            let config = json!({"connection": {key: value}});
            assert_fault(config, &format!("connection.{key}"), &text);
        }
    }
}

#[test]
fn one_setting_under_two_names_is_a_fault() {
    for (one, other, value) in [
        ("linger_ms", "linger.ms", 1000),
        ("linger_ms", "queue.buffering.max.ms", 1000),
        ("acks", "request.required.acks", 1),
        ("max_request_size", "message.max.bytes", 1000),
    ] {
        let config = json!({"connection": {one: value, other: value}});
        assert_fault(
            config,
            &format!("connection.{other}"),
            &format!("`connection.{one}`"),
        );
    }
}

#[test]
fn a_value_that_librdkafka_does_not_take_is_a_fault_of_its_key() {
    let connection = |name: &str, value: Value| json!({"connection": {name: value}});
    assert_fault(
        connection("linger.ms", json!("soon")),
        "connection.linger.ms",
        "found a value that librdkafka rejects",
    );
    assert_fault(
        connection("acks", json!(2000)),
        "connection.acks",
        "0, 1, -1 or `all`",
    );
    assert_fault(
        connection("linger.ms", json!(9_999_999)),
        "connection.linger.ms",
        "expected a number from 0 to 900000",
    );
    assert_fault(
        connection("acks", json!(2)),
        "connection.acks",
        "0, 1, -1 or `all`",
    );
    assert_fault(
        connection("acks", json!(true)),
        "connection.acks",
        "0, 1, -1 or `all`",
    );
    assert_fault(
        connection("linger.ms", json!([1])),
        "connection.linger.ms",
        "expected a string",
    );
    assert_fault(
        connection("compression_type", json!("lzma")),
        "connection.compression_type",
        "zstd",
    );
    assert_fault(json!({"topics": ["a", "b/c"]}), "topics[1]", "'/'");
    assert_fault(json!({"partition": -1}), "partition", "from 0");
}

#[test]
fn what_cannot_be_used_is_refused_with_the_reason() {
    for name in [
        "transactional_id",
        "transactional.id",
        "value_serializer",
        "ssl_context",
        "sasl_oauth_token_provider",
        "delivery.report.only.error",
        "plugin.library.paths",
        "test.mock.num.brokers",
        "test.mock.broker.rtt",
        "enabled_events",
        "error_cb",
        "dr_msg_cb",
        "ssl.certificate.verify_cb",
        "opaque",
        "interceptors",
        "internal.termination.signal",
        "log.queue",
        "queuing.strategy",
        "sasl.kerberos.kinit.cmd",
        "sasl.oauthbearer.token.endpoint.url",
        "ssl.engine.location",
        "ssl.providers",
        "ssl_ca",
    ] {
        let config = json!({"connection": {name: "x"}});
        assert_fault(config, &format!("connection.{name}"), "cannot be used: ");
    }
    let oauth = json!({"connection": {
        "security_protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER",
        "sasl.username": "u", "sasl.password": "p",
    }});
    assert_fault(oauth, "connection.sasl_mechanism", "OAUTHBEARER");
}

#[test]
fn tls_and_passwords_are_never_silently_left_out() {
    assert_fault(
        json!({"connection": {"security_protocol": "PLAINTEXT"}, "ssl": {}}),
        "connection.security_protocol",
        "beside the key `ssl`",
    );
    assert_fault(
        json!({"connection": {"security.protocol": "sasl_plaintext", "sasl.username": "u",
               "sasl.password": "p"}, "ssl": {}}),
        "connection.security_protocol",
        "SASL_SSL",
    );
    assert_fault(
        json!({"connection": {"sasl_plain_username": "u", "sasl_plain_password": "p"}}),
        "connection.security_protocol",
        "SASL_PLAINTEXT, which sends it over an unencrypted connection",
    );
    assert_fault(
        json!({"connection": {"security_protocol": "SASL_SSL", "sasl_plain_username": "u"}}),
        "connection.sasl_plain_password",
        "missing",
    );
    assert_fault(
        json!({"ssl": {"ca_file": "/no/such.pem"}}),
        "ssl.ca_file",
        "/no/such.pem",
    );
}

#[test]
fn a_key_that_the_protocol_ignores_is_a_fault_that_says_what_to_give() {
    for (name, value) in [
        ("sasl_mechanism", "SCRAM-SHA-512"),
        ("sasl.mechanisms", "PLAIN"),
        ("sasl.mechanism", "PLAIN"),
    ] {
        for protocol in [json!(null), json!("PLAINTEXT"), json!("SSL")] {
            let config = json!({"connection": {name: value, "security_protocol": protocol}});
            let path = format!("connection.{name}");
            assert_fault(
                config,
                &path,
                "`security_protocol: SASL_SSL` (or SASL_PLAINTEXT)",
            );
        }
    }
    for (name, value) in [
        ("ssl.ca.location", json!("/etc/ssl/certs")),
        ("ssl.endpoint.identification.algorithm", json!("none")),
        ("enable.ssl.certificate.verification", json!(false)),
    ] {
        let config = json!({"connection": {name: value}});
        let path = format!("connection.{name}");
        assert_fault(
            config,
            &path,
            "the connection is PLAINTEXT, which ignores it",
        );
        let config = json!({"connection": {name: value, "security_protocol": "SSL"}});
        assert_eq!(faults(config), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn secrets_appear_in_no_fault_and_no_debug_output() {
    let secret = "hunter2";
    let connection = |name: &str| json!({"connection": {name: secret, "nonsense": 1, "sasl_plain_username": "u"}});
    for name in [
        "sasl_plain_password",
        "sasl.password",
        "sasl.jaas.config",
        "ssl.key.pem",
        "ssl.ca.pem",
        "acks",
        "linger.ms",
        "security.protocol",
        "sasl.mechanisms",
        "request.required.acks",
    ] {
        let config = connection(name);
        let found = faults(config.clone());
        assert!(!found.is_empty());
        assert!(!format!("{found:?}").contains(secret), "{found:?}");
        let config: plugin_kafka::config::Config =
            evbus_sdk::serde_json::from_value(config).expect("the types are right");
        assert!(!format!("{config:?}").contains(secret));
    }
    let ssl = plugin_kafka::config::Ssl {
        password: Some(Secret::new(secret)),
        ..Default::default()
    };
    assert!(!format!("{ssl:?}").contains(secret));
    let found = faults(json!({"connection": {"sasl_plain_password": 12_345_678}}));
    assert!(!found.is_empty());
    assert!(!format!("{found:?}").contains("12345678"), "{found:?}");
    for (key, expected) in [
        ("linger_ms", "a number of milliseconds"),
        ("acks", "0, 1, -1 or `all`"),
        ("compression_type", "one of: none, gzip, snappy, lz4, zstd"),
        (
            "sasl_mechanism",
            "one of: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
        ),
        (
            "max_request_size",
            "a whole number of bytes from 0 to 4294967295",
        ),
        ("enable_idempotence", "true or false"),
    ] {
        let config = json!({"connection": {key: [secret]}});
        let sentence = format!("connection.{key}: found a list, expected {expected}");
        assert_eq!(faults(config), [sentence]);
    }
    for key in ["connection", "ssl", "partition"] {
        let found = faults(json!({key: secret}));
        let sentence = format!("{key}: found text, expected ");
        assert!(
            found.len() == 1 && found[0].starts_with(&sentence),
            "{found:?}"
        );
        assert!(!found[0].contains(secret), "{found:?}");
    }
}

#[test]
fn the_schema_describes_every_key() {
    let schema = harness().schema();
    let connection = &schema["$defs"]["Connection"]["properties"];
    for name in [
        "bootstrap_servers",
        "acks",
        "linger_ms",
        "sasl_plain_password",
        "request_timeout_ms",
    ] {
        let description = connection[name]["description"].as_str().unwrap_or_default();
        assert!(description.len() > 10, "{name}: {:?}", connection[name]);
    }
    assert!(schema["properties"]["topics"]["description"].is_string());
}

#[test]
fn files_that_are_none_are_refused_and_never_waited_for() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("authorities")).expect("a directory");
    named_pipe(&at("authorities/0123abcd.0"));
    for (odd, found) in odd_files(folder.path(), 16 * 1024 * 1024) {
        let found = found.as_str();
        assert_fault(json!({"ssl": {"ca_file": odd}}), "ssl.ca_file", found);
        for name in [
            "ssl.ca.location",
            "ssl.certificate.location",
            "ssl.crl.location",
            "ssl.key.location",
            "ssl.keystore.location",
        ] {
            let config = json!({"connection": {"security_protocol": "SSL", name: odd}});
            assert_fault(config, &format!("connection.{name}"), found);
        }
    }
    let key = json!({"connection": {
        "security_protocol": "SSL", "ssl.key.location": at("authorities"),
    }});
    assert_fault(key, "connection.ssl.key.location", "it is a directory");
    let authorities = json!({"ssl": {"ca_file": at("authorities")}});
    assert_fault(
        authorities,
        "ssl.ca_file",
        "0123abcd.0 in it is a named pipe",
    );
    std::fs::remove_file(at("authorities/0123abcd.0")).expect("it is ours");
    let authorities = json!({"ssl": {"ca_file": at("authorities")}});
    assert_eq!(faults(authorities), [""; 0]);
    let probed = json!({"connection": {"security_protocol": "SSL", "ssl.ca.location": "probe"}});
    assert_eq!(faults(probed), [""; 0]);
}
