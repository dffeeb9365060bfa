//! Strict configuration.

use std::fmt;

use evbus_abi::v1::ConfigFaultV1;
use schemars::JsonSchema;
use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer};

use crate::reading::{self, Reading};

/// A fault in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// The path: keys joined by `.`, list positions as `[0]`, empty for the whole configuration.
    pub path: String,
    /// What is wrong: what was found and what was expected; never the value of a secret.
    pub message: String,
    /// The other keys that it follows from; `None` if any key may be the cause.
    follows_from: Option<&'static [&'static str]>,
}

impl ConfigFault {
    /// A fault at a path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            follows_from: None,
        }
    }

    /// A fault of a key that does not depend on other keys: its name, or the range of its value.
    ///
    /// If another value cannot be read, [`Provider::check`](crate::Provider::check) gets the
    /// configuration without it. Then only faults of this kind are reported, because others may be caused by
    /// the missing value.
    pub fn of_key(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::of_keys(path, message, &[])
    }

    /// A fault that follows from the values of these keys and of no others: two that contradict each other.
    ///
    /// It is reported where the configuration has a value that cannot be read, too, unless that is the value of
    /// one of the keys, or of a mapping that has one of them.
    pub fn of_keys(
        path: impl Into<String>,
        message: impl Into<String>,
        keys: &'static [&'static str],
    ) -> Self {
        Self {
            follows_from: Some(keys),
            ..Self::new(path, message)
        }
    }

    /// Whether it stands although the values at these paths could not be read.
    pub(crate) fn stands_without(&self, unread: &[String]) -> bool {
        let has = |path: &str, key: &str| {
            let below = key.strip_prefix(path);
            below.is_some_and(|below| below.is_empty() || below.starts_with(['.', '[']))
        };
        match self.follows_from {
            None => unread.is_empty(),
            Some(keys) => (unread.iter()).all(|path| !keys.iter().any(|key| has(path, key))),
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
/// Every unknown key, every missing key and every value of a wrong type is a fault at its path, including a
/// list in place of a mapping. No message shows a value or the text of a deserializer: each says what
/// kind of value was found and what the schema of `C` expects there, in the words of the schema's keyword
/// `x-expected` if it is present.
pub fn parse_config<C: DeserializeOwned + JsonSchema>(json: &str) -> Result<C, Vec<ConfigFault>> {
    match reading::read(json, &[]) {
        Reading {
            config: Some(config),
            faults,
            ..
        } if faults.is_empty() => Ok(config),
        Reading { faults, .. } => Err(faults),
    }
}

/// For `deserialize_with`: a key without a value (`topics:`) counts as missing, as for the providers of
/// Idem. An `Option` does not need this.
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

    /// The secret itself, for the place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// Like a string, but an error does not show the value: a password of digits without quotes is a number in YAML.
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

        // The error of `deserialize_str` would contain the value.
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
    fn unknown_keys_without_end_are_counted_and_cost_no_time() {
        let keys: Vec<String> = (0..50_000).map(|key| format!("\"k{key}\": 1")).collect();
        let begun = std::time::Instant::now();
        let found = faults(&format!("{{{}}}", keys.join(", ")));
        assert_eq!(found.len(), 101);
        assert_eq!(
            found[100],
            "found 49900 more unknown keys, expected none of them"
        );
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }

    #[test]
    fn every_unknown_key_is_named_at_its_depth() {
        assert_eq!(
            faults(r#"{"connection": {"acks": 1, "ackz": 2}, "topic": []}"#),
            [
                "connection.ackz: found an unknown key, expected one of: acks, password; did you mean `acks`?",
                "topic: found an unknown key, expected one of: connection, topics; did you mean `topics`?",
            ]
        );
    }

    #[test]
    fn every_fault_is_found_in_one_reading() {
        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        struct All {
            path: String,
            backup: String,
            inner: Option<Inner>,
            inners: Option<Vec<Inner>>,
            level: Option<Level>,
            numbers: Option<Vec<u8>>,
            pair: Option<(u8, u8)>,
            retries: Option<u8>,
            secret: Option<Secret>,
        }

        let json = r#"{
            "pth": "hunter2", "inner": {"pasword": "hunter2", "acks": "hunter2"},
            "inners": [["hunter2"], {"acks": 1}, {"aks": 1}, {"acks": 1, "akcs": "hunter2"}],
            "level": {"every": "hunter2"}, "numbers": [1, "hunter2", 3, 777, "hunter2"],
            "pair": ["hunter2", 1], "secret": 31337, "retries": null, "other": ["hunter2"]
        }"#;
        let found = parse_config::<All>(json).err().unwrap_or_default();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let keys = "backup, inner, inners, level, numbers, pair, path, retries, secret";
        let number = "expected a whole number from 0 to 255";
        assert_eq!(
            found,
            [
                "inners[0]: found a list, expected a mapping with the keys acks, password",
                &format!(
                    "pth: found an unknown key, expected one of: {keys}; did you mean `path`?"
                ),
                "inner.pasword: found an unknown key, expected one of: acks, password; did you mean `password`?",
                &format!("inner.acks: found text, {number}"),
                "inners[2].aks: found an unknown key, expected one of: acks, password; did you mean `acks`?",
                "inners[2]: missing field `acks`",
                "inners[3].akcs: found an unknown key, expected one of: acks, password; did you mean `acks`?",
                "level.every: found text, expected a whole number from 0 to 4294967295",
                &format!("numbers[1]: found text, {number}"),
                &format!("numbers[3]: found a number, {number}"),
                &format!("numbers[4]: found text, {number}"),
                "pair[0]: found text that cannot be used here",
                "secret: found a number, expected text; write the secret in quotes",
                &format!("other: found an unknown key, expected one of: {keys}"),
                "missing field `path`",
                "missing field `backup`",
            ]
        );
    }

    #[test]
    fn a_list_that_is_wrong_throughout_is_not_read_without_end() {
        let json = format!(r#"{{"topics": [{}5]}}"#, "5,".repeat(99_999));
        assert_eq!(faults(&json).len(), 100);
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        assert_eq!(
            faults(r#"{"connection": {"acks": "one"}}"#),
            ["connection.acks: found text, expected a whole number from 0 to 255"]
        );
        assert_eq!(
            faults(r#"{"topics": ["a", 5]}"#),
            ["topics[1]: found a number, expected text"]
        );
        assert_eq!(
            faults("[1]"),
            ["found a list, expected a mapping with the keys connection, topics"]
        );
    }

    /// A type whose deserializer repeats the refused value, as many do.
    #[derive(JsonSchema, Debug)]
    #[schemars(transparent)]
    struct Loud(#[allow(dead_code)] String);

    impl<'de> Deserialize<'de> for Loud {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            Err(match text.split_once(' ') {
                Some(("unit", _)) => de::Error::unknown_variant(&text, &["a"]),
                Some(("field", _)) => de::Error::unknown_field(&text, &["a"]),
                Some(("value", _)) => de::Error::invalid_value(de::Unexpected::Str(&text), &"a"),
                Some(("named", _)) => de::Error::custom(format!("missing field `{text}`")),
                _ => de::Error::custom(format!("cannot parse {text:?}")),
            })
        }
    }

    #[derive(Deserialize, JsonSchema, Debug)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code)]
    enum Level {
        Low,
        High,
        Every(u32),
    }

    #[derive(Deserialize, JsonSchema, Debug)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Many {
        One(u16),
        Some(Vec<String>),
    }

    #[derive(Deserialize, JsonSchema, Debug)]
    #[allow(dead_code)]
    struct Odd {
        needed: bool,
        loud: Option<Loud>,
        louds: Option<Vec<Loud>>,
        level: Option<Level>,
        many: Option<Many>,
        inner: Option<Inner>,
        free: Option<std::collections::BTreeMap<String, i64>>,
        #[serde(alias = "delay_ms")]
        delay: Option<f64>,
        #[serde(default, deserialize_with = "null_is_default")]
        letter: char,
    }

    #[test]
    fn no_value_is_repeated_whatever_the_deserializer_says() {
        let level = "expected one of: low, high or a mapping with the key every";
        let many = "expected a whole number from 0 to 65535 or a list of texts";
        let inner = "expected a mapping with the keys acks, password";
        for (key, value, sentence) in [
            (
                "loud",
                r#""hunter2""#,
                "loud: found text that cannot be used here".to_owned(),
            ),
            (
                "loud",
                r#""unit hunter2""#,
                "loud: found text that cannot be used here".to_owned(),
            ),
            (
                "loud",
                r#""field hunter2""#,
                "loud: found text that cannot be used here".to_owned(),
            ),
            (
                "loud",
                r#""value hunter2""#,
                "loud: found text that cannot be used here".to_owned(),
            ),
            (
                "loud",
                r#""named hunter2""#,
                "loud: found text that cannot be used here".to_owned(),
            ),
            (
                "louds",
                r#"["hunter2"]"#,
                "louds[0]: found text that cannot be used here".to_owned(),
            ),
            (
                "level",
                r#""hunter2""#,
                format!("level: found text, {level}"),
            ),
            ("level", "5", format!("level: found a number, {level}")),
            (
                "level",
                r#"{"hunter2": 1}"#,
                format!("level: found a mapping, {level}"),
            ),
            (
                "level",
                r#"{"every": "hunter2"}"#,
                "level.every: found text, expected a whole number from 0 to 4294967295".to_owned(),
            ),
            ("many", r#""hunter2""#, format!("many: found text, {many}")),
            (
                "many",
                r#"["a", {"hunter2": 1}]"#,
                format!("many: found a list, {many}"),
            ),
            ("many", "31337", String::new()),
            (
                "inner",
                r#""hunter2""#,
                format!("inner: found text, {inner}"),
            ),
            (
                "inner",
                r#"["hunter2"]"#,
                format!("inner: found a list, {inner}"),
            ),
            (
                "inner",
                r#"{"password": "x"}"#,
                "inner: missing field `acks`".to_owned(),
            ),
            (
                "inner",
                r#"{"acks": 31337}"#,
                "inner.acks: found a number, expected a whole number from 0 to 255".to_owned(),
            ),
            (
                "free",
                r#"{"a": "hunter2"}"#,
                "free.a: found text, expected a whole number".to_owned(),
            ),
            (
                "delay",
                r#""hunter2""#,
                "delay: found text, expected a number".to_owned(),
            ),
            (
                "letter",
                r#""hunter2""#,
                "letter: found text that cannot be used here".to_owned(),
            ),
        ] {
            let json = format!(r#"{{"needed": true, "{key}": {value}}}"#);
            let found = parse_config::<Odd>(&json).err().unwrap_or_default();
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.join("\n"), sentence, "{json}");
        }
    }

    #[test]
    fn a_key_that_is_missing_or_given_twice_is_named() {
        let twice = parse_config::<Odd>(r#"{"needed": true, "delay": 1, "delay_ms": 2}"#);
        assert_eq!(
            twice.expect_err("one key twice")[0].to_string(),
            "found the key `delay` twice, once under an alias; keep only one"
        );
        let missing = parse_config::<Odd>("{}").expect_err("a key is missing");
        assert_eq!(missing[0].to_string(), "missing field `needed`");
        let broken = parse_config::<Odd>("{hunter2").expect_err("no JSON");
        assert_eq!(
            broken[0].to_string(),
            "found a configuration that is not JSON"
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
        for (wrong, kind) in [
            ("31337", "a number"),
            ("-31337", "a number"),
            ("313.37", "a number"),
            ("true", "a boolean"),
            (r#"["31337"]"#, "a list"),
            (r#"{"31337": null}"#, "a mapping"),
        ] {
            let json = format!(r#"{{"connection": {{"acks": 1, "password": {wrong}}}}}"#);
            assert_eq!(
                faults(&json),
                [format!(
                    "connection.password: found {kind}, expected text; write the secret in quotes"
                )]
            );
        }
    }
}
