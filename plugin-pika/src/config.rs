//! The configuration of a destination in the acct file.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use evbus_sdk::schemars::JsonSchema;
use evbus_sdk::serde::{Deserialize, Deserializer};
use evbus_sdk::{ConfigFault, Secret, Template, Templated, TimeSpan};

use crate::endpoint::Endpoint;
use crate::message::{MAX_SHORT_STRING, is_own_header};
use crate::tls;

/// The configuration of a destination in the acct file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde")]
#[schemars(crate = "evbus_sdk::schemars")]
pub struct Config {
    /// The broker's address and the login. Default: `guest` at localhost.
    #[serde(default)]
    pub connection: Option<ConnectionConfig>,
    /// The routing key of every event. None or empty: the event's profile name.
    #[serde(default)]
    #[schemars(extend("x-default" = "profile"))]
    pub routing_key: Option<Template>,
    /// The exchange to publish to, which must exist. None, empty or `default`: the default
    /// exchange, where the routing key names a queue.
    #[serde(default)]
    pub exchange: Option<Template>,
    /// More headers: names and their values. They take precedence over tags of the same name.
    #[serde(default, deserialize_with = "evbus_sdk::null_is_default")]
    pub extra_headers: BTreeMap<String, Template>,
    /// The `message_id` of every event. With this key, the header `evbus-id` has the event's id. Default: the event's id.
    #[serde(default)]
    pub message_id: Option<Template>,
    /// Milliseconds after which the broker drops a message that nobody has taken out of its queue. Default: never.
    #[serde(default)]
    #[schemars(extend("x-unit" = "milliseconds"))]
    pub expiration: Option<Templated<u32>>,
    /// The priority of every event, for queues with `x-max-priority`. Default: none.
    #[serde(default)]
    pub priority: Option<Templated<u8>>,
    /// How many queues may be declared for this destination until it is started again; an event that needs one more is
    /// rejected. Default: any number.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_declared: Option<u32>,
    /// Maximum wait for the broker's next confirm, for a blocked broker and for a connection: a number
    /// of seconds, or a duration with units such as `30s`, at most a day. Then unconfirmed events are
    /// retried. It should be below the destination's `deadline`, after which the host makes a new
    /// connection. Default: 30 seconds.
    #[serde(default = "default_timeout", deserialize_with = "timeout_or_default")]
    #[schemars(range(min = 0.001, max = 86400))]
    pub timeout: TimeSpan,
    /// On the default exchange: declare a queue that does not exist as durable. Default: true.
    #[serde(default = "yes", deserialize_with = "flag_or_yes")]
    pub declare: bool,
    /// Treat an event that reaches no queue as an error; false: the broker drops it. Default: true.
    #[serde(default = "yes", deserialize_with = "flag_or_yes")]
    pub mandatory: bool,
    /// Mark events as persistent, so that durable queues keep them when the broker restarts. Default:
    /// true.
    #[serde(default = "yes", deserialize_with = "flag_or_yes")]
    pub persistent: bool,
}

