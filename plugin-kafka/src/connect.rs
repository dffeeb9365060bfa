//! Makes a producer and finds out whether a broker answers it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evbus_sdk::tracing::{Level, enabled};
use evbus_sdk::{ConnectError, Context};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;

use crate::client::{Client, Producer};
use crate::link::Link;
use crate::outcome;
use crate::reports::Reports;

/// How long a broker may take to answer a new connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often an error that ends the attempt is looked for meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Connects. Blocks until a broker has answered, at most [`PATIENCE`].
pub(crate) fn connect(
    config: ClientConfig,
    host: Context,
) -> Result<(Producer, Arc<Reports>, Arc<Link>), ConnectError> {
    let servers = config
        .get("metadata.broker.list")
        .unwrap_or_default()
        .to_owned();
    let reports = Arc::new(Reports::default());
    let link = Arc::new(Link::new(host));
    let client = Client {
        reports: Arc::clone(&reports),
        link: Arc::clone(&link),
    };
    let producer = producer(config, client)?;

    let deadline = Instant::now() + PATIENCE;
    // Known as soon as a broker has answered, and unlike other metadata it is the same small
    // answer in a cluster of any size.
    while producer.client().fetch_cluster_id(LOOK_EVERY).is_none() {
        let fault = link.last_fault();
        if let Some(error) = fault
            .as_ref()
            .and_then(|fault| outcome::permanent(fault, &servers))
        {
            return Err(error);
        }
        if Instant::now() >= deadline {
            return Err(outcome::unreachable(fault.as_ref(), &servers));
        }
    }
    link.up();
    Ok((producer, reports, link))
}

/// Makes a producer, without waiting for a connection.
pub(crate) fn producer(mut config: ClientConfig, client: Client) -> Result<Producer, ConnectError> {
    config.set_log_level(log_level());
    config.create_with_context(client).map_err(unusable)
}

/// librdkafka refuses to make a client: files that it cannot use, properties that contradict.
fn unusable(error: KafkaError) -> ConnectError {
    ConnectError::permanent(match error {
        // Its Display would print the property's value, which may be a secret.
        KafkaError::ClientConfig(_, why, property, _) => {
            format!("librdkafka refuses the property {property}: {why}")
        }
        KafkaError::ClientCreation(why) => format!("librdkafka refuses the configuration: {why}"),
        error => format!("librdkafka cannot make a producer: {error}"),
    })
}

/// What the host's log wants to see; less is not even formatted.
fn log_level() -> RDKafkaLogLevel {
    if enabled!(target: "librdkafka", Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else if enabled!(target: "librdkafka", Level::INFO) {
        RDKafkaLogLevel::Info
    } else if enabled!(target: "librdkafka", Level::WARN) {
        RDKafkaLogLevel::Warning
    } else {
        RDKafkaLogLevel::Error
    }
}
