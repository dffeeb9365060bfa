//! The broker's address and login, from the configuration.

use std::fmt;
use std::num::NonZeroU16;

use evbus_sdk::{ConfigFault, Secret};
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};
use rustls::pki_types::ServerName;

use crate::config::ConnectionConfig;
use crate::message::MAX_SHORT_STRING;

/// The broker's address and the login; displayed as `host:port`, without the login.
#[derive(Clone)]
pub(crate) struct Endpoint(AMQPUri);

/// The parameters of a URL that have an effect; all others are refused.
const PARAMETERS: [&str; 4] = ["heartbeat", "frame_max", "channel_max", "auth_mechanism"];

impl Endpoint {
    /// The endpoint that the configuration names.
    ///
    /// # Errors
    ///
    /// Every fault, with its path; never a part of the URL, which may hold the password anywhere.
    pub(crate) fn new(config: &ConnectionConfig) -> Result<Self, Vec<ConfigFault>> {
        match Self::read(config) {
            (Some(endpoint), faults) if faults.is_empty() => Ok(endpoint),
            (_, faults) => Err(faults),
        }
    }

    /// The endpoint, if it can be told what is meant, and every fault of it, as [`Endpoint::new`] has them.
    pub(crate) fn read(config: &ConnectionConfig) -> (Option<Self>, Vec<ConfigFault>) {
        let mut faults = Vec::new();
        let mut uri = match &config.url {
            Some(url) => {
                faults.extend(beside_url(config));
                match parse(url.reveal()) {
                    Ok(uri) => uri,
                    Err(message) => {
                        faults.push(ConfigFault::of_key("connection.url", message));
                        return (None, faults);
                    }
                }
            }
            None => from_keys(config),
        };
        if config.ssl.is_some_and(|ssl| ssl != is_tls(&uri)) {
            faults.push(fault(
                "connection.ssl",
                "contradicts the scheme of `url`, which takes precedence; remove it",
            ));
        }
        if uri.vhost.len() > MAX_SHORT_STRING {
            faults.push(fault(
                "connection",
                format!(
                    "the virtual host is {} bytes long; AMQP allows at most {MAX_SHORT_STRING}",
                    uri.vhost.len()
                ),
            ));
        }
        if is_tls(&uri) && ServerName::try_from(uri.authority.host.as_str()).is_err() {
            let key = if config.url.is_some() {
                "connection.url"
            } else {
                "connection.host"
            };
            faults.push(fault(
                key,
                "a certificate cannot be for this host; with TLS, expected a host name or an IP address",
            ));
        }
        uri.query.heartbeat = config.heartbeat().or(uri.query.heartbeat);
        (Some(Self(uri)), faults)
    }

    pub(crate) fn uri(&self) -> &AMQPUri {
        &self.0
    }

    pub(crate) fn is_tls(&self) -> bool {
        is_tls(&self.0)
    }

    /// Whether the client's certificate is the login.
    pub(crate) fn needs_certificate(&self) -> bool {
        self.0.query.auth_mechanism == Some(SASLMechanism::External)
    }

    pub(crate) fn host(&self) -> &str {
        &self.0.authority.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.authority.port
    }

    pub(crate) fn user(&self) -> &str {
        &self.0.authority.userinfo.username
    }

    /// Only for checking whether a text contains it.
    pub(crate) fn password(&self) -> &str {
        &self.0.authority.userinfo.password
    }

    pub(crate) fn vhost(&self) -> &str {
        &self.0.vhost
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host().contains(':') {
            write!(f, "[{}]:{}", self.host(), self.port())
        } else {
            write!(f, "{}:{}", self.host(), self.port())
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// A fault of the endpoint, which these keys make.
fn fault(path: &str, message: impl Into<String>) -> ConfigFault {
    const KEYS: &[&str] = &[
        "connection.url",
        "connection.host",
        "connection.ssl",
        "connection.virtualhost",
    ];
    ConfigFault::of_keys(path, message, KEYS)
}

fn is_tls(uri: &AMQPUri) -> bool {
    uri.scheme == AMQPScheme::AMQPS
}

fn from_keys(config: &ConnectionConfig) -> AMQPUri {
    let scheme = if config.ssl == Some(true) {
        AMQPScheme::AMQPS
    } else {
        AMQPScheme::AMQP
    };
    let or = |value: Option<&str>, default: &str| value.unwrap_or(default).to_owned();
    AMQPUri {
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: or(config.login.as_deref(), "guest"),
                password: or(config.password.as_ref().map(Secret::reveal), "guest"),
            },
            host: or(config.host.as_deref(), "localhost"),
            port: (config.port).map_or_else(|| scheme.default_port(), NonZeroU16::get),
        },
        // Empty means the default, as for aio-pika.
        vhost: or(
            config.virtualhost.as_deref().filter(|it| !it.is_empty()),
            "/",
        ),
        scheme,
        ..AMQPUri::default()
    }
}

fn beside_url(config: &ConnectionConfig) -> Vec<ConfigFault> {
    [
        ("host", config.host.is_some()),
        ("port", config.port.is_some()),
        ("login", config.login.is_some()),
        ("password", config.password.is_some()),
        ("virtualhost", config.virtualhost.is_some()),
    ]
    .into_iter()
    .filter(|(_, given)| *given)
    .map(|(key, _)| {
        // Both are given, whatever the other keys have.
        ConfigFault::of_key(
            format!("connection.{key}"),
            "is given beside `url`, which contains it; remove one of the two",
        )
    })
    .collect()
}

fn parse(url: &str) -> Result<AMQPUri, String> {
    // The parser's own message may contain the URL.
    let mut uri: AMQPUri = url.parse().map_err(|_: String| {
        "not an AMQP URL; expected amqp://USER:PASSWORD@HOST:PORT/VHOST or amqps:, with special \
         characters percent-encoded and `heartbeat`, `frame_max` and `channel_max` as numbers"
            .to_owned()
    })?;
    if uri.authority.port == 0 {
        return Err("has port 0; expected a port from 1 to 65535".to_owned());
    }
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let unknown = query
        .split('&')
        .map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key))
        .any(|key| !key.is_empty() && !PARAMETERS.contains(&key));
    if unknown {
        return Err(format!(
            "has an unknown parameter; expected {}; other settings have keys of their own beside `url`",
            PARAMETERS.join(", ")
        ));
    }
    // For people and for the Python clients, amqp://host/ means the virtual host `/`.
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    // The parser mistakes an IPv6 address for a missing host, and uses localhost.
    if let Some(address) = ipv6(url) {
        address.clone_into(&mut uri.authority.host);
    }
    Ok(uri)
}