/// The broker's address and the login: `url`, or `host` and related keys.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde")]
#[schemars(crate = "evbus_sdk::schemars")]
pub struct ConnectionConfig {
    /// `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps:` for TLS; special characters are
    /// percent-encoded. Without a virtual host it is `/`. Takes the parameters `heartbeat` (seconds),
    /// `frame_max` (bytes), `channel_max` and `auth_mechanism`.
    #[serde(default)]
    pub url: Option<Secret>,
    /// Name or address of the broker. Default: localhost.
    #[serde(default)]
    pub host: Option<String>,
    /// Default: 5672, with `ssl` 5671.
    #[serde(default)]
    pub port: Option<NonZeroU16>,
    /// User name. Default: guest.
    #[serde(default)]
    pub login: Option<String>,
    /// Password. Default: guest.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Virtual host. Default: `/`.
    #[serde(default)]
    pub virtualhost: Option<String>,
    /// Encrypt the connection with TLS. Default: false; with an `amqps:` URL it always is.
    #[serde(default)]
    pub ssl: Option<bool>,
    /// Options of the TLS connection; needs `ssl: true` or an `amqps:` URL.
    #[serde(default)]
    pub ssl_options: Option<SslOptions>,
    /// Shown by the broker beside the connection. Default: `connection_name: evbus`.
    #[serde(default)]
    pub client_properties: Option<BTreeMap<String, Property>>,
    /// Silence after which both sides send a heartbeat, in whole seconds: a number, or a duration with
    /// units such as `30s`. A connection that is silent for twice as long is lost. The lower of this
    /// value and the broker's applies. Default: the broker's, usually 60 seconds.
    #[serde(default)]
    #[schemars(range(max = 65535))]
    pub heartbeat: Option<TimeSpan>,
    /// Maximum time to connect and log in: a number of seconds, or a duration with units such as `30s`,
    /// at most a day. Default: 8 seconds, less than the limit of `evbus check --connect`.
    #[serde(default)]
    #[schemars(range(min = 0.001, max = 86400))]
    pub connection_timeout: Option<TimeSpan>,
}

/// TLS: the authorities to trust and the client certificate. Without `ca_file` the system's authorities
/// are trusted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde")]
#[schemars(crate = "evbus_sdk::schemars")]
pub struct SslOptions {
    /// PEM file of the certificate authorities to trust instead of the system's. Also `cafile`.
    #[serde(default, alias = "cafile", alias = "ca_certs")]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's certificate and its chain. Also `certfile`.
    #[serde(default, alias = "certfile")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client's key. Also `keyfile`. Default: `cert_file`.
    #[serde(default, alias = "keyfile")]
    pub key_file: Option<PathBuf>,
    /// Password of the key (an `ENCRYPTED PRIVATE KEY`).
    #[serde(default)]
    pub password: Option<Secret>,
    /// Check the broker's certificate and its host name. False lets anybody in between read the
    /// connection. Default: true.
    #[serde(default = "yes", deserialize_with = "flag_or_yes")]
    pub verify: bool,
}

/// The value of a client property.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde", untagged)]
#[schemars(crate = "evbus_sdk::schemars")]
pub enum Property {
    /// Text.
    Text(String),
    /// A whole number, sent as text.
    Integer(i64),
    /// A number, sent as text.
    Number(f64),
    /// Sent as `true` or `false`.
    Flag(bool),
}

impl std::fmt::Display for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

/// Names that other clients of AMQP have for these keys, and where the keys are.
pub(crate) const OTHER_NAMES: &[(&str, &str)] = &[
    ("uri", "connection.url"),
    ("url", "connection.url"),
    ("amqp_url", "connection.url"),
    ("broker", "connection.host"),
    ("host", "connection.host"),
    ("hostname", "connection.host"),
    ("server", "connection.host"),
    ("port", "connection.port"),
    ("login", "connection.login"),
    ("user", "connection.login"),
    ("user_name", "connection.login"),
    ("username", "connection.login"),
    ("pass", "connection.password"),
    ("passwd", "connection.password"),
    ("password", "connection.password"),
    ("vhost", "connection.virtualhost"),
    ("virtual_host", "connection.virtualhost"),
    ("virtualhost", "connection.virtualhost"),
    ("ssl", "connection.ssl"),
    ("tls", "connection.ssl"),
    ("use_ssl", "connection.ssl"),
    ("ca", "connection.ssl_options.ca_file"),
    ("cacertfile", "connection.ssl_options.ca_file"),
    ("cert", "connection.ssl_options.cert_file"),
    ("verify_peer", "connection.ssl_options.verify"),
    ("queue", "routing_key"),
    ("queue_name", "routing_key"),
    ("topic", "routing_key"),
    ("exchange_name", "exchange"),
    ("delivery_mode", "persistent"),
];

const DEFAULT_CONNECTION_TIMEOUT: TimeSpan = TimeSpan::from_secs(8);

