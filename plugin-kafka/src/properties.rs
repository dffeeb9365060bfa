//! From the configuration to librdkafka's properties.

use evbus_sdk::{ConfigFault, Secret};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::config::{Acks, Config, Connection, Property};
use crate::property_names::{canonical, meant, nearest};
use crate::{contradictions, files, pace, refused, security};

/// The plugin's defaults.
const DEFAULTS: &[(&str, &str)] = &[
    ("metadata.broker.list", "localhost:9092"),
    ("client.id", "evbus"),
    // Longer than it takes to hand over a batch, so that it becomes one message set.
    ("queue.buffering.max.ms", "2"),
    // The deadline for librdkafka's own attempts; after that, the host retries.
    ("message.timeout.ms", "30000"),
    // Shorter than the deadline, so that a missing topic can be told from a slow broker.
    ("topic.metadata.propagation.max.ms", "10000"),
    // Room for a batch that becomes a message of each of many topics.
    ("queue.buffering.max.kbytes", "65536"),
    // A broker that returns is found within two seconds.
    (LONGEST_PAUSE, "2000"),
    ("socket.keepalive.enable", "true"),
];

const FIRST_PAUSE: &str = "reconnect.backoff.ms";
const LONGEST_PAUSE: &str = "reconnect.backoff.max.ms";

/// Makes librdkafka's configuration. Looks at the files that are named, connects nowhere.
///
/// # Errors
///
/// Every fault, with the path of its key.
pub fn client_config(config: &Config) -> Result<ClientConfig, Vec<ConfigFault>> {
    let (mut settings, mut faults) = collect(config);
    faults.extend(settings.collisions());
    faults.extend(settings.0.iter().filter_map(Setting::fault));
    faults.extend(settings.acks_fault());
    faults.extend(settings.given().filter_map(port_fault));
    faults.extend(security::complete(config, &mut settings));
    faults.extend(files::faults(&settings));
    let first_pause = settings.get(FIRST_PAUSE).map(str::to_owned);
    for (property, value) in DEFAULTS {
        // A first pause that is longer than this default of the longest one is the longest one.
        let longer = first_pause.as_deref().filter(|first| {
            let milliseconds = |text: &str| text.parse().unwrap_or(0_u32);
            *property == LONGEST_PAUSE && milliseconds(first) > milliseconds(value)
        });
        settings.default(property, longer.unwrap_or(value));
    }
    // A whole batch does not linger.
    let messages = pace::batch_events(config.headers, config.topics.as_slice().len());
    settings.default("batch.num.messages", &messages.to_string());
    let is_idempotent = !settings.has_weak_acks();
    settings.default("enable.idempotence", &is_idempotent.to_string());
    // Of a value that is itself wrong nothing follows for others.
    let contradictions = contradictions::faults(&settings).into_iter();
    let contradictions: Vec<_> = contradictions
        .filter(|it| faults.iter().all(|fault| fault.path != it.path))
        .collect();
    faults.extend(contradictions);
    if faults.is_empty() {
        Ok(settings.into_client_config())
    } else {
        Err(faults)
    }
}

/// One property with the key it came from.
pub(crate) struct Setting {
    path: String,
    /// Its canonical name in librdkafka.
    property: String,
    value: String,
}

impl Setting {
    /// librdkafka's own objection to it, if any.
    fn fault(&self) -> Option<ConfigFault> {
        let mut alone = ClientConfig::new();
        alone.set(self.property.as_str(), self.value.as_str());
        let message = match alone.create_native_config() {
            Ok(read) => {
                let read = read.get(&self.property).unwrap_or_default();
                if !self.is_cut_to(&read) {
                    return None;
                }
                let unit = self
                    .property
                    .strip_suffix(".ms")
                    .map(|_| " of milliseconds");
                format!(
                    "found a value of which librdkafka reads only the beginning, expected a number{} without a unit, and a whole one where its CONFIGURATION.md says integer",
                    unit.unwrap_or_default()
                )
            }
            Err(error) if is_unknown(&error) => {
                return Some(unknown(self.path.clone(), &self.property));
            }
            // The message says no more about the value: a value at the wrong key may be a secret, and librdkafka's
            // text repeats it.
            Err(_) if self.property == "request.required.acks" => {
                "found a value that librdkafka rejects, expected 0, 1, -1 or `all`".to_owned()
            }
            Err(KafkaError::ClientConfig(_, why, ..)) => match allowed_range(&why) {
                Some((least, most)) => format!(
                    "found a value that librdkafka rejects, expected a number from {least} to {most}"
                ),
                None => REFUSED.to_owned(),
            },
            Err(_) => REFUSED.to_owned(),
        };
        Some(ConfigFault::of_key(self.path.as_str(), message))
    }

    /// Whether librdkafka, which ignores what follows a number, reads the value as another one: `30s` as 30, and for an
    /// integer `0.5` as 0. `read` is what it shows of it, in six digits.
    fn is_cut_to(&self, read: &str) -> bool {
        let is_number = (self.value.trim_start())
            .starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        let Some(read) = number(read).filter(|_| is_number) else {
            return false;
        };
        number(&self.value).is_none_or(|given| (given - read).abs() > given.abs() * 1e-5)
    }
}

