//! The reason reported for a connection that fails: one sentence with the address, the cause and what to do, from the
//! real lapin and real brokers.

mod support;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use evbus_testkit::{ConnectFailure, port_that_answers};
use lapin::ExchangeKind;
use serde_json::{Value, json};
use support::{Client, SOON, assert_accepted, assert_rejected, harness, numbered, unique};
use xtask::brokers::{Certificates, ClientCertificate, Kafka, PASSWORD, RabbitMq, USER};

/// `evbus check --connect` waits for ten seconds.
const IN_TIME: Duration = Duration::from_millis(9900);

static BROKER: LazyLock<RabbitMq> = LazyLock::new(|| {
    RabbitMq::builder()
        .tls(ClientCertificate::NotAsked)
        .user("stranger", "stranger-secret")
        .start()
        .expect("RabbitMQ starts")
});

/// The reason of a connection that must fail, in one sentence and in time.
async fn failure(config: Value) -> ConnectFailure {
    let started = Instant::now();
    let harness = harness();
    let failure = harness.connect(config).await.expect_err("it must fail");
    let (reason, elapsed) = (failure.reason(), started.elapsed());
    assert!(elapsed < IN_TIME, "{elapsed:?}: {reason}");
    let said = format!("{reason} {:?}", harness.seen());
    let unwanted = [
        PASSWORD,
        "hunter2",
        "stranger-secret",
        "Nom",
        "Invalid",
        "aborted",
        "\n",
    ];
    for unwanted in unwanted {
        assert!(!said.contains(unwanted), "{unwanted:?} in {said}");
    }
    failure
}

#[track_caller]
fn assert_says(failure: &ConnectFailure, parts: &[&str]) {
    for part in parts {
        assert!(failure.reason().contains(part), "no `{part}` in: {failure}");
    }
}

fn at(host: &str, port: u16, ssl: bool) -> Value {
    json!({"connection": {
        "host": host, "port": port, "login": USER, "password": PASSWORD, "ssl": ssl,
    }})
}

fn trusting(port: u16, host: &str, ca: &std::path::Path) -> Value {
    let mut config = at(host, port, true);
    config["connection"]["ssl_options"] = json!({"ca_file": ca});
    config
}

fn tls_port() -> u16 {
    BROKER.tls_port().expect("the broker has TLS")
}

