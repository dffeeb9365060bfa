//! Which values that are written in the file are secrets: those with a key that names a secret, and the logins in
//! URLs and in addresses without a scheme.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use evbus_destination::secret_forms;

/// Words in the names of keys whose values are secrets.
const WORDS: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "jaas",
    "credential",
    "private_key",
    "privatekey",
    "api_key",
    "apikey",
    "access_key",
    "oauthbearer.config",
];
/// Names of keys that are secrets as a whole.
const NAMES: [&str; 2] = ["pass", "pwd"];
/// Endings of keys that are about a secret without being one: the path of its file, an address, a time, a kind.
const ABOUT: [&str; 14] = [
    "file", "path", "location", "url", "uri", "ttl", "seconds", "_ms", ".ms", "timeout",
    "interval", "name", "type", "provider",
];

/// The secrets of a configuration.
pub(crate) fn of(config: &Map<String, Value>) -> Vec<Zeroizing<String>> {
    let mut found = Vec::new();
    take_pairs(config, false, &mut found);
    found
}

fn take_pairs(pairs: &Map<String, Value>, secret: bool, found: &mut Vec<Zeroizing<String>>) {
    for (key, value) in pairs {
        take(value, secret || is_secret(key), found);
    }
}

/// Collects a value's texts if its key, or one above it, is that of a secret; otherwise only logins in it.
fn take(value: &Value, secret: bool, found: &mut Vec<Zeroizing<String>>) {
    match value {
        Value::String(text) if secret => found.push(Zeroizing::new(text.clone())),
        Value::String(text) => found.extend(secret_forms::userinfo(text)),
        Value::Number(number) if secret => found.push(Zeroizing::new(number.to_string())),
        Value::Array(items) => items.iter().for_each(|item| take(item, secret, found)),
        Value::Object(pairs) => take_pairs(pairs, secret, found),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let is_about = ABOUT.iter().any(|end| key.ends_with(end));
    // A certificate is public, but its key is not.
    let is_key = key.contains("key") && key.rsplit(['.', '_']).next() == Some("pem");
    !is_about
        && (NAMES.contains(&key.as_str()) || is_key || WORDS.iter().any(|word| key.contains(word)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_keys_that_say_so_and_logins_in_urls_are_secrets() {
        let config = json!({
            "host": "mq", "login": "me", "token_ttl": 300, "ssl.ca.pem": "public", "oauth.token.url": "http://h:80/a@b", "port": 1, "key": "k", "key_file": "f", "password_file": "f",
            "sasl.password": "one", "Client-Secret": 22, "tokens": ["three", {"a": "four"}],
            "sasl.jaas.config": "five", "pass": true, "ssl.key.pem": "six",
            "mail": "me@h", "note": "at: 12:30", "servers": "u:ni%6ee@h:1,h:2",
            "urls": ["amqp://u:se%20ven@h/", "http://eight@h", "http://h/"],
        });
        let found = of(config.as_object().unwrap());
        let found: Vec<&str> = found.iter().map(|secret| secret.as_str()).collect();
        assert_eq!(
            found,
            [
                "one", "22", "three", "four", "five", "six", "nine", "ni%6ee", "nine", "ni%6ee",
                "se ven", "se%20ven", "eight", "eight"
            ]
        );
    }
}
