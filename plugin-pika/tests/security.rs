//! TLS, and secrets that stay where they are.

mod support;

use std::path::Path;

use evbus_testkit::{ConnectFailure, Harness, Instance, Level, TestEvent, built};
use serde_json::{Value, json};
use support::{assert_accepted, broker, harness, numbered, unique};
use tokio::net::{TcpListener, TcpStream};
use xtask::brokers::{
    CLIENT_KEY_PASSWORD, Certificates, ClientCertificate, PASSWORD, RabbitMq, USER,
};

async fn connect(
    broker: &RabbitMq,
    host: &str,
    options: Value,
) -> Result<Instance, ConnectFailure> {
    let connection = json!({
        "host": host, "port": broker.tls_port(), "login": USER, "password": PASSWORD,
        "ssl": true, "ssl_options": options,
    });
    harness()
        .connect(json!({"connection": connection, "routing_key": "tls"}))
        .await
}

fn assert_refused(refused: Result<Instance, ConnectFailure>, why: &str) {
    let failure = refused.expect_err("the connection must not come about");
    assert!(matches!(failure, ConnectFailure::Permanent(_)), "{failure}");
    assert!(failure.reason().contains(why), "{failure}");
}

/// A port of 127.0.0.2 that leads to a port of 127.0.0.1.
async fn forwarded(to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.2:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            if let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await {
                // Either side may close the connection at any time.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        }
    });
    port
}

fn certificates(broker: &RabbitMq) -> &Certificates {
    broker
        .certificates()
        .expect("the broker has a TLS listener")
}

fn start(client: ClientCertificate) -> RabbitMq {
    RabbitMq::builder()
        .tls(client)
        .start()
        .expect("RabbitMQ starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_given_authority_and_checks_the_host_name() {
    let broker = start(ClientCertificate::NotAsked);
    let ca = &certificates(&broker).ca;
    let instance = connect(&broker, "localhost", json!({"ca_file": ca})).await;
    let instance = instance.expect("the certificate is for localhost");
    assert_accepted(&instance.publish(numbered("p", 100)).await);

    // The same server under a name that is not in its certificate.
    let port = forwarded(broker.tls_port().expect("a TLS listener")).await;
    let connection = json!({
        "url": format!("amqps://{USER}:{PASSWORD}@127.0.0.2:{port}/"),
        "ssl_options": {"ca_file": ca},
    });
    let wrong_name = harness().connect(json!({"connection": connection})).await;
    assert_refused(wrong_name, "it is for another host name");

    let other = tempfile::tempdir().expect("a temporary directory");
    let other = Certificates::generate(other.path()).expect("other certificates");
    let wrong_ca = connect(&broker, "localhost", json!({"cafile": other.ca})).await;
    assert_refused(wrong_ca, "its certificate authority is not trusted");
    let system = connect(&broker, "localhost", json!({})).await;
    let failure = system.expect_err("the system does not know the authority");
    assert!(matches!(failure, ConnectFailure::Permanent(_)), "{failure}");

    let unchecked = json!({"verify": false});
    let unchecked = connect(&broker, "localhost", unchecked).await;
    assert_accepted(
        &unchecked
            .expect("nothing is checked")
            .publish(numbered("p", 1))
            .await,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let broker = start(ClientCertificate::Required);
    let made = certificates(&broker);
    let with = |key: &Path, password: Option<&str>| {
        json!({
            "ca_file": made.ca, "cert_file": made.client_cert, "keyfile": key,
            "password": password,
        })
    };
    for options in [
        with(&made.client_key, None),
        with(&made.client_key_encrypted, Some(CLIENT_KEY_PASSWORD)),
    ] {
        let instance = connect(&broker, "localhost", options)
            .await
            .expect("let in");
        assert_accepted(&instance.publish(numbered("p", 1)).await);
    }
    let wrong = with(&made.client_key_encrypted, Some("hunter2"));
    let refused = connect(&broker, "localhost", wrong).await;
    let failure = refused.expect_err("the key cannot be read");
    assert!(failure.reason().contains("key_file"), "{failure}");
    assert!(!failure.reason().contains("hunter2"), "{failure}");
    let without = connect(&broker, "localhost", json!({"ca_file": made.ca})).await;
    assert!(without.is_err(), "the broker asks for a certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_never_given_up_for_plaintext() {
    let connection = json!({
        "host": "127.0.0.1", "port": broker().port(), "login": USER, "password": PASSWORD,
        "ssl": true, "ssl_options": {"verify": false},
    });
    let refused = harness().connect(json!({"connection": connection})).await;
    refused.expect_err("the port speaks no TLS");
}

/// Loaded as by a host, with every log line passed on.
#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_shows_the_password_or_a_body() {
    let library = Harness::open(&built("plugin-pika")).expect("it is a plugin");
    let mut config = support::config(broker(), json!({"declare": false}));
    let queue = unique("absent");
    // lapin logs a line for every heartbeat.
    config["connection"]["heartbeat"] = json!(1);
    let instance = library.connect(config).await.expect("the broker answers");
    let body = "a-body-that-nobody-may-read";
    let outcomes = instance.publish(vec![TestEvent::text(&queue, body)]).await;
    support::assert_rejected(&outcomes[0], "unroutable");
    let from_lapin = |line: &evbus_testkit::LogLine| line.target.starts_with("lapin");
    let come_through = |seen: &evbus_testkit::Seen| seen.log.iter().any(from_lapin);
    assert!(
        instance.wait_until(support::SOON, come_through).await,
        "lapin's lines come through"
    );
    assert!(instance.close().await);

    let seen = library.seen();
    let spelled = format!("{:?}", body.as_bytes());
    for line in &seen.log {
        for secret in [PASSWORD, body, &spelled[1..spelled.len() - 1]] {
            assert!(!line.message.contains(secret), "{line:?}");
        }
    }
    let of_lapin = |line: &&evbus_testkit::LogLine| from_lapin(line);
    let trace = |line: &evbus_testkit::LogLine| line.level >= Level::TRACE;
    assert!(!seen.log.iter().filter(of_lapin).any(trace));
}