fn speaks(answer: Option<&'static [u8]>) -> u16 {
    port_that_answers(answer).port()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_listens_or_no_host_is_the_address_is_named() {
    let found = failure(at("127.0.0.1", 9, false)).await;
    assert_says(&found, &["127.0.0.1:9", "nothing listens there", "`port`"]);
    let found = failure(at("no-such-host.invalid", 5672, false)).await;
    assert_says(
        &found,
        &[
            "no-such-host.invalid:5672",
            "host name is not known",
            "`host`",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_speaks_something_else_is_said_to() {
    let http = Some(&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..]);
    for ssl in [false, true] {
        let found = failure(at("127.0.0.1", speaks(http), ssl)).await;
        assert_says(&found, &["127.0.0.1:", "it speaks HTTP", "correct `port`"]);
        let found = failure(at("127.0.0.1", speaks(Some(b"SSH-2.0-x\r\n")), ssl)).await;
        assert_says(&found, &["127.0.0.1:", "another protocol"]);
        let found = failure(at("127.0.0.1", speaks(None), ssl)).await;
        assert_says(
            &found,
            &["127.0.0.1:", "does not answer like an AMQP 0-9-1 broker"],
        );
    }
    let found = failure(at(
        "127.0.0.1",
        speaks(Some(b"AMQP\x03\x01\x00\x00")),
        false,
    ))
    .await;
    assert_says(&found, &["speaks AMQP, but not version 0-9-1"]);
    let kafka = Kafka::start().expect("Kafka starts");
    let found = failure(at("127.0.0.1", kafka.port(), false)).await;
    let address = format!("127.0.0.1:{}", kafka.port());
    assert_says(&found, &[&address, "does not speak AMQP 0-9-1", "`port`"]);
    let found = failure(at("127.0.0.1", kafka.port(), true)).await;
    assert_says(&found, &[&address, "neither TLS nor AMQP", "`port`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_a_plain_port_and_the_other_way_round_are_told() {
    let found = failure(at("127.0.0.1", BROKER.port(), true)).await;
    let address = format!("127.0.0.1:{}", BROKER.port());
    assert_says(&found, &[&address, "AMQP without TLS", "remove `ssl`"]);
    let found = failure(at("127.0.0.1", tls_port(), false)).await;
    let address = format!("127.0.0.1:{}", tls_port());
    assert_says(&found, &[&address, "`ssl: true`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_accepted_is_said_to_be() {
    let other = tempfile::tempdir().expect("a temporary directory");
    let other = Certificates::generate(other.path()).expect("openssl is there");
    let found = failure(trusting(tls_port(), "localhost", &other.ca)).await;
    let address = format!("localhost:{}", tls_port());
    assert_says(
        &found,
        &[
            &address,
            "its certificate authority is not trusted",
            "`ca_file`",
        ],
    );
    assert!(matches!(found, ConnectFailure::Permanent(_)), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_and_a_virtual_host_that_are_refused_are_named() {
    let address = format!("127.0.0.1:{}", BROKER.port());
    let mut config = at("127.0.0.1", BROKER.port(), false);
    config["connection"]["password"] = json!("hunter2");
    let found = failure(config).await;
    assert_says(
        &found,
        &[&address, "refused the login of `evbus`", "`password`"],
    );
    assert!(!found.reason().contains("ACCESS_REFUSED"), "{found}");
    let mut config = at("127.0.0.1", BROKER.port(), false);
    config["connection"]["virtualhost"] = json!("nowhere");
    let found = failure(config).await;
    assert_says(
        &found,
        &[&address, "virtual host `nowhere`", "not found", "create it"],
    );
    let url = BROKER.url_of("stranger", "stranger-secret", "/");
    let found = failure(json!({"connection": {"url": url}})).await;
    assert_says(
        &found,
        &[&address, "virtual host `/` to `stranger`", "permissions"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_or_queue_that_is_missing_is_said_to_be_and_is_connected_to_when_it_is_made() {
    let address = format!("127.0.0.1:{}", BROKER.port());
    let client = Client::new(&BROKER).await;
    let (exchange, queue) = (unique("exchange"), unique("queue"));
    let to_exchange = support::config(&BROKER, json!({"exchange": exchange}));
    let found = failure(to_exchange.clone()).await;
    let missing = format!("exchange `{exchange}` does not exist in the virtual host `/`");
    assert_says(&found, &[&address, &missing, "declare it"]);
    let to_queue = support::config(&BROKER, json!({"routing_key": queue, "declare": false}));
    let found = failure(to_queue.clone()).await;
    assert_says(
        &found,
        &[
            &format!("queue `{queue}` does not exist"),
            "`declare: true`",
        ],
    );
    assert!(matches!(found, ConnectFailure::Retry(_)), "{found}");

    client.exchange(&exchange, ExchangeKind::Fanout).await;
    client.bind(&queue, &exchange, "").await;
    for config in [to_exchange, to_queue] {
        let instance = harness().connect(config).await.expect("it is there");
        assert_accepted(&instance.publish(numbered("p", 1)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_allows_too_few_channels_is_named_before_the_first_event() {
    let broker = RabbitMq::builder()
        .setting("channel_max = 1")
        .setting("max_message_size = 16777216")
        .start()
        .expect("RabbitMQ starts");
    let config = support::config(&broker, json!({"routing_key": "one"}));
    let found = failure(config).await;
    let address = format!("127.0.0.1:{}", broker.port());
    assert_says(
        &found,
        &[
            &address,
            "1 channel",
            "`channel_max`",
            "needs 2",
            "`declare: false`",
        ],
    );
    Client::new(&broker).await.declare("one").await;
    let config = support::config(&broker, json!({"routing_key": "one", "declare": false}));
    let instance = harness().connect(config).await.expect("one is enough");
    assert_accepted(&instance.publish_all(numbered("p", 10_000), SOON).await);
    // A channel that the broker closed does not count towards the limit.
    let large = "x".repeat(17 * 1024 * 1024);
    let outcomes = instance
        .publish(vec![evbus_testkit::TestEvent::text("p", &large)])
        .await;
    assert_rejected(&outcomes[0], "larger than");
    assert_accepted(&instance.publish_all(numbered("p", 10), SOON).await);
}
