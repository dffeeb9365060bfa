//! The filters that Jinja2 does not have.
//!
//! | filter | gives |
//! |---|---|
//! | `topic` | the text with `_` for whatever Kafka does not allow in the name of a topic |
//! | `strftime(FORMAT, zone="UTC")` | a time as text; `zone` is `"UTC"` or `"local"` |
//! | `regex_search(PATTERN)`, `regex_match(PATTERN)` | the groups of the first match, or none |
//! | `regex_replace(PATTERN, TEXT)` | the text with every match replaced |
//! | `without(KEY...)` | the value without these keys, at any depth |
//! | `only(KEY...)` | the mapping with these keys alone |
//! | `mask(KEY..., with="***")` | the value with the values of these keys replaced, at any depth |
//! | `shorten(LENGTH, end="...")` | the value with its long texts cut, at any depth |
//! | `flatten(separator=".")` | nested mappings and lists as one mapping with keys such as `a.b.0` |
//! | `rename(OLD="new")` | the mapping with other names for some of its keys |

mod patterns;
mod shapes;
mod times;

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, State};

use crate::fault::ours;
use crate::json;

pub(crate) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("topic", topic);
    environment.add_filter("tojson", tojson);
    times::add_to(environment);
    patterns::add_to(environment);
    shapes::add_to(environment);
}

/// The engine's own filter, for a value and an indentation that are not out of all proportion.
fn tojson(
    state: &State<'_, '_>,
    value: &Value,
    indent: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let given = match &indent {
        Some(indent) => Some(indent.clone()),
        None => options.get("indent")?,
    };
    if (given.and_then(|indent| i64::try_from(indent).ok()))
        .is_some_and(|indent| indent > MAX_INDENT)
    {
        return Err(ours(format!(
            "tojson: expected an indentation of at most {MAX_INDENT}"
        )));
    }
    let json = json::written(value).map_err(|fault| ours(fault.to_string()))?;
    state.consume_fuel(json.len() as u64 / 4)?;
    minijinja::filters::tojson(value, indent, options)
}

/// The widest indentation of JSON.
const MAX_INDENT: i64 = 16;

/// The longest name that Kafka takes.
const MAX_TOPIC: usize = 249;

/// Kafka's rule: 1 to 249 of these characters, and neither `.` nor `..`.
fn topic(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let mut topic: String = name
        .chars()
        .take(MAX_TOPIC)
        .map(|c| if allowed(c) { c } else { '_' })
        .collect();
    if matches!(&*topic, "" | "." | "..") {
        topic = "_".repeat(topic.len().max(1));
    }
    topic
}

#[cfg(test)]
mod tests {
    use super::topic;

    #[test]
    fn a_topic_has_a_name_that_kafka_takes() {
        for (name, expected) in [
            ("salt/job/1/ret/web-1.a_b", "salt_job_1_ret_web-1.a_b"),
            ("größe", "gr__e"),
            ("", "_"),
            (".", "_"),
            ("..", "__"),
            ("...", "..."),
        ] {
            assert_eq!(topic(name), expected);
        }
        assert_eq!(topic(&"x".repeat(300)).len(), 249);
    }
}
