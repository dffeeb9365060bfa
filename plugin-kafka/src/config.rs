//! The configuration of a destination in the acct file.
//!
//! The names under `connection` are those of aiokafka's producer, which existing files use; librdkafka's
//! own property names may be used beside them in the same mapping.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use evbus_sdk::schemars::JsonSchema;
use evbus_sdk::serde::Deserialize;
use evbus_sdk::serde::de::IgnoredAny;
use evbus_sdk::{Secret, Template, Templated};

/// A Kafka destination.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde", default)]
#[schemars(crate = "evbus_sdk::schemars")]
pub struct Config {
    /// How to reach the brokers and how to produce messages.
    #[serde(deserialize_with = "evbus_sdk::null_is_default")]
    pub connection: Connection,
    /// Topics that every event goes to, a list or one name. An event is accepted when all of them
    /// have acknowledged it. Default: the topic is the event's profile name.
    #[serde(deserialize_with = "evbus_sdk::null_is_default")]
    #[schemars(extend("x-default" = "profile"))]
    pub topics: OneOrMany<Template>,
    /// Key of every message, as a string. Messages with the same key go to the same partition.
    /// Default: no key.
    pub key: Option<Template>,
    /// Partition of every message, from 0. Default: chosen by the key, or evenly without one.
    pub partition: Option<Templated<Partition>>,
    /// What travels beside the body. Default: `all`.
    #[serde(deserialize_with = "evbus_sdk::null_is_default")]
    pub headers: Headers,
    /// More headers: names and their values. They take precedence over tags of the same name.
    #[serde(deserialize_with = "evbus_sdk::null_is_default")]
    pub extra_headers: BTreeMap<String, Template>,
    /// Files for TLS. The presence of this key, even if empty, turns TLS on; there is no fallback to
    /// plaintext, and host names are verified.
    pub ssl: Option<Ssl>,
}

/// The number of a partition, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde", try_from = "i32")]
#[schemars(crate = "evbus_sdk::schemars", inline, extend("minimum" = 0))]
pub struct Partition(i32);

impl Partition {
    pub(crate) fn number(self) -> i32 {
        self.0
    }
}

impl TryFrom<i32> for Partition {
    type Error = &'static str;

    fn try_from(number: i32) -> Result<Self, Self::Error> {
        // Kafka's clients take negative numbers for "any partition".
        if number < 0 {
            return Err("negative");
        }
        Ok(Self(number))
    }
}

impl FromStr for Partition {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number: i32 = text.parse().map_err(|_| "not a number")?;
        number.try_into()
    }
}

/// Which headers a message has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "evbus_sdk::schemars")]
pub enum Headers {
    /// One each for id, time, profile, media type and string tags.
    #[default]
    All,
    /// One with id, time and profile; tags are in the body alone.
    Compact,
    /// None: consumers cannot recognize an event that is stored twice.
    None,
}

/// `connection`: aiokafka's names, and any librdkafka property by its own name (`linger.ms: 50`); a
/// setting must not be given under both names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde", default)]
#[schemars(crate = "evbus_sdk::schemars")]
pub struct Connection {
    /// `host:port` of some brokers of the cluster: a list, or one string separated by commas; the
    /// default port is 9092. Default: `localhost:9092`.
    pub bootstrap_servers: Option<OneOrMany>,
    /// Name of this client in the brokers' logs and quotas. Default: `evbus`.
    pub client_id: Option<String>,
    /// Who must have stored a message before it counts as acknowledged: `all` (or -1) in-sync replicas,
    /// 1 for only the leader, 0 for none: then "accepted" means only that it was written to the
    /// connection. Default: `all`. 0 and 1 turn idempotence off.
    pub acks: Option<Acks>,
    /// Compression of message sets. Default: `none`.
    pub compression_type: Option<Compression>,
    /// Maximum size of a message set, in bytes. Default: 1000000.
    #[schemars(extend("x-unit" = "bytes"))]
    pub max_batch_size: Option<u32>,
    /// How long a message set waits for more messages, in milliseconds. Default: 2.
    #[schemars(extend("x-unit" = "milliseconds"))]
    pub linger_ms: Option<f64>,
    /// Close idle connections after this many milliseconds; 0: never. Default: 0.
    #[schemars(extend("x-unit" = "milliseconds"))]
    pub connections_max_idle_ms: Option<u32>,
    /// Largest message in bytes; a larger one is rejected. Default: 1000000.
    #[schemars(extend("x-unit" = "bytes"))]
    pub max_request_size: Option<u32>,
    /// Pause before a request is sent again, in milliseconds. Default: 100.
    #[schemars(extend("x-unit" = "milliseconds"))]
    pub retry_backoff_ms: Option<u32>,
    /// How long a broker may take to acknowledge a request, in milliseconds. Default: 30000. The
    /// deadline of a message over all attempts is librdkafka's `message.timeout.ms`.
    #[schemars(extend("x-unit" = "milliseconds"))]
    pub request_timeout_ms: Option<u32>,
    /// Metadata is refreshed at least this often, in milliseconds. Default: 300000.
    #[schemars(extend("x-unit" = "milliseconds"))]
    pub metadata_max_age_ms: Option<u32>,
    /// Protocol of the connection. Default: `PLAINTEXT`; with `ssl`, its encrypted form.
    pub security_protocol: Option<SecurityProtocol>,
    /// How the client authenticates, with a `security_protocol` of `SASL_...`. Default: `PLAIN`.
    pub sasl_mechanism: Option<SaslMechanism>,
    /// User name for SASL.
    pub sasl_plain_username: Option<String>,
    /// Password for SASL.
    pub sasl_plain_password: Option<Secret>,
    /// Whether the brokers discard duplicates caused by retries on one connection, and keep the order.
    /// Default: true, unless `acks` is 0 or 1.
    pub enable_idempotence: Option<bool>,
    /// Accepted for compatibility, without effect: the protocol version is always negotiated.
    pub api_version: Option<Property>,
    /// Properties of librdkafka by their own names, such as `message.timeout.ms`.
    #[serde(flatten)]
    pub properties: BTreeMap<String, Property>,
}

