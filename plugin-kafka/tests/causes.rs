//! The reason reported for a connection that fails: one sentence with the address, the cause and what to do, from the
//! real librdkafka and a real broker.

mod support;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use evbus_sdk::serde_json::{Value, json};
use evbus_testkit::{ConnectFailure, Link, port_that_answers};
use support::{SOON, assert_accepted, assert_rejected, harness, numbered};
use xtask::brokers::{Certificates, ClientCertificate, Kafka, PASSWORD, USER};

/// `evbus check --connect` waits for ten seconds.
const IN_TIME: Duration = Duration::from_millis(9900);

/// Users without a login may do everything, and [`USER`] nothing.
static BROKER: LazyLock<Kafka> = LazyLock::new(|| {
    Kafka::builder()
        .sasl()
        .tls(ClientCertificate::NotAsked)
        .auto_create_topics(false)
        .setting(
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        )
        .setting("super.users", "User:ANONYMOUS")
        .start()
        .expect("Kafka starts")
});

/// The reason of a connection that must fail, in one sentence and in time.
async fn failure(config: Value) -> ConnectFailure {
    let started = Instant::now();
    let harness = harness();
    let failure = harness.connect(config).await.expect_err("it must fail");
    let (reason, elapsed) = (failure.reason(), started.elapsed());
    assert!(elapsed < IN_TIME, "{elapsed:?}: {reason}");
    let said = format!("{reason} {:?}", harness.seen());
    for unwanted in [PASSWORD, "hunter2", "brokers are down", "error:", "\n"] {
        assert!(!said.contains(unwanted), "{unwanted:?} in {said}");
    }
    assert!(
        harness.seen().links.is_empty(),
        "{:?}",
        harness.seen().links
    );
    failure
}

#[track_caller]
fn assert_says(failure: &ConnectFailure, parts: &[&str]) {
    for part in parts {
        assert!(failure.reason().contains(part), "no `{part}` in: {failure}");
    }
}

fn at(servers: &str) -> Value {
    json!({"connection": {"bootstrap_servers": servers}, "topics": "t"})
}

fn with_tls(servers: &str) -> Value {
    let ca = &BROKER.certificates().expect("the broker has TLS").ca;
    json!({"connection": {"bootstrap_servers": servers}, "ssl": {"ca_file": ca}, "topics": "t"})
}

fn with_login(servers: &str, mechanism: &str, password: &str) -> Value {
    json!({"connection": {
        "bootstrap_servers": servers, "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism, "sasl_plain_username": USER, "sasl_plain_password": password,
    }, "topics": "t"})
}

fn speaks(answer: Option<&'static [u8]>) -> String {
    port_that_answers(answer).to_string()
}

