//! What `evbus check --connect` says of real brokers that run but cannot be used.

use std::fs;

use crate::support::{evbus, run, stderr};
use evbus_testkit::plugin_dir;
use xtask::brokers::{Kafka, RabbitMq};

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:9";

#[test]
fn what_a_running_broker_does_not_have_is_named_in_one_sentence_with_the_address() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-pika", "plugin-kafka"]);
    // One channel is enough for an exchange, and too few for queues that may have to be declared.
    let (rabbit, kafka) = std::thread::scope(|scope| {
        let rabbit = scope.spawn(|| {
            let builder = RabbitMq::builder().setting("channel_max = 1");
            builder.start().expect("RabbitMQ starts")
        });
        let kafka = Kafka::builder()
            .setting("advertised.listeners", &format!("PLAINTEXT://{NOWHERE}"))
            .start()
            .expect("Kafka starts");
        (rabbit.join().unwrap(), kafka)
    });
    let dir = tempfile::tempdir().unwrap();
    let acct_file = dir.path().join("acct.yml");
    let (rabbit_address, kafka_address) = (
        format!("127.0.0.1:{}", rabbit.port()),
        kafka.bootstrap_servers(),
    );
    let acct = format!(
        "
pika:
  - exchange: {{connection: {{url: '{url}'}}, exchange: no-such-exchange}}
  - channels: {{connection: {{url: '{url}'}}, routing_key: q}}
kafka:
  advertised: {{connection: {{bootstrap_servers: '{kafka_address}'}}, topics: [t]}}
",
        url = rabbit.url(),
    );
    fs::write(&acct_file, acct).unwrap();
    let output = run(
        evbus(dir.path())
            .args(["check", "--connect", "--acct-file"])
            .arg(&acct_file)
            .arg("--plugin-dir")
            .arg(plugins.path()),
        b"",
    );
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for (destination, parts) in [
        (
            "pika[0]",
            [
                &*rabbit_address,
                "the exchange `no-such-exchange` does not exist",
                "declare it",
            ],
        ),
        (
            "pika[1]",
            [&*rabbit_address, "may have only 1 channel", "`channel_max`"],
        ),
        (
            "kafka[0]",
            [NOWHERE, "nothing listens there", "`advertised.listeners`"],
        ),
    ] {
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("error: ") && line.contains(destination))
            .collect();
        assert_eq!(lines.len(), 1, "{destination}: {said}");
        for part in parts {
            assert!(lines[0].contains(part), "no `{part}` in: {}", lines[0]);
        }
    }
    assert!(!said.contains("did not connect within"), "{said}");
}
