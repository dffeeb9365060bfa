//! Strict configuration.

use std::fmt;

use evbus_abi::v1::ConfigFaultV1;
use schemars::JsonSchema;
use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer};

use crate::known_keys;

/// A fault in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// Where: keys joined by `.`, list positions as `[0]`, empty for the whole.
    pub path: String,
    /// What was found and what was expected; never the value of a secret.
    pub message: String,
}

impl ConfigFault {
    /// A fault at a path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }

    pub(crate) fn into_abi(self) -> ConfigFaultV1 {
        ConfigFaultV1 {
            path: self.path.into(),
            message: self.message.into(),
        }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Reads a configuration from JSON text; every key must be taken by a field.
///
/// # Errors
///
/// A value of a wrong type is one fault at its path; otherwise every unknown key is one.
pub fn parse_config<C: DeserializeOwned + JsonSchema>(json: &str) -> Result<C, Vec<ConfigFault>> {
    let mut unknown = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let parsed = serde_ignored::deserialize(tracked, |path| {
        // `?` stands for a layer such as Option that is no key of the file.
        let path = path.to_string().replace(".?", "").replace("?.", "");
        unknown.push(ConfigFault::new(path, "found an unknown key"));
    });
    match parsed {
        Ok(config) if unknown.is_empty() => Ok(config),
        Ok(_) => {
            let schema = schemars::schema_for!(C);
            for fault in &mut unknown {
                if let Some(keys) = known_keys::beside(schema.as_value(), &fault.path) {
                    fault.message =
                        format!("found an unknown key, expected one of: {}", keys.join(", "));
                }
            }
            Err(unknown)
        }
        Err(error) => {
            let path = match track.path().to_string() {
                path if path == "." => String::new(),
                path => path,
            };
            Err(vec![ConfigFault::new(path, plain(&error.to_string()))])
        }
    }
}

/// For `deserialize_with`: a key without a value (`topics:`) counts as one that is not there, as for the
/// providers of Idem. An `Option` does so by itself.
///
/// # Errors
///
/// Those of the value.
pub fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Drops `serde_json`'s position in the JSON text, which is no position of the acct file.
fn plain(message: &str) -> &str {
    message
        .rfind(" at line ")
        .map_or(message, |end| &message[..end])
}

/// A string that is never shown: a password, a token.
///
/// `Debug` prints `***`. The schema marks it `writeOnly`.
#[derive(Clone, JsonSchema, PartialEq, Eq, Default)]
#[schemars(transparent, extend("writeOnly" = true, "format" = "password"))]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// Like a string, but an error does not show what stood there: a password of digits that was
    /// written without quotes is a number to YAML.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hidden;

        impl Visitor<'_> for Hidden {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: de::Error>(self, secret: &str) -> Result<Secret, E> {
                Ok(Secret::new(secret))
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
                Err(E::custom("expected a string; write the secret in quotes"))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
                self.visit_bool(false)
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
                self.visit_bool(false)
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
                self.visit_bool(false)
            }
        }

        // `deserialize_str` would report the wrong value itself.
        deserializer.deserialize_any(Hidden)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, JsonSchema, Debug)]
    #[allow(dead_code)]
    struct Inner {
        acks: u8,
        password: Option<Secret>,
    }

    #[derive(Deserialize, JsonSchema, Debug)]
    #[allow(dead_code)]
    struct Outer {
        connection: Option<Inner>,
        #[serde(default)]
        topics: Vec<String>,
    }

    fn faults(json: &str) -> Vec<String> {
        parse_config::<Outer>(json)
            .expect_err("the configuration has a fault")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn every_unknown_key_is_named_at_its_depth() {
        assert_eq!(
            faults(r#"{"connection": {"acks": 1, "ackz": 2}, "topic": []}"#),
            [
                "connection.ackz: found an unknown key, expected one of: acks, password",
                "topic: found an unknown key, expected one of: connection, topics",
            ]
        );
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        assert_eq!(
            faults(r#"{"connection": {"acks": "one"}}"#),
            [r#"connection.acks: invalid type: string "one", expected u8"#]
        );
        assert_eq!(
            faults(r#"{"topics": ["a", 5]}"#),
            ["topics[1]: invalid type: integer `5`, expected a string"]
        );
        assert_eq!(
            faults("[1]"),
            ["[0]: invalid type: integer `1`, expected struct Inner"]
        );
    }

    #[test]
    fn a_secret_is_not_in_debug_output() {
        let config: Outer =
            parse_config(r#"{"connection": {"acks": 1, "password": "hunter2"}}"#).expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
    #[test]
    fn a_secret_of_a_wrong_type_is_not_shown() {
        for wrong in ["31337", "-31337", "313.37", "true"] {
            let json = format!(r#"{{"connection": {{"acks": 1, "password": {wrong}}}}}"#);
            assert_eq!(
                faults(&json),
                ["connection.password: expected a string; write the secret in quotes"]
            );
        }
    }
}