const REFUSED: &str = "found a value that librdkafka rejects, expected one that its CONFIGURATION.md lists for this property";

/// A number as librdkafka reads it: integers also in octal (`017`) and hexadecimal (`0x1f`).
fn number(value: &str) -> Option<f64> {
    let value = value.trim();
    let (sign, digits) = match value.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, value.strip_prefix('+').unwrap_or(value)),
    };
    let hexadecimal = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
    let octal = digits.strip_prefix('0').filter(|rest| !rest.is_empty());
    let integer = match (hexadecimal, octal) {
        (Some(digits), _) => u32::from_str_radix(digits, 16).ok(),
        (None, Some(digits)) => u32::from_str_radix(digits, 8).ok(),
        (None, None) => None,
    };
    let number = integer.map(f64::from).or_else(|| digits.parse().ok());
    number.map(|number| sign * number)
}

/// librdkafka accepts any number as a port and uses its lowest 16 bits.
fn port_fault((path, property, value): (&str, &str, &str)) -> Option<ConfigFault> {
    let is_wrong = |address: &str| port(address).is_some_and(|it| it.parse().unwrap_or(0_u16) == 0);
    if property != "metadata.broker.list" {
        return None;
    }
    let position = value.split(',').position(is_wrong)? + 1;
    let message = format!(
        "found an invalid port in address {position}, expected a number from 1 to 65535 after the host"
    );
    Some(ConfigFault::of_key(path, message))
}

/// The port of an address as librdkafka parses it; the colons of an IPv6 address without brackets do not precede a
/// port.
fn port(address: &str) -> Option<&str> {
    let host = address
        .split_once("://")
        .map_or(address, |(_, rest)| rest.split('/').next().unwrap_or(rest));
    let (before, port) = host.rsplit_once(':')?;
    (!before.contains(':') || before.ends_with(']')).then(|| port.trim())
}

/// The limits in librdkafka's message about a number outside of them.
fn allowed_range(why: &str) -> Option<(i64, i64)> {
    let (_, range) = why.rsplit_once(" is outside allowed range ")?;
    let (least, most) = range.split_once("..")?;
    Some((least.parse().ok()?, most.trim().parse().ok()?))
}

/// Whether librdkafka has a property with this name, whatever its value.
fn is_known(name: &str) -> bool {
    let mut alone = ClientConfig::new();
    alone.set(canonical(name), "");
    alone
        .create_native_config()
        .err()
        .is_none_or(|error| !is_unknown(&error))
}

fn is_unknown(error: &KafkaError) -> bool {
    matches!(error, KafkaError::ClientConfig(_, why, ..) if why.contains("No such"))
}

fn unknown(path: String, property: &str) -> ConfigFault {
    let nearest = || Some(format!("`{}`", nearest(property)?));
    let message = match meant(property).or_else(nearest) {
        Some(meant) => format!("found an unknown key; did you mean {meant}?"),
        None => "found an unknown key, expected an option of aiokafka's producer or a property of librdkafka"
            .to_owned(),
    };
    ConfigFault::of_key(path, message)
}

/// The properties that are set, in the order of the configuration.
pub(crate) struct Settings(Vec<Setting>);

impl Settings {
    /// The key of a property, by its first name, if the configuration itself sets it.
    pub(crate) fn key(&self, property: &str) -> Option<&str> {
        let (key, ..) = self.given().find(|(_, given, _)| *given == property)?;
        Some(key)
    }

    /// The value of a property, by its canonical name.
    pub(crate) fn get(&self, property: &str) -> Option<&str> {
        let found = self.0.iter().find(|setting| setting.property == property)?;
        Some(&found.value)
    }

    /// Whether a property is true, in any of librdkafka's words for that.
    pub(crate) fn is_true(&self, property: &str) -> bool {
        let words = ["true", "t", "1"];
        let value = self.get(property).unwrap_or_default();
        words.iter().any(|word| value.eq_ignore_ascii_case(word))
    }

    /// The value of a property that is a number.
    pub(crate) fn number(&self, property: &str) -> Option<f64> {
        number(self.get(property)?)
    }

    /// Whether fewer than all replicas acknowledge, which rules out idempotence.
    pub(crate) fn has_weak_acks(&self) -> bool {
        let acks = self.number("request.required.acks");
        acks.is_some_and(|acks| (0.0..=1.0).contains(&acks))
    }

