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
