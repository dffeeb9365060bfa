//! Keys of a configuration that have another value for each event.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use evbus_expression::places::TEMPLATE_KEYWORD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::{Event, Outcome};

/// A text of a configuration in which `${ EXPRESSION }` stands for a value of the event: use it in place of `String`
/// where an operator may want another text for each event.
///
/// The expressions are Jinja's; docs/EXPRESSIONS.md lists the names and filters they have. `$${` stands for `${`. A text
/// without an expression is a constant and costs nothing for an event. Expressions are compiled when the configuration is
/// read; one that cannot be compiled is a fault of the configuration, with its line and column.
///
/// ```
/// use evbus_sdk::Template;
///
/// let topic = Template::new("jobs-${ parts[1] | topic }")?;
/// assert_eq!(topic.constant(), None);
/// assert_eq!(Template::new("jobs")?.constant(), Some("jobs"));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(evbus_expression::Template);

impl Template {
    /// Compiles a template that no configuration has, such as a default.
    ///
    /// # Errors
    ///
    /// An expression that cannot be compiled: what is wrong, with line and column.
    pub fn new(text: &str) -> Result<Self, String> {
        evbus_expression::Template::compile(text)
            .map(Self)
            .map_err(|fault| fault.to_string())
    }

    /// The text for every event, if there is no expression in it.
    pub fn constant(&self) -> Option<&str> {
        self.0.constant()
    }

    /// The text before the first expression: all of it, if there is none.
    pub fn prefix(&self) -> &str {
        self.0.prefix()
    }

    /// The text for an event, of at most 1 MiB.
    ///
    /// Blocks for at most some hundredths of a second, however costly the expression is.
    ///
    /// # Errors
    ///
    /// An expression has no value for this event, or one other than text, a number or a boolean. Such an event can never be
    /// delivered: answer with [`TemplateFault::outcome`].
    pub fn text(&self, event: Event<'_>) -> Result<Cow<'_, str>, TemplateFault> {
        match self.0.constant() {
            Some(text) => Ok(Cow::Borrowed(text)),
            None => {
                (self.0.text(&event.subject())).map_err(|fault| TemplateFault(fault.to_string()))
            }
        }
    }
}

/// Why a template has no text for an event, in one line. It shows no value of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault(String);

impl TemplateFault {
    /// The outcome of the event: rejected, because the template at this key of the configuration fails for it.
    pub fn outcome(&self, key: &str) -> Outcome {
        Outcome::rejected(format!("the template of `{key}` fails: {self}"))
    }

    fn of_value(expected: &str) -> Self {
        Self(format!("it gives something else than {expected}"))
    }
}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateFault {}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A template with a fault is taken out, and reported in its own words, before it comes here.
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&text).map_err(D::Error::custom)
    }
}

impl JsonSchema for Template {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", TEMPLATE_KEYWORD: true })
    }
}

/// A value of a configuration that is the same for all events, or a [`Template`] whose text is read as one: use it in
/// place of a number.
///
/// A text without an expression is read as the value, too, so that both `3` and `"3"` are a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Templated<T> {
    /// The same for all events.
    Constant(T),
    /// Another one for each event.
    Template(Template),
}

impl<T: FromStr + Clone> Templated<T> {
    /// The value for an event. `expected` says in words what it should be, such as `a number from 0 to 255`.
    ///
    /// # Errors
    ///
    /// As [`Template::text`]; also if the text is not a `T`.
    pub fn value(&self, event: Event<'_>, expected: &str) -> Result<T, TemplateFault> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Template(template) => {
                let text = template.text(event)?;
                (text.trim().parse()).map_err(|_| TemplateFault::of_value(expected))
            }
        }
    }
}

impl<T> Templated<T> {
    /// The value, if it is the same for all events.
    pub fn constant(&self) -> Option<&T> {
        match self {
            Self::Constant(value) => Some(value),
            Self::Template(_) => None,
        }
    }
}

impl<'de, T: Deserialize<'de> + FromStr> Deserialize<'de> for Templated<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given<T> {
            // First: `T` may be read from any text.
            Text(String),
            Value(T),
            Other(IgnoredAny),
        }

        let unfit = || D::Error::custom("expected a value or a template");
        match Given::deserialize(deserializer)? {
            Given::Value(value) => Ok(Self::Constant(value)),
            Given::Text(text) => {
                let template = Template::new(&text).map_err(D::Error::custom)?;
                match template.constant() {
                    Some(text) => text.parse().map(Self::Constant).map_err(|_| unfit()),
                    None => Ok(Self::Template(template)),
                }
            }
            Given::Other(_) => Err(unfit()),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Templated<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Templated_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [value, {
            "type": "string",
            TEMPLATE_KEYWORD: true,
            "x-expected": "a template such as `${ tags.type }`",
        }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_config;

    #[derive(Deserialize, JsonSchema, Debug)]
    struct Config {
        topic: Template,
        partition: Option<Templated<u8>>,
    }

    fn faults(json: &str) -> Vec<String> {
        let found = parse_config::<Config>(json).err().unwrap_or_default();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_template_that_cannot_be_compiled_is_reported_in_its_own_words() {
        let found = faults(r#"{"topic": "a-${ profil }", "partition": "${ 1 +}"}"#);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("topic: line 1, column 6: unknown name `profil`"),
            "{found:?}"
        );
        assert!(
            found[1].starts_with("partition: line 1, column "),
            "{found:?}"
        );
    }

    #[test]
    fn a_number_may_be_a_template_or_a_text() {
        let read = |value: &str| {
            let json = format!(r#"{{"topic": "t", "partition": {value}}}"#);
            parse_config::<Config>(&json).map(|config| {
                assert_eq!(config.topic.constant(), Some("t"));
                config.partition
            })
        };
        let constant = |value| Ok(Some(Templated::Constant(value)));
        assert_eq!(read("3"), constant(3));
        assert_eq!(read(r#""3""#), constant(3));
        assert!(matches!(
            read(r#""${ tags.n }""#),
            Ok(Some(Templated::Template(_)))
        ));
        assert_eq!(
            faults(r#"{"topic": 1, "partition": "x"}"#),
            [
                "topic: found a number, expected text",
                "partition: found text, expected a whole number from 0 to 255 or a template such as `${ tags.type }`",
            ]
        );
    }
}