    /// The key, the property and the value of everything that the configuration itself sets.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let given = self.0.iter().filter(|setting| !setting.path.is_empty());
        given.map(|setting| (&*setting.path, &*setting.property, &*setting.value))
    }

    /// Sets a property, by its canonical name, unless it is set.
    pub(crate) fn default(&mut self, property: &str, value: &str) {
        if self.get(property).is_none() {
            self.push(String::new(), property, value);
        }
    }

    fn push(&mut self, path: String, name: &str, value: impl Into<String>) {
        self.0.push(Setting {
            path,
            property: canonical(name).to_owned(),
            value: value.into(),
        });
    }

    /// A fault for every property that is set twice under different names.
    fn collisions(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        for (position, setting) in self.0.iter().enumerate() {
            let before = self.0[..position]
                .iter()
                .find(|earlier| earlier.property == setting.property);
            if let Some(earlier) = before {
                let message = format!("is the same setting as `{}`; keep only one", earlier.path);
                faults.push(ConfigFault::of_key(setting.path.as_str(), message));
            }
        }
        faults
    }

    /// librdkafka accepts up to 1000 acknowledgements, but brokers then refuse every message.
    fn acks_fault(&self) -> Option<ConfigFault> {
        let acks = (self.0.iter()).find(|setting| setting.property == "request.required.acks")?;
        let number = self.number("request.required.acks")?;
        (2.0..=1000.0).contains(&number).then(|| {
            ConfigFault::of_key(
                acks.path.as_str(),
                "found an unsupported number of replicas, expected 0, 1, -1 or `all`",
            )
        })
    }

    fn into_client_config(self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for setting in self.0 {
            config.set(setting.property, setting.value);
        }
        config
    }
}

/// Everything that the configuration sets, and the faults of single keys.
fn collect(config: &Config) -> (Settings, Vec<ConfigFault>) {
    let mut settings = Settings(Vec::new());
    let mut faults = Vec::new();
    for (name, property, value) in named(&config.connection) {
        settings.push(format!("connection.{name}"), property, value);
    }
    for (name, value) in &config.connection.properties {
        let path = format!("connection.{name}");
        let refused = refused::reason(name);
        if let Property::NotGiven(()) = value {
            if refused.is_none() && !is_known(name) {
                faults.push(unknown(path, name));
            }
        } else if let Some(why) = refused {
            faults.push(ConfigFault::of_key(path, format!("cannot be used: {why}")));
        } else if let Some(value) = value.text() {
            settings.push(path, name, value);
        } else if !is_known(name) {
            faults.push(unknown(path, name));
        } else {
            let message = "found a list or a mapping, expected a string, a number, true or false";
            faults.push(ConfigFault::of_key(path, message));
        }
    }
    if let Some(ssl) = &config.ssl {
        let password = ssl.password.as_ref().map(Secret::reveal);
        for (name, property, value) in [
            ("ca_file", "ssl.ca.location", ssl.ca_file.as_deref()),
            (
                "cert_file",
                "ssl.certificate.location",
                ssl.cert_file.as_deref(),
            ),
            ("key_file", "ssl.key.location", ssl.key_file.as_deref()),
            ("password", "ssl.key.password", password),
        ] {
            if let Some(value) = value {
                settings.push(format!("ssl.{name}"), property, value);
            }
        }
    }
    (settings, faults)
}

/// The settings with aiokafka's names: the name, librdkafka's property, the value.
fn named(connection: &Connection) -> impl Iterator<Item = (&'static str, &'static str, String)> {
    let c = connection;
    let servers = c.bootstrap_servers.as_ref();
    let password = c.sasl_plain_password.as_ref();
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    [
        (
            "bootstrap_servers",
            "bootstrap.servers",
            servers.map(|s| s.as_slice().join(",")),
        ),
        ("client_id", "client.id", c.client_id.clone()),
        ("acks", "acks", c.acks.as_ref().map(acks)),
        (
            "compression_type",
            "compression.type",
            c.compression_type.map(|t| t.text().to_owned()),
        ),
        ("max_batch_size", "batch.size", number(c.max_batch_size)),
        (
            "linger_ms",
            "linger.ms",
            c.linger_ms.map(|ms| ms.to_string()),
        ),
        (
            "connections_max_idle_ms",
            "connections.max.idle.ms",
            number(c.connections_max_idle_ms),
        ),
        (
            "max_request_size",
            "message.max.bytes",
            number(c.max_request_size),
        ),
        (
            "retry_backoff_ms",
            "retry.backoff.ms",
            number(c.retry_backoff_ms),
        ),
        (
            "request_timeout_ms",
            "request.timeout.ms",
            number(c.request_timeout_ms),
        ),
        (
            "metadata_max_age_ms",
            "topic.metadata.refresh.interval.ms",
            number(c.metadata_max_age_ms),
        ),
        (
            "security_protocol",
            "security.protocol",
            c.security_protocol.map(|p| p.text().to_owned()),
        ),
        (
            "sasl_mechanism",
            "sasl.mechanisms",
            c.sasl_mechanism.map(|m| m.text().to_owned()),
        ),
        (
            "sasl_plain_username",
            "sasl.username",
            c.sasl_plain_username.clone(),
        ),
        (
            "sasl_plain_password",
            "sasl.password",
            password.map(|p| p.reveal().to_owned()),
        ),
        (
            "enable_idempotence",
            "enable.idempotence",
            c.enable_idempotence.map(|on| on.to_string()),
        ),
    ]
    .into_iter()
    .filter_map(|(name, property, value)| Some((name, property, value?)))
}

fn acks(acks: &Acks) -> String {
    match acks {
        Acks::Number(number) => number.to_string(),
        Acks::Text(text) => text.clone(),
    }
}