/// Files for TLS; paths are those of the host.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde", default)]
#[schemars(crate = "evbus_sdk::schemars")]
pub struct Ssl {
    /// Certificates (PEM) of the authorities to trust. Default: the system's.
    pub ca_file: Option<String>,
    /// This client's certificate (PEM), if the brokers require one.
    pub cert_file: Option<String>,
    /// The private key (PEM) of `cert_file`.
    pub key_file: Option<String>,
    /// The password of `key_file`.
    pub password: Option<Secret>,
}

/// A string, or a list of strings.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(
    crate = "evbus_sdk::serde",
    untagged,
    expecting = "expected a string or a list of strings"
)]
#[schemars(crate = "evbus_sdk::schemars")]
pub enum OneOrMany<T = String> {
    /// One.
    One(T),
    /// Any number.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// All of them, in order.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// How many replicas must acknowledge: a number, or `all`. Not shown, because before it is checked it may be any text.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(
    crate = "evbus_sdk::serde",
    untagged,
    expecting = "expected 0, 1, -1 or `all`"
)]
#[schemars(crate = "evbus_sdk::schemars", extend("x-expected" = "0, 1, -1 or `all`"))]
pub enum Acks {
    /// The number 0, 1 or -1.
    Number(i16),
    /// `all`, or a number written as a text.
    Text(String),
}

impl fmt::Debug for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A compression codec.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "evbus_sdk::schemars")]
#[allow(missing_docs)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde")]
#[schemars(crate = "evbus_sdk::schemars")]
pub enum SecurityProtocol {
    /// No encryption, no authentication.
    #[serde(rename = "PLAINTEXT")]
    Plaintext,
    /// TLS.
    #[serde(rename = "SSL")]
    Ssl,
    /// A password over an unencrypted connection.
    #[serde(rename = "SASL_PLAINTEXT")]
    SaslPlaintext,
    /// A password over TLS.
    #[serde(rename = "SASL_SSL")]
    SaslSsl,
}

/// How a client authenticates.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde")]
#[schemars(crate = "evbus_sdk::schemars")]
pub enum SaslMechanism {
    /// The password itself.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof of the password, with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A proof of the password, with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// The value of a property of librdkafka. Never shown: it may be a secret.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde", untagged)]
#[schemars(crate = "evbus_sdk::schemars")]
#[allow(missing_docs)]
pub enum Property {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A key without a value counts as missing.
    #[schemars(skip)]
    NotGiven(()),
    /// Anything else: accepted here so that the check can name the key, and refused there.
    #[schemars(skip)]
    Other(IgnoredAny),
}

impl Property {
    /// As librdkafka reads it; `None` if it is not a single value.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Float(value) => Some(value.to_string()),
            Self::Text(value) => Some(value.clone()),
            Self::NotGiven(()) | Self::Other(_) => None,
        }
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Writes an enum of the configuration in librdkafka's spelling.
macro_rules! spelled {
    ($type:ty { $($variant:ident => $text:literal),+ $(,)? }) => {
        impl $type {
            pub(crate) fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

spelled!(Compression { None => "none", Gzip => "gzip", Snappy => "snappy", Lz4 => "lz4", Zstd => "zstd" });
spelled!(SecurityProtocol {
    Plaintext => "plaintext",
    Ssl => "ssl",
    SaslPlaintext => "sasl_plaintext",
    SaslSsl => "sasl_ssl",
});
spelled!(SaslMechanism {
    Plain => "PLAIN",
    ScramSha256 => "SCRAM-SHA-256",
    ScramSha512 => "SCRAM-SHA-512",
});
