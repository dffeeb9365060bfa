//! Checks that the brokers advertised by a cluster can be reached, and the topics written to.
//!
//! A broker that answers at a bootstrap address names the addresses at which the cluster's brokers are
//! to be reached (`advertised.listeners`); only these take messages. So before a connection counts as
//! one, the leaders of the configured topics are asked for something that changes nothing.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use evbus_sdk::ConnectError;
use evbus_sdk::tracing::warn;
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::producer::Producer as _;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::cause::{Cause, Kind};
use crate::client::Producer;
use crate::link::{Link, listed};

/// How long a broker may take to accept a connection, and to answer a request.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest wait for a topic that is being created.
const TOPIC_PATIENCE: Duration = Duration::from_secs(3);
/// The pause between checks for it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How many brokers are tried at most.
const TRIED: usize = 16;

/// The brokers that are needed, by id: the address, and a partition that the broker leads.
type Brokers = BTreeMap<i32, (String, Option<(String, i32)>)>;

/// Makes sure that the leaders of the topics can be reached; without topics, any broker. Blocks.
///
/// # Errors
///
/// A topic is not there or closed to this user; no broker that matters can be reached.
pub(crate) fn reach(
    producer: &Producer,
    link: &Link,
    topics: &[String],
    propagation: Duration,
    until: Instant,
) -> Result<(), ConnectError> {
    let mut brokers = Brokers::new();
    if topics.is_empty() {
        let metadata = match (
            producer.client().fetch_metadata(None, left(until)),
            link.recent(),
        ) {
            (Ok(metadata), _) => metadata,
            (Err(_), Some(cause)) => return Err(ConnectError::retry(cause)),
            // Large clusters may take longer to send their metadata, which is not a fault.
            (Err(_), None) => return Ok(()),
        };
        for broker in metadata.brokers().iter().take(TRIED) {
            brokers.insert(broker.id(), (address(broker.host(), broker.port()), None));
        }
    }
    for topic in topics {
        let there_by = until.min(Instant::now() + propagation.min(TOPIC_PATIENCE));
        add_leaders(producer, link, topic, there_by, &mut brokers)?;
    }
    let addresses: Vec<String> = brokers
        .values()
        .map(|(address, _)| address.clone())
        .collect();
    let found = dial(&addresses, until);
    let mut unreached: Vec<Cause> = addresses
        .into_iter()
        .zip(found)
        .filter_map(|(broker, kind)| {
            Some(Cause {
                broker,
                advertised: true,
                kind: kind?,
            })
        })
        .collect();
    if unreached.is_empty() {
        // A broker that accepts a connection may still refuse this client, for example because of its certificate.
        for (address, partition) in brokers.values() {
            if let Some((topic, partition)) = partition {
                unreached.extend(ask(producer, link, address, topic, *partition, until));
            }
        }
    }
    let unreached: Vec<&Cause> = unreached.iter().collect();
    if unreached.is_empty() {
        Ok(())
    } else if unreached.len() < brokers.len() {
        warn!("{}", listed(&unreached));
        Ok(())
    } else if unreached.iter().any(|cause| cause.is_permanent()) {
        Err(ConnectError::permanent(listed(&unreached)))
    } else {
        Err(ConnectError::retry(listed(&unreached)))
    }
}

fn describe(
    producer: &Producer,
    link: &Link,
    topic: &str,
    until: Instant,
) -> Result<Metadata, ConnectError> {
    let fetched = producer.client().fetch_metadata(Some(topic), left(until));
    fetched.map_err(|error| {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        ConnectError::retry(link.recent().unwrap_or_else(|| {
            format!(
                "the cluster at {} did not describe topic `{topic}`: {code}; see the brokers' logs",
                link.servers()
            )
        }))
    })
}