fn port(servers: Option<String>) -> String {
    let servers = servers.expect("the broker has this listener");
    let (_, port) = servers.rsplit_once(':').expect("a port");
    port.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_listens_or_no_host_is_the_address_is_named() {
    let refused = failure(at("127.0.0.1:9")).await;
    assert_says(
        &refused,
        &[
            "127.0.0.1:9 refuses",
            "nothing listens",
            "`bootstrap_servers`",
        ],
    );
    let unknown = failure(at("no-such-host.invalid:9092")).await;
    assert_says(
        &unknown,
        &["no-such-host.invalid:9092", "host name is not known"],
    );
    let both = failure(at("127.0.0.1:9,no-such-host.invalid:9092")).await;
    assert_says(
        &both,
        &[
            "127.0.0.1:9 refuses",
            "no-such-host.invalid:9092 cannot be found",
        ],
    );
    for failure in [refused, unknown, both] {
        assert!(matches!(failure, ConnectFailure::Retry(_)), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_speaks_something_else_is_said_to() {
    let http = speaks(Some(
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    ));
    assert_says(
        &failure(at(&http)).await,
        &[&http, "it speaks HTTP", "correct the port"],
    );
    let amqp = speaks(Some(b"AMQP\x00\x00\x09\x01"));
    assert_says(&failure(at(&amqp)).await, &[&amqp, "it speaks AMQP"]);
    let other = speaks(Some(b"\xff\xff\xff\xff hello"));
    assert_says(
        &failure(at(&other)).await,
        &[&other, "it speaks another protocol"],
    );
    let mute = speaks(None);
    assert_says(
        &failure(at(&mute)).await,
        &[&mute, "does not answer like a Kafka broker"],
    );
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"AMQP\x00\x00\x09\x01",
    ] {
        let plain = speaks(Some(answer));
        assert_says(
            &failure(with_tls(&plain)).await,
            &[&plain, "does not speak TLS"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_login_that_do_not_fit_the_listener_are_told_apart() {
    let plain = BROKER.bootstrap_servers();
    let tls = BROKER.tls_servers().expect("the broker has TLS");
    let login = BROKER.sasl_servers().expect("the broker has SASL");
    // A broker may close the connection before its answer is read; another attempt shows the cause.
    let mut found = failure(with_tls(&plain)).await;
    for _ in 0..5 {
        if !found.to_string().contains("closed the connection") {
            break;
        }
        found = failure(with_tls(&plain)).await;
    }
    assert_says(
        &found,
        &[&plain, "does not speak TLS", "`security_protocol`"],
    );
    let found = failure(at(&tls)).await;
    assert_says(
        &found,
        &[&tls, "the port expects TLS", "`security_protocol`"],
    );
    let found = failure(at(&login)).await;
    assert_says(
        &found,
        &[&login, "the port expects a login", "`sasl_plain_username`"],
    );
    let found = failure(with_login(&plain, "PLAIN", PASSWORD)).await;
    assert_says(
        &found,
        &[&plain, "does not accept logins", "`security_protocol`"],
    );
    let found = failure(with_login(&login, "SCRAM-SHA-256", "hunter2")).await;
    assert_says(
        &found,
        &[&login, "refused the credentials", "`sasl_plain_password`"],
    );
    assert!(matches!(found, ConnectFailure::Permanent(_)), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_accepted_is_said_to_be() {
    let tls = BROKER.tls_servers().expect("the broker has TLS");
    let other = tempfile::tempdir().expect("a temporary directory");
    let other = Certificates::generate(other.path()).expect("openssl is there");
    let mut untrusted = with_tls(&tls);
    untrusted["ssl"]["ca_file"] = json!(other.ca);
    let found = failure(untrusted).await;
    assert_says(
        &found,
        &[&tls, "a certificate that is not trusted", "`ca_file`"],
    );
    // Resolves to 127.0.0.1, but is written differently from that address and from `localhost`.
    let misnamed = format!("127.1:{}", port(BROKER.tls_servers()));
    let found = failure(with_tls(&misnamed)).await;
    assert_says(&found, &[&misnamed, "another host name"]);
    assert!(matches!(found, ConnectFailure::Permanent(_)), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_user_may_not_do_is_said_before_the_first_event() {
    let login = BROKER.sasl_servers().expect("the broker has SASL");
    BROKER
        .create_topic("closed", 1)
        .expect("the broker makes topics");
    let mut config = with_login(&login, "SCRAM-SHA-512", PASSWORD);
    config["topics"] = json!("closed");
    let found = failure(config.clone()).await;
    assert_says(
        &found,
        &[&login, "to write to topic `closed`", "grant it Write"],
    );
    config["topics"] = Value::Null;
    let found = failure(config.clone()).await;
    let parts = [
        "idempotent producer",
        "IdempotentWrite",
        "`enable_idempotence: false`",
    ];
    assert_says(&found, &parts);
    assert!(matches!(found, ConnectFailure::Permanent(_)), "{found}");
    config["connection"]["enable_idempotence"] = json!(false);
    let instance = harness().connect(config).await.expect("no topic is named");
    let outcomes = instance.publish(numbered("closed", 1)).await;
    assert_rejected(&outcomes[0], "to write to topic `closed`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_is_said_to_be_and_is_connected_to_when_it_is_made() {
    let servers = BROKER.bootstrap_servers();
    let mut config = at(&servers);
    config["topics"] = json!("made-later");
    let found = failure(config.clone()).await;
    assert_says(
        &found,
        &[&servers, "topic `made-later` does not exist", "create it"],
    );
    assert!(matches!(found, ConnectFailure::Retry(_)), "{found}");
    BROKER
        .create_topic("made-later", 1)
        .expect("the broker makes topics");
    let instance = harness().connect(config).await.expect("the topic is there");
    assert_accepted(&instance.publish(numbered("p", 1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advertised_address_that_nobody_reaches_is_named() {
    for (advertised, why) in [
        ("127.0.0.1:9", "nothing listens"),
        ("no-such-host.invalid:9092", "host name is not known"),
    ] {
        let broker = Kafka::builder()
            .setting("advertised.listeners", &format!("PLAINTEXT://{advertised}"))
            .start()
            .expect("Kafka starts");
        let servers = broker.bootstrap_servers();
        broker
            .create_topic("t", 1)
            .expect("the broker makes topics");
        for topics in [json!("t"), json!(null)] {
            let mut config = at(&servers);
            config["topics"] = topics;
            let found = failure(config).await;
            assert_says(&found, &[advertised, why, "`advertised.listeners`"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_is_said_to_be_gone_with_the_cause() {
    let mut broker = Kafka::start().expect("Kafka starts");
    let servers = broker.bootstrap_servers();
    let instance = harness()
        .connect(at(&servers))
        .await
        .expect("the broker answers");
    broker.kill().expect("the keeper is there");
    let refused = |seen: &evbus_testkit::Seen| matches!(seen.links.last(), Some(Link::Down(why)) if why.contains("nothing listens"));
    assert!(
        instance.wait_until(SOON, refused).await,
        "{:?}",
        instance.seen().links
    );
    for link in instance.seen().links {
        let Link::Down(why) = link else { continue };
        assert!(
            why.contains(&servers) && !why.contains("brokers are down"),
            "{why}"
        );
    }
}