fn default_timeout() -> TimeSpan {
    TimeSpan::from_secs(30)
}

fn yes() -> bool {
    true
}

/// A key without a value (`timeout:`) counts as missing.
fn timeout_or_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeSpan, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(default_timeout))
}

fn flag_or_yes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(yes))
}

impl Config {
    /// Checks what the types cannot express; reads the TLS files.
    pub(crate) fn check(&self) -> Result<(), Vec<ConfigFault>> {
        let mut faults = Vec::new();
        let fault = ConfigFault::of_key;
        for (path, name) in [
            ("exchange", &self.exchange),
            ("routing_key", &self.routing_key),
            ("message_id", &self.message_id),
        ] {
            // What begins with too long a text is too long for every event.
            let length = name.as_ref().map_or(0, |name| name.prefix().len());
            if length > MAX_SHORT_STRING {
                faults.push(fault(path, too_long(length)));
            }
        }
        for name in self.extra_headers.keys() {
            let message = if name.is_empty() {
                "found a header without a name; name it, or remove it".to_owned()
            } else if is_own_header(name) {
                format!("the header `{name}` is one of the plugin's own; choose another name")
            } else if name.len() > MAX_SHORT_STRING {
                format!("a name is {}", too_long(name.len()))
            } else {
                continue;
            };
            faults.push(fault("extra_headers", message));
        }
        let connection = self.connection.clone().unwrap_or_default();
        faults.extend(connection.check());
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

impl ConnectionConfig {
    /// The time to connect and log in.
    pub(crate) fn timeout(&self) -> Duration {
        let timeout = self.connection_timeout;
        timeout.unwrap_or(DEFAULT_CONNECTION_TIMEOUT).duration()
    }

    /// The heartbeat as AMQP has it: whole seconds, 0 for none.
    pub(crate) fn heartbeat(&self) -> Option<u16> {
        u16::try_from(self.heartbeat?.duration().as_secs()).ok()
    }

    fn has_certificate(&self) -> bool {
        let options = self.ssl_options.as_ref();
        options.is_some_and(|options| options.cert_file.is_some())
    }

    fn check(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        if (self.heartbeat).is_some_and(|it| it.duration().subsec_nanos() > 0) {
            faults.push(ConfigFault::of_key(
                "connection.heartbeat",
                "found a fraction of a second; AMQP counts heartbeats in whole seconds",
            ));
        }
        for name in self
            .client_properties
            .iter()
            .flatten()
            .map(|(name, _)| name)
        {
            if name.len() > MAX_SHORT_STRING {
                faults.push(ConfigFault::of_key(
                    "connection.client_properties",
                    format!("a name is {}", too_long(name.len())),
                ));
            }
        }
        let (endpoint, of_endpoint) = Endpoint::read(self);
        faults.extend(of_endpoint);
        if endpoint.as_ref().is_some_and(Endpoint::needs_certificate) && !self.has_certificate() {
            faults.push(ConfigFault::of_keys(
                "connection.url",
                "`auth_mechanism=external` logs in with a client certificate; write amqps: and \
                 give `cert_file` of `ssl_options`",
                &["connection.url", "connection.ssl_options.cert_file"],
            ));
        }
        // Without a usable URL nothing says that it is not encrypted.
        let is_plain = endpoint.is_some_and(|endpoint| !endpoint.is_tls());
        match &self.ssl_options {
            Some(_) if is_plain && self.ssl != Some(true) => faults.push(ConfigFault::of_keys(
                "connection.ssl_options",
                "given for a connection that is not encrypted; add `ssl: true` or use an \
                 amqps: URL, or remove them",
                &["connection.url", "connection.ssl"],
            )),
            Some(options) => faults.extend(tls::connector(options).err().unwrap_or_default()),
            // The system's authorities are read when it connects.
            None => {}
        }
        faults
    }
}

fn too_long(length: usize) -> String {
    format!("{length} bytes long; AMQP allows at most {MAX_SHORT_STRING}")
}