/// Adds the leaders of a topic. Brokers that create topics automatically do so when they are asked for one.
fn add_leaders(
    producer: &Producer,
    link: &Link,
    topic: &str,
    there_by: Instant,
    brokers: &mut Brokers,
) -> Result<(), ConnectError> {
    let servers = link.servers();
    loop {
        let metadata = describe(producer, link, topic, there_by)?;
        let described = metadata.topics().iter().find(|it| it.name() == topic);
        let code = described.and_then(MetadataTopic::error).map(Code::from);
        let mut led = described
            .into_iter()
            .flat_map(MetadataTopic::partitions)
            .filter(|partition| partition.leader() >= 0)
            .peekable();
        if code.is_none() && led.peek().is_some() {
            for partition in led {
                let leader = (metadata.brokers().iter()).find(|it| it.id() == partition.leader());
                if let Some(broker) = leader
                    && (brokers.len() < TRIED || brokers.contains_key(&broker.id()))
                {
                    brokers.entry(broker.id()).or_insert_with(|| {
                        let address = address(broker.host(), broker.port());
                        (address, Some((topic.to_owned(), partition.id())))
                    });
                }
            }
            return Ok(());
        }
        let is_final = matches!(
            code,
            Some(Code::TopicAuthorizationFailed | Code::InvalidTopic)
        );
        if is_final || Instant::now() >= there_by {
            return Err(ConnectError::retry(match code {
                Some(Code::TopicAuthorizationFailed) => forbidden(topic, servers),
                Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) | None => format!(
                    "topic `{topic}` does not exist at {servers} and the brokers do not create it; \
                     create it, or correct `topics`"
                ),
                Some(Code::LeaderNotAvailable) => format!(
                    "topic `{topic}` at {servers} has no leader at the moment; check the brokers that host it"
                ),
                Some(code) => format!("topic `{topic}` at {servers} cannot be used: {code}"),
            }));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn forbidden(topic: &str, servers: &str) -> String {
    format!(
        "the brokers at {servers} do not allow this user to write to topic `{topic}`; grant it Write \
         (and Describe) on the topic, or correct `topics`"
    )
}

/// Asks the leader of a partition for its offsets, for which it must be reachable as for a message.
fn ask(
    producer: &Producer,
    link: &Link,
    broker: &str,
    topic: &str,
    partition: i32,
    until: Instant,
) -> Option<Cause> {
    let asked = producer
        .client()
        .fetch_watermarks(topic, partition, left(until));
    let error = asked.err()?;
    let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
    link.about(broker).or_else(|| {
        Some(Cause {
            broker: broker.to_owned(),
            advertised: true,
            kind: match code {
                Code::OperationTimedOut | Code::BrokerTransportFailure => Kind::Mute,
                // It has answered.
                _ => return None,
            },
        })
    })
}

/// The remaining time, but never zero.
fn left(until: Instant) -> Duration {
    let left = until.saturating_duration_since(Instant::now());
    left.clamp(LOOK_EVERY, PATIENCE)
}

fn address(host: &str, port: i32) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Why no broker has answered, if librdkafka reports nothing about it.
pub(crate) fn silent(servers: &str) -> Vec<Cause> {
    let addresses: Vec<String> = servers
        .split(',')
        .take(TRIED)
        .map(|server| {
            let server = server.trim();
            let server = server
                .split_once("://")
                .map_or(server, |(_, address)| address);
            let has_port = server
                .rsplit_once(':')
                .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            format!("{server}{}", if has_port { "" } else { ":9092" })
        })
        .collect();
    let found = dial(&addresses, Instant::now() + PATIENCE / 2);
    (addresses.into_iter().zip(found))
        .map(|(broker, kind)| Cause {
            broker,
            advertised: false,
            kind: kind.unwrap_or(Kind::Mute),
        })
        .collect()
}

/// Tries to connect to these addresses in parallel; returns the causes of the failures.
fn dial(addresses: &[String], until: Instant) -> Vec<Option<Kind>> {
    let until = until.min(Instant::now() + PATIENCE);
    let dialling: Vec<_> = addresses
        .iter()
        .map(|address| {
            let (sender, found) = mpsc::channel();
            let address = address.clone();
            // A name lookup may take longer than the wait here; the thread ends with it.
            std::thread::spawn(move || {
                // The receiver may be gone.
                let _ = sender.send(connects(&address, until));
            });
            found
        })
        .collect();
    (dialling.into_iter())
        .map(|found| {
            let wait = until.saturating_duration_since(Instant::now()) + LOOK_EVERY;
            found.recv_timeout(wait).unwrap_or(Some(Kind::NoAnswer))
        })
        .collect()
}

fn connects(address: &str, until: Instant) -> Option<Kind> {
    let Ok(resolved) = address.to_socket_addrs() else {
        return Some(Kind::UnknownHost);
    };
    let mut kind = Kind::UnknownHost;
    for address in resolved {
        let within = until.saturating_duration_since(Instant::now());
        match TcpStream::connect_timeout(&address, within.max(LOOK_EVERY)) {
            Ok(_) => return None,
            Err(error) => {
                kind = match error.kind() {
                    io::ErrorKind::ConnectionRefused => Kind::Refused,
                    io::ErrorKind::TimedOut => Kind::NoAnswer,
                    _ => Kind::NoRoute,
                }
            }
        }
    }
    Some(kind)
}
