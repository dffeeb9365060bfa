//! Which values of an entry are secrets although they stand in the file: those whose key says so, and
//! the logins of URLs.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::secret_forms;

/// What the name of a secret's key holds.
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
/// How the key of a file ends, which has the secret or is it; its path is a name, as every other.
const FILES: [&str; 3] = ["file", "path", "location"];

/// The secrets of a configuration.
pub(super) fn of(config: &Map<String, Value>) -> Vec<Zeroizing<String>> {
    let mut found = Vec::new();
    take_pairs(config, false, &mut found);
    found
}

fn take_pairs(pairs: &Map<String, Value>, secret: bool, found: &mut Vec<Zeroizing<String>>) {
    for (key, value) in pairs {
        take(value, secret || is_secret(key), found);
    }
}

/// Takes a value's texts where its key, or one above it, is that of a secret; of others the logins.
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
    let is_file = FILES.iter().any(|end| key.ends_with(end));
    !is_file
        && (NAMES.contains(&key.as_str())
            || key.rsplit('.').next() == Some("pem")
            || WORDS.iter().any(|word| key.contains(word)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_keys_that_say_so_and_logins_in_urls_are_secrets() {
        let config = json!({
            "host": "mq", "login": "me", "port": 1, "key": "k", "key_file": "f", "password_file": "f",
            "sasl.password": "one", "Client-Secret": 22, "tokens": ["three", {"a": "four"}],
            "sasl.jaas.config": "five", "pass": true, "ssl.key.pem": "six",
            "urls": ["amqp://u:se%20ven@h/", "http://eight@h", "http://h/"],
        });
        let found = of(config.as_object().unwrap());
        let found: Vec<&str> = found.iter().map(|secret| secret.as_str()).collect();
        assert_eq!(
            found,
            [
                "one", "22", "three", "four", "five", "six", "se ven", "se%20ven", "eight", "eight"
            ]
        );
    }
}
