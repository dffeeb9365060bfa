//! The known names that an unknown one is compared with.

/// aiokafka's names of the producer's settings, as `connection` takes them.
pub(crate) const AIOKAFKA: &[&str] = &[
    "acks",
    "api_version",
    "bootstrap_servers",
    "client_id",
    "compression_type",
    "connections_max_idle_ms",
    "enable_idempotence",
    "linger_ms",
    "max_batch_size",
    "max_request_size",
    "metadata_max_age_ms",
    "request_timeout_ms",
    "retry_backoff_ms",
    "sasl_mechanism",
    "sasl_plain_password",
    "sasl_plain_username",
    "security_protocol",
];

/// The properties of librdkafka 2.12 that apply to a producer. librdkafka itself decides which exist; this list is
/// used only for suggestions.
pub(crate) const LIBRDKAFKA: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "batch.size",
    "bootstrap.servers",
    "broker.address.family",
    "broker.address.ttl",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "debug",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.metrics.push",
    "enable.random.seed",
    "enable.ssl.certificate.verification",
    "https.ca.pem",
    "linger.ms",
    "log.connection.close",
    "log.thread.name",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.copy.max.bytes",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "partitioner",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.sigalgs.list",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// Aliases of librdkafka's properties, each with the canonical name.
const ALIASES: &[(&str, &str)] = &[
    ("acks", "request.required.acks"),
    ("bootstrap.servers", "metadata.broker.list"),
    ("compression.type", "compression.codec"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("retries", "message.send.max.retries"),
    ("sasl.mechanism", "sasl.mechanisms"),
];

/// Names that other clients of Kafka have for these keys, and where the keys are.
pub(crate) const OTHER_NAMES: &[(&str, &str)] = &[
    ("bootstrap_servers", "connection.bootstrap_servers"),
    ("bootstrap", "connection.bootstrap_servers"),
    ("broker", "connection.bootstrap_servers"),
    ("broker_list", "connection.bootstrap_servers"),
    ("brokers", "connection.bootstrap_servers"),
    ("host", "connection.bootstrap_servers"),
    ("hostname", "connection.bootstrap_servers"),
    ("hosts", "connection.bootstrap_servers"),
    ("port", "connection.bootstrap_servers"),
    ("server", "connection.bootstrap_servers"),
    ("servers", "connection.bootstrap_servers"),
    ("url", "connection.bootstrap_servers"),
    ("login", "connection.sasl_plain_username"),
    ("sasl_username", "connection.sasl_plain_username"),
    ("user", "connection.sasl_plain_username"),
    ("username", "connection.sasl_plain_username"),
    ("pass", "connection.sasl_plain_password"),
    ("passwd", "connection.sasl_plain_password"),
    ("password", "connection.sasl_plain_password"),
    ("sasl_password", "connection.sasl_plain_password"),
    ("mechanism", "connection.sasl_mechanism"),
    ("protocol", "connection.security_protocol"),
    ("tls", "ssl"),
    ("ssl", "ssl"),
    ("ca", "ssl.ca_file"),
    ("cafile", "ssl.ca_file"),
    ("ssl_cafile", "ssl.ca_file"),
    ("cert", "ssl.cert_file"),
    ("certfile", "ssl.cert_file"),
    ("ssl_certfile", "ssl.cert_file"),
    ("keyfile", "ssl.key_file"),
    ("ssl_keyfile", "ssl.key_file"),
    ("ssl_password", "ssl.password"),
    ("compression", "connection.compression_type"),
    ("topic", "topics"),
    ("topics", "topics"),
    ("key", "key"),
    ("partition", "partition"),
];

/// What is meant by a key below `connection` that has the name of another client; in words, as the SDK has
/// them for every other key.
pub(crate) fn meant(unknown: &str) -> Option<String> {
    let (_, meant) = OTHER_NAMES.iter().find(|(other, _)| *other == unknown)?;
    Some(match meant.strip_prefix("connection.") {
        Some(key) => format!("`{key}`"),
        None if meant.contains('.') => format!("`{meant}`"),
        None => format!("`{meant}` of the entry itself"),
    })
}

/// The canonical name of a property.
pub(crate) fn canonical(name: &str) -> &str {
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map_or(name, |(_, first)| first)
}

/// The known name that differs least from an unknown one, if it is at all alike.
pub(crate) fn nearest(unknown: &str) -> Option<&'static str> {
    let (distance, name) = AIOKAFKA
        .iter()
        .chain(LIBRDKAFKA)
        .map(|name| (distance(unknown, name), *name))
        .min()?;
    (distance <= unknown.len().max(6) / 3).then_some(name)
}

/// How many characters must be added, removed or changed to make one name the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_property_exists_and_every_alias_means_its_first_name() {
        let native = rdkafka::ClientConfig::new()
            .create_native_config()
            .expect("an empty configuration is valid");
        for name in LIBRDKAFKA {
            // A property without a value cannot be read, only set.
            let mut config = rdkafka::ClientConfig::new();
            if let Err(rdkafka::error::KafkaError::ClientConfig(_, why, ..)) =
                config.set(*name, "1").create_native_config()
            {
                assert!(!why.contains("No such configuration"), "{name}: {why}");
            }
        }
        for (alias, first) in ALIASES {
            assert_eq!(native.get(alias).ok(), native.get(first).ok(), "{alias}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_nonsense_has_none() {
        assert_eq!(nearest("linger_mss"), Some("linger_ms"));
        assert_eq!(nearest("linger.mss"), Some("linger.ms"));
        assert_eq!(nearest("bootstrap_server"), Some("bootstrap_servers"));
        assert_eq!(nearest("compresion_type"), Some("compression_type"));
        assert_eq!(nearest("wibble_wobble"), None);
    }
}