/// The IPv6 address in a URL's authority, without its brackets.
fn ipv6(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit('@').next()?;
    host.strip_prefix('[')?.split(']').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use evbus_sdk::parse_config;

    fn endpoint(json: &str) -> Result<Endpoint, Vec<ConfigFault>> {
        Endpoint::new(&parse_config::<ConnectionConfig>(json)?)
    }

    #[test]
    fn the_keys_have_the_defaults_of_the_python_clients() {
        let plain = endpoint("{}").expect("nothing is required");
        assert_eq!(
            plain.uri().to_string(),
            "amqp://guest:guest@localhost:5672/%2F"
        );
        let empty = endpoint(r#"{"virtualhost": ""}"#).expect("valid");
        assert_eq!(empty.vhost(), "/");
        let tls = endpoint(r#"{"ssl": true, "host": "mq", "virtualhost": "a b"}"#).expect("valid");
        assert_eq!(tls.uri().to_string(), "amqps://guest:guest@mq:5671/a%20b");
    }

    #[test]
    fn a_url_without_a_virtual_host_means_the_default_one() {
        for url in ["amqp://h", "amqp://h/", "amqp://h/%2f"] {
            let json = format!(r#"{{"url": "{url}"}}"#);
            assert_eq!(endpoint(&json).expect("valid").vhost(), "/", "{url}");
        }
    }

    #[test]
    fn an_ipv6_address_is_not_taken_for_localhost() {
        let found = endpoint(r#"{"url": "amqp://u:p@[fd00::1]:5673/v"}"#).expect("valid");
        assert_eq!((found.host(), found.port()), ("fd00::1", 5673));
        assert_eq!(found.to_string(), "[fd00::1]:5673");
    }

    #[test]
    fn faults_of_a_url_never_repeat_it() {
        for url in [
            "hunter2:x@h",
            "amqp:hunter2",
            "http://u:hunter2@h/",
            "amqp://u:hunter2@h/?hunter2=1",
            "amqp://u:hunter2@h/?heartbeat=soon",
            "amqp://u:hunter2@h:port/",
        ] {
            let config = ConnectionConfig {
                url: Some(Secret::new(url)),
                ..ConnectionConfig::default()
            };
            let faults = Endpoint::new(&config).expect_err(url);
            assert_eq!(faults[0].path, "connection.url", "{url}");
            assert!(!faults[0].message.contains("hunter2"), "{:?}", faults[0]);
        }
    }

    #[test]
    fn what_the_url_holds_is_refused_beside_it() {
        let faults = endpoint(r#"{"url": "amqp://h", "host": "g", "password": "x"}"#)
            .expect_err("two hosts");
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["connection.host", "connection.password"]);
        let faults =
            endpoint(r#"{"url": "amqp://h", "ssl": true}"#).expect_err("no TLS in the URL");
        assert_eq!(faults[0].path, "connection.ssl");
    }

    #[test]
    fn no_fault_of_the_endpoint_hides_another() {
        let config = format!(
            r#"{{"url": "amqps://u:p@127.1/{}", "ssl": false, "port": 1}}"#,
            "v".repeat(256)
        );
        let faults = endpoint(&config).expect_err("four faults");
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "connection.port",
                "connection.ssl",
                "connection",
                "connection.url"
            ]
        );
        let faults = endpoint(r#"{"url": "hunter2", "host": "h"}"#).expect_err("two faults");
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["connection.host", "connection.url"]);
    }

    #[test]
    fn the_login_is_not_in_debug_output() {
        let found = endpoint(r#"{"login": "u", "password": "hunter2"}"#).expect("valid");
        assert!(!format!("{found:?} {found}").contains("hunter2"));
    }
}
