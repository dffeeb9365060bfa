//! librdkafka by itself, with the plugin's properties and messages.

use std::time::Duration;

use evbus_sdk::serde_json::{from_value, json};
use rdkafka::ClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};

use super::bursts;
use crate::load::Events;

/// After which librdkafka's queue has room again.
const PAUSE: Duration = Duration::from_millis(1);
/// As long as those of an event: its id, and when it was fired.
const ID: &str = "0190c3a5-7d1e-7b3a-9c55-2f6d8e4a1b07";
const TIME: &str = "1796068800000000000";

/// Takes note of what the broker says.
struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            panic!("the broker did not take a message: {error}");
        }
    }
}

pub(super) fn publish(servers: &str, topic: &str, headers: &str) {
    let config =
        json!({"connection": {"bootstrap_servers": servers}, "topics": topic, "headers": headers});
    let config = from_value(config).expect("the types are right");
    let producer: ThreadedProducer<Reports> = plugin_kafka::properties::client_config(&config)
        .expect("no faults")
        .create_with_context(Reports)
        .expect("librdkafka takes the configuration");
    let profile = "idem-status";
    let body = Events::body(profile);
    for burst in bursts() {
        for _ in 0..burst {
            let mut record = BaseRecord::<(), [u8]>::to(topic).payload(body.as_bytes());
            record.headers = headers_of(headers, profile);
            while let Err((error, back)) = producer.send(record) {
                assert_eq!(
                    error.rdkafka_error_code(),
                    Some(RDKafkaErrorCode::QueueFull)
                );
                std::thread::sleep(PAUSE);
                record = back;
            }
        }
    }
}

/// As plugin-kafka makes them; the benchmark compares the two.
fn headers_of(kind: &str, profile: &str) -> Option<OwnedHeaders> {
    match kind {
        "none" => None,
        "compact" => {
            let value = [&[7; 24], profile.as_bytes()].concat();
            Some(add(
                OwnedHeaders::new_with_capacity(1),
                "evbus",
                value.as_slice(),
            ))
        }
        "all" => Some(
            [
                ("evbus-id", ID),
                ("evbus-time", TIME),
                ("evbus-profile", profile),
                ("content-type", "application/json"),
                ("ref", "states.test.present"),
                ("type", "state-result"),
            ]
            .into_iter()
            .fold(
                OwnedHeaders::new_with_capacity(6),
                |headers, (key, value)| add(headers, key, value.as_bytes()),
            ),
        ),
        other => panic!("there are no headers {other:?}"),
    }
}

fn add(headers: OwnedHeaders, key: &str, value: &[u8]) -> OwnedHeaders {
    headers.insert(Header {
        key,
        value: Some(value),
    })
}
