//! What an entry gives for an event, without a host: its filter, its body, its templates.

use std::sync::Arc;

use evbus_delivery::Connector;
use evbus_event::{Event, Subject};
use evbus_expression::places::{self, Step};
use evbus_expression::{Expression, Template};
use serde_json::Value;

use super::Planned;

/// With this keyword, a schema says what stands in for a key that is not given; `profile` is the event's.
const DEFAULT_KEYWORD: &str = "x-default";

/// What a key of an entry gives for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The path to the key in the entry, such as `topics[0]` or `evbus.when`.
    pub key: String,
    /// The value as text, or as JSON where it is a body; or why there is none. Secrets of the entry are hidden.
    pub value: Result<String, String>,
}

impl Planned {
    /// What the expressions and templates of the entry give for an event, in the order in which the host uses them.
    ///
    /// Blocks while the plugin is asked for its schema, at most ten seconds.
    ///
    /// # Errors
    ///
    /// The plugin does not say which keys are templates.
    pub fn given(&self, event: &Arc<Event>) -> Result<Vec<Given>, String> {
        let policy = self.policy();
        let mut subject = Subject(Arc::clone(event));
        let mut given = Vec::new();
        if let Some(when) = &policy.when {
            let value = when.is_true(&subject).map(|is_true| is_true.to_string());
            given.push(self.shown("evbus.when".to_owned(), value));
        }
        if let Some(dedup) = &policy.dedup {
            let key = json(&dedup.key, &subject);
            given.push(self.shown("evbus.dedup.key".to_owned(), key));
        }
        if let Some(body) = &policy.body {
            let made = json(body, &subject);
            let other = made.and_then(|json| {
                let other = event.with_json(&json).map_err(|error| error.to_string())?;
                Ok((json, other))
            });
            match other {
                // Templates see the body that the destination gets.
                Ok((json, other)) => {
                    given.push(self.shown("evbus.body".to_owned(), Ok::<_, String>(json)));
                    subject = Subject(Arc::new(other));
                }
                Err(why) => {
                    given.push(self.shown("evbus.body".to_owned(), Err(why)));
                    return Ok(given);
                }
            }
        }
        let schema = self.schema()?.unwrap_or(Value::Bool(true));
        for (steps, text) in places::templates_in(&schema, &self.entry.config) {
            let value = match Template::compile(text) {
                Ok(template) => (template.text(&subject).map(std::borrow::Cow::into_owned))
                    .map_err(|fault| fault.to_string()),
                Err(fault) => Err(fault.to_string()),
            };
            given.push(self.shown(places::path_of(&steps), value));
        }
        Ok(given)
    }

    /// Whether the filter of the entry lets an event pass; an error says why it has no value, which lets it pass, too.
    pub fn lets_pass(&self, event: &Arc<Event>) -> Option<Result<bool, String>> {
        let when = self.policy().when.as_ref()?;
        let subject = Subject(Arc::clone(event));
        Some(when.is_true(&subject).map_err(|fault| fault.to_string()))
    }

    /// The keys that are nothing but the event's profile, by default or as they are written, while the pattern is one of
    /// names with `/`: a far system may not take such a name, or make something of its own for each.
    ///
    /// Blocks while the plugin is asked for its schema, at most ten seconds.
    pub fn named_by_profile(&self) -> Vec<String> {
        if !self.entry.pattern.contains('/') {
            return Vec::new();
        }
        let Ok(Some(schema)) = self.schema() else {
            return Vec::new();
        };
        let config = &*self.entry.config;
        let keys = schema["properties"].as_object().into_iter().flatten();
        let by_default = keys
            .filter(|(key, node)| {
                let is_given = |value: &Value| !value.is_null() && *value != Value::Array(vec![]);
                node[DEFAULT_KEYWORD] == "profile" && !config.get(key).is_some_and(is_given)
            })
            .map(|(key, _)| key.clone());
        let is_bare = |text: &str| {
            let template = Template::compile(text).ok();
            let expression = template.as_ref().and_then(Template::sole_expression);
            matches!(expression, Some("profile" | "tag"))
        };
        let is_name = |steps: &[Step]| match steps.first() {
            Some(Step::Key(key)) => schema["properties"][key][DEFAULT_KEYWORD] == "profile",
            _ => false,
        };
        let as_written = (places::templates_in(&schema, config).into_iter())
            .filter(|(steps, text)| is_name(steps) && is_bare(text))
            .map(|(steps, _)| places::path_of(&steps));
        by_default.chain(as_written).collect()
    }

    fn schema(&self) -> Result<Option<Value>, String> {
        match &self.connector {
            Connector::Plugin(plugin) => plugin.config_schema(),
            Connector::Isolated(isolated) => isolated.plugin().config_schema(),
            Connector::Internal(_) => Ok(None),
        }
    }

    fn shown<F: std::fmt::Display>(&self, key: String, value: Result<String, F>) -> Given {
        let secrets = self.entry.secrets();
        Given {
            key,
            value: match value {
                Ok(value) => Ok(secrets.hide(&value).into_owned()),
                Err(fault) => Err(secrets.hide(&fault.to_string()).into_owned()),
            },
        }
    }
}

fn json(expression: &Expression, subject: &Subject) -> Result<String, String> {
    expression.json(subject).map_err(|fault| fault.to_string())
}
