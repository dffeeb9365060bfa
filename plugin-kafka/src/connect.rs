//! Creates a producer and checks whether a broker answers it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evbus_sdk::{ConnectError, Context};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;

use crate::cause;
use crate::client::{Client, Producer};
use crate::link::Link;
use crate::reach;
use crate::reports::Reports;

/// How long a broker may take to answer a new connection. With everything that follows, it is less than the ten
/// seconds that `evbus check --connect` waits, so that the cause is reported.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long connecting may take in total.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(9);
/// How long to keep trying if no broker is there, because one may be starting.
const AT_LEAST: Duration = Duration::from_secs(1);
/// The longest wait for the id of an idempotent producer. Without an id it cannot send yet, which is not a fault.
const ID_PATIENCE: Duration = Duration::from_secs(2);
/// How often to check for an error that ends the attempt.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Connects. Blocks until a broker has answered, the brokers that lead `topics` have been reached, and
/// the topics are there; at most [`PATIENCE_IN_ALL`].
pub(crate) fn connect(
    config: ClientConfig,
    topics: &[String],
    host: &Context,
) -> Result<(Producer, Arc<Reports>, Arc<Link>), ConnectError> {
    let _here = host.enter();
    let servers = config
        .get("metadata.broker.list")
        .unwrap_or_default()
        .to_owned();
    let propagation = config
        .get("topic.metadata.propagation.max.ms")
        .and_then(|ms| ms.parse().ok())
        .map_or(PATIENCE, Duration::from_millis);
    let reports = Arc::new(Reports::default());
    let link = Arc::new(Link::new(host.clone(), servers));
    let client = Client {
        reports: Arc::clone(&reports),
        link: Arc::clone(&link),
    };
    let is_idempotent = config.get("enable.idempotence") == Some("true");
    let producer = producer(config, client)?;
    let began = Instant::now();
    answered(&producer, &link, began)?;
    let until = began + PATIENCE_IN_ALL;
    reach::reach(&producer, &link, topics, propagation, until)?;
    if is_idempotent {
        has_id(&producer, &link);
    }
    if let Some((code, said)) = producer.client().fatal_error() {
        return Err(ConnectError::permanent(cause::fatal(code, &said)));
    }
    link.up();
    Ok((producer, reports, link))
}

/// Waits for the first answer of a broker.
fn answered(producer: &Producer, link: &Link, began: Instant) -> Result<(), ConnectError> {
    // Known as soon as a broker has answered; unlike other metadata, it is small in a cluster of any size.
    while producer.client().fetch_cluster_id(LOOK_EVERY).is_none() {
        if let Some(cause) = link.permanent() {
            return Err(ConnectError::permanent(cause.to_string()));
        }
        let elapsed = began.elapsed();
        if link.is_all_down() && elapsed >= AT_LEAST {
            return Err(ConnectError::retry(link.why()));
        }
        if elapsed >= PATIENCE {
            for cause in reach::silent(link.servers()) {
                if link.about(&cause.broker).is_none() {
                    link.cause(cause);
                }
            }
            return Err(ConnectError::retry(link.why()));
        }
    }
    Ok(())
}

/// Waits until the brokers have given an idempotent producer its id, or refused to.
fn has_id(producer: &Producer, link: &Link) {
    let until = Instant::now() + ID_PATIENCE;
    while !link.has_id() && producer.client().fatal_error().is_none() && Instant::now() < until {
        std::thread::sleep(LOOK_EVERY / 10);
    }
}

/// Creates a producer, without waiting for a connection.
pub(crate) fn producer(mut config: ClientConfig, client: Client) -> Result<Producer, ConnectError> {
    // Only log lines report why a broker closed a connection, and the state of an idempotent producer. Lines that the
    // host does not log are dropped in this plugin.
    config.set_log_level(RDKafkaLogLevel::Debug);
    let wanted = config.get("debug").filter(|contexts| !contexts.is_empty());
    let contexts = wanted.map_or_else(|| "eos".to_owned(), |contexts| format!("{contexts},eos"));
    config.set("debug", contexts);
    config.create_with_context(client).map_err(unusable)
}

/// The error if librdkafka refuses to create a client: files that it cannot use, properties that contradict each
/// other.
fn unusable(error: KafkaError) -> ConnectError {
    ConnectError::permanent(match error {
        // Its Display prints the property's value, which may be a secret, and so may the reason.
        KafkaError::ClientConfig(_, _, property, _) => {
            format!("librdkafka rejects the value of the property {property}")
        }
        KafkaError::ClientCreation(why) => format!("librdkafka rejects the configuration: {why}"),
        error => format!("librdkafka cannot create a producer: {error}"),
    })
}
