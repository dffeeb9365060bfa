//! Passwords and certificates, right and wrong.

mod support;

use std::path::Path;
use std::sync::LazyLock;

use evbus_sdk::serde_json::{Value, json};
use evbus_testkit::ConnectFailure;
use support::{assert_accepted, harness, numbered, read};
use xtask::brokers::{CLIENT_KEY_PASSWORD, Certificates, ClientCertificate, Kafka, PASSWORD, USER};

static BROKER: LazyLock<Kafka> = LazyLock::new(|| {
    Kafka::builder()
        .sasl()
        .tls(ClientCertificate::Required)
        .start()
        .expect("Kafka starts")
});

fn certificates() -> &'static Certificates {
    BROKER.certificates().expect("the broker has TLS")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn ssl() -> Value {
    let made = certificates();
    json!({
        "ca_file": text(&made.ca),
        "cert_file": text(&made.client_cert),
        "key_file": text(&made.client_key),
    })
}

fn port(servers: Option<&str>) -> u16 {
    servers
        .and_then(|servers| servers.rsplit(':').next()?.parse().ok())
        .expect("the broker has this listener")
}

async fn works(topic: &str, mut config: Value) {
    config["topics"] = json!(topic);
    let instance = harness()
        .connect(config)
        .await
        .expect("the broker lets it in");
    assert_accepted(&instance.publish(numbered("p", 3)).await);
    assert_eq!(read(&BROKER.bootstrap_servers(), topic).len(), 3);
}

async fn refused(config: Value) -> String {
    let harness = harness();
    let failure = harness
        .connect(config)
        .await
        .expect_err("the broker is not for it");
    assert!(matches!(failure, ConnectFailure::Permanent(_)), "{failure}");
    let said = format!("{failure} {:?}", harness.seen());
    assert!(
        !said.contains(PASSWORD) && !said.contains("wrong-secret"),
        "{said}"
    );
    assert!(!said.contains(CLIENT_KEY_PASSWORD), "{said}");
    failure.reason().to_owned()
}

fn sasl(mechanism: &str, password: &str) -> Value {
    json!({"connection": {
        "bootstrap_servers": BROKER.sasl_servers().expect("the broker has SASL"),
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": USER,
        "sasl_plain_password": password,
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_is_let_in_and_the_wrong_one_is_refused_for_good() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let topic = format!("sasl-{}", mechanism.to_lowercase());
        works(&topic, sasl(mechanism, PASSWORD)).await;
        let reason = refused(sasl(mechanism, "wrong-secret")).await;
        assert!(
            reason.contains("refused the credentials"),
            "{mechanism}: {reason}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_the_right_files_works_with_and_without_a_password() {
    let servers = BROKER.tls_servers();
    works(
        "tls",
        json!({"connection": {"bootstrap_servers": servers}, "ssl": ssl()}),
    )
    .await;

    let mut encrypted_key = ssl();
    encrypted_key["key_file"] = json!(text(&certificates().client_key_encrypted));
    encrypted_key["password"] = json!(CLIENT_KEY_PASSWORD);
    works(
        "tls-encrypted-key",
        json!({"connection": {"bootstrap_servers": servers}, "ssl": encrypted_key}),
    )
    .await;
    encrypted_key["password"] = json!("wrong-secret");
    let config = json!({"connection": {"bootstrap_servers": servers}, "ssl": encrypted_key});
    assert!(refused(config).await.contains("ssl.key.location"));

    let mut both = sasl("SCRAM-SHA-256", PASSWORD);
    both["connection"]["bootstrap_servers"] = json!(BROKER.sasl_tls_servers());
    both["connection"]["security_protocol"] = Value::Null;
    both["ssl"] = ssl();
    works("tls-sasl", both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_another_authority_is_refused() {
    let other = tempfile::tempdir().expect("a temporary directory");
    let made = Certificates::generate(other.path()).expect("openssl is there");
    let mut ssl = ssl();
    ssl["ca_file"] = json!(text(&made.ca));
    let config = json!({"connection": {"bootstrap_servers": BROKER.tls_servers()}, "ssl": ssl});
    let reason = refused(config).await;
    assert!(
        reason.contains("a certificate that is not trusted"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ca_file_the_systems_authorities_decide() {
    let config = json!({"connection": {"bootstrap_servers": BROKER.tls_servers()}, "ssl": {}});
    let reason = refused(config).await;
    assert!(
        reason.contains("a certificate that is not trusted"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_host_is_refused() {
    // Resolves to 127.0.0.1, but is written differently from that address and from `localhost`.
    let servers = format!("127.1:{}", port(BROKER.tls_servers().as_deref()));
    let config = json!({"connection": {"bootstrap_servers": servers}, "ssl": ssl()});
    let reason = refused(config).await;
    assert!(
        reason.contains("a certificate that is not trusted"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_never_falls_back_to_a_plaintext_listener() {
    let config =
        json!({"connection": {"bootstrap_servers": BROKER.bootstrap_servers()}, "ssl": ssl()});
    let failure = harness()
        .connect(config)
        .await
        .expect_err("the broker speaks no TLS there");
    assert!(
        failure.reason().contains(&BROKER.bootstrap_servers()),
        "{failure}"
    );
}
