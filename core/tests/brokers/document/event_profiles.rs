//! "Event Profiles": one profile at several providers, and several times at one.
//!
//! The servers are real, and where the documentation has them: see `network`.

use std::net::TcpStream;
use std::path::Path;

use evbus_testkit::plugin_dir;
use serde_json::{Value, json};
use xtask::brokers::{Kafka, RabbitMq};

use crate::consumers::{Arrived, read_queue, read_topic, topics};
use crate::document::network::{Network, in_own_network};
use crate::document::routes;
use crate::support::{RunningHost, wait_for};

pub(crate) const PLUGINS: &[&str] = &["plugin-glob", "plugin-kafka", "plugin-pika"];

/// "Multiple providers can be configured for the same event profile."
const TWO_PROVIDERS: &str = "\
kafka:
  event_profile_name:
    connection:
      bootstrap_servers: localhost:9092
pika:
  event_profile_name:
    connection:
      host: localhost
      port: 5672
      login: guest
      password: guest
";

/// "A profile name can be specified multiple times within the same provider."
const TWICE_AT_ONE: &str = "\
kafka:
  - event_profile_name:
      connection:
        bootstrap_servers: localhost:9092
  - event_profile_name:
      connection:
        bootstrap_servers: my_server:9092
";

#[test]
fn a_profile_at_two_providers_is_one_event_at_kafka_and_one_at_rabbitmq() {
    in_own_network(
        "document::event_profiles::a_profile_at_two_providers_is_one_event_at_kafka_and_one_at_rabbitmq",
        |network| {
            let kafka = kafka(network, "localhost");
            let rabbit = rabbit(network);
            let replaced = [
                ("localhost:9092", kafka.bootstrap_servers()),
                ("port: 5672", format!("port: {}", rabbit.port())),
            ];
            let plugins = plugin_dir(PLUGINS);
            let to = routes(TWO_PROVIDERS, plugins.path(), "event_profile_name");
            assert_eq!(to, json!([["kafka", 0], ["pika", 0]]));
            fire(&network.acct(TWO_PROVIDERS, &replaced), plugins.path());

            // Topic and queue have the profile's name.
            let servers = kafka.bootstrap_servers();
            let at_kafka = read_topic(&servers, "event_profile_name", 2);
            assert_eq!(bodies(&at_kafka), fired());
            assert_eq!(topics(&servers), ["event_profile_name"]);
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let at_rabbit = runtime.block_on(read_queue(rabbit.url(), "event_profile_name", 2));
            assert_eq!(at_rabbit, at_kafka, "ids and bodies");
            let queues = rabbit.ctl(&["list_queues", "--no-table-headers", "name", "durable"]);
            assert_eq!(queues.unwrap().trim(), "event_profile_name\ttrue");
        },
    );
}

#[test]
fn a_profile_that_stands_twice_at_one_provider_is_one_event_at_each_server() {
    in_own_network(
        "document::event_profiles::a_profile_that_stands_twice_at_one_provider_is_one_event_at_each_server",
        |network| {
            let one = kafka(network, "localhost");
            let other = kafka(network, "my_server");
            let replaced = [
                ("localhost:9092", one.bootstrap_servers()),
                ("my_server:9092", other.bootstrap_servers()),
            ];
            let plugins = plugin_dir(PLUGINS);
            let to = routes(TWICE_AT_ONE, plugins.path(), "event_profile_name");
            assert_eq!(to, json!([["kafka", 0], ["kafka", 1]]));
            fire(&network.acct(TWICE_AT_ONE, &replaced), plugins.path());

            let [one, other] = [one, other].map(|kafka| {
                let servers = kafka.bootstrap_servers();
                assert_eq!(topics(&servers), ["event_profile_name"]);
                read_topic(&servers, "event_profile_name", 2)
            });
            assert_eq!(bodies(&one), fired());
            assert_eq!(other, one, "ids and bodies");
        },
    );
}

fn fired() -> Vec<Value> {
    vec![json!({"message": "one"}), json!({"message": "two"})]
}

/// Fires into a host with this acct file, and ends it when it has delivered everything.
fn fire(acct: &str, plugins: &Path) {
    let host = RunningHost::start(acct, plugins, &[]);
    for event in fired() {
        host.put("event_profile_name", &event.to_string());
    }
    // The pattern matches only the profile itself.
    host.put("event_profile_name_2", "\"other\"");
    host.put("idem-status", "\"other\"");
    let (code, log) = host.stop();
    assert_eq!(code.code(), Some(0), "{log}");
    // The others match no destination, which is logged once.
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(
        log.contains("WARN no destination's pattern matches"),
        "{log}"
    );
    assert!(!log.contains("ERROR"), "{log}");
}

fn bodies(arrived: &Arrived) -> Vec<Value> {
    arrived.iter().map(|(_, body)| body.clone()).collect()
}

/// A Kafka server, on port 9092 of this host if the test has its own network.
fn kafka(network: Network, host: &str) -> Kafka {
    let builder = match network {
        Network::Own => Kafka::builder().also_at(host, 9092),
        Network::Shared => Kafka::builder(),
    };
    let kafka = builder.start().expect("Kafka starts");
    if network == Network::Own {
        listens(host, 9092);
    }
    kafka
}

/// A `RabbitMQ` server with its default user, on its default port if the test has its own network.
fn rabbit(network: Network) -> RabbitMq {
    let mut builder = RabbitMq::builder()
        .user("guest", "guest")
        .permission("guest", "/", [".*"; 3]);
    if network == Network::Own {
        builder = builder.setting("listeners.tcp.2 = 127.0.0.1:5672");
    }
    let rabbit = builder.start().expect("RabbitMQ starts");
    if network == Network::Own {
        listens("localhost", 5672);
    }
    rabbit
}

fn listens(host: &str, port: u16) {
    wait_for(&format!("{host}:{port}"), || {
        TcpStream::connect((host, port)).ok()
    });
}
