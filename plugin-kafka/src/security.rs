//! TLS and authentication: which protocol a configuration selects, and whether it is complete.

use evbus_sdk::ConfigFault;

use crate::config::{Config, SecurityProtocol as Protocol};
use crate::properties::Settings;

/// What the rules of this file are about.
const KEYS: &[&str] = &[
    "ssl.ca_file",
    "ssl.cert_file",
    "ssl.key_file",
    "ssl.password",
    "connection.security_protocol",
    "connection.sasl_mechanism",
    "connection.sasl_plain_username",
    "connection.sasl_plain_password",
];

fn fault(path: &str, message: impl Into<String>) -> ConfigFault {
    ConfigFault::of_keys(path, message, KEYS)
}

/// Completes the protocol, the mechanism and the location of the certificate authorities. They must fit together:
/// nothing is less secure than what was asked for.
pub(crate) fn complete(config: &Config, settings: &mut Settings) -> Vec<ConfigFault> {
    let mut faults = Vec::new();
    let wants_tls = config.ssl.is_some();
    let given = settings
        .get("security.protocol")
        .map(str::to_ascii_lowercase);
    // SASL over plaintext shows the password on the network, so it is never inferred.
    let has_credentials =
        settings.get("sasl.username").is_some() || settings.get("sasl.password").is_some();
    let protocol = match given.as_deref() {
        None if wants_tls && has_credentials => Protocol::SaslSsl.text(),
        None if wants_tls => Protocol::Ssl.text(),
        None => Protocol::Plaintext.text(),
        Some(given) => given,
    };
    settings.default("security.protocol", protocol);
    let tls = protocol.ends_with("ssl");
    let sasl = protocol.starts_with("sasl");

    let at = "connection.security_protocol";
    if wants_tls && !tls {
        faults.push(fault(
            at,
            format!(
                "found {} beside the key `ssl`, which requires TLS; write SSL or SASL_SSL, or \
                 remove `ssl`",
                named(protocol)
            ),
        ));
    }
    if has_credentials && !sasl {
        faults.push(fault(
            at,
            format!(
                "a user or password is given, but {} does not use it; write SASL_SSL (or \
                 SASL_PLAINTEXT, which sends it over an unencrypted connection)",
                named(protocol)
            ),
        ));
    }
    if sasl {
        for (property, key) in [
            ("sasl.username", "connection.sasl_plain_username"),
            ("sasl.password", "connection.sasl_plain_password"),
        ] {
            if settings.get(property).is_none() {
                faults.push(fault(key, format!("missing; {} needs it", named(protocol))));
            }
        }
        // librdkafka's default is Kerberos, aiokafka's is PLAIN.
        settings.default("sasl.mechanisms", "PLAIN");
    }
    if tls && settings.get("ssl.ca.location").is_none() && settings.get("ssl.ca.pem").is_none() {
        // The OpenSSL in this plugin does not know where the system keeps its certificate authorities.
        settings.default("ssl.ca.location", "probe");
    }
    faults.extend(unusable_mechanism(settings));
    faults.extend(unused(config, settings, Speaks { tls, sasl }));
    if let Some(ssl) = &config.ssl {
        match (&ssl.cert_file, &ssl.key_file) {
            (Some(_), None) => faults.push(fault(
                "ssl.key_file",
                "missing; it is the private key of `cert_file`",
            )),
            (None, Some(_)) => faults.push(fault(
                "ssl.cert_file",
                "missing; it is the certificate of `key_file`",
            )),
            _ => {}
        }
    }
    faults
}

/// What protocol the connection uses.
#[derive(Clone, Copy)]
struct Speaks {
    tls: bool,
    sasl: bool,
}

/// A fault for every setting that the protocol does not use, because the user meant another protocol. A user, a
/// password and the key `ssl` are reported elsewhere.
fn unused(config: &Config, settings: &Settings, speaks: Speaks) -> Vec<ConfigFault> {
    let mut faults = Vec::new();
    for (path, property, _) in settings.given() {
        let (wants, secure, open) = if property == "sasl.mechanisms" && !speaks.sasl {
            ("requires a login", "SASL_SSL", "SASL_PLAINTEXT")
        } else if is_about_tls(property) && !speaks.tls && config.ssl.is_none() {
            ("is about TLS", "SSL", "SASL_SSL")
        } else {
            continue;
        };
        let found = match settings.get("security.protocol") {
            Some(protocol) => named(protocol),
            None => named(Protocol::Plaintext.text()),
        };
        faults.push(fault(
            path,
            format!(
                "{wants}, but the connection is {found}, which ignores it; write \
                 `security_protocol: {secure}` (or {open}), or remove this key"
            ),
        ));
    }
    faults
}

fn is_about_tls(property: &str) -> bool {
    property.starts_with("ssl.") || property == "enable.ssl.certificate.verification"
}

/// A protocol as written in the file; an invalid one is not repeated, because it may be a secret.
fn named(protocol: &str) -> &'static str {
    match protocol.to_ascii_lowercase().as_str() {
        "plaintext" => "PLAINTEXT",
        "ssl" => "SSL",
        "sasl_plaintext" => "SASL_PLAINTEXT",
        "sasl_ssl" => "SASL_SSL",
        _ => "another protocol",
    }
}

fn unusable_mechanism(settings: &Settings) -> Option<ConfigFault> {
    let mechanism = settings.get("sasl.mechanisms")?;
    let known = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    (!known.contains(&mechanism)).then(|| {
        // Only known names are repeated.
        let found = ["GSSAPI", "OAUTHBEARER", "AWS_MSK_IAM"]
            .into_iter()
            .find(|name| *name == mechanism)
            .unwrap_or("another mechanism");
        ConfigFault::of_key(
            "connection.sasl_mechanism",
            format!("found {found}, expected one of {}", known.join(", ")),
        )
    })
}
