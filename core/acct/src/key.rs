//! A mapping's key: the name that the host knows it by, and the value that Python takes it for.

use std::fmt::Write as _;

use super::emit;
use super::node::{Foreign, Value};
use super::place::Place;
use super::scalar;

/// A mapping's key as it was written, and where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// Whether it was written without quotes, so that Python may read `5672` as a number and `on` as a boolean. The
    /// host reads every key as text.
    pub(crate) plain: bool,
}

/// Determines whether two keys are equal in Python, where `1`, `1.0` and `true` are.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    Null,
    /// A whole number's digits, or another number's shortest form.
    Number(String),
    Text(String),
}

impl Key {
    /// A text as a key.
    pub(crate) fn text(name: &str, place: Place) -> Self {
        Self {
            name: name.to_owned(),
            place,
            plain: false,
        }
    }

    /// A value as a key, named as YAML would write it; `None` if it cannot be a key.
    pub(crate) fn of(value: &Value, place: Place) -> Option<Self> {
        let name = match value {
            Value::Text(name) => return Some(Self::text(name, place)),
            Value::NotJson(Foreign::Binary(bytes)) => {
                let name = std::str::from_utf8(bytes).ok()?;
                return Some(Self::text(name, place));
            }
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => emit::number(number),
            Value::NotJson(Foreign::NotFinite(number)) => emit::not_finite(*number).to_owned(),
            Value::NotJson(Foreign::TooBig(digits)) => digits.to_string(),
            Value::NotJson(Foreign::Set(_) | Foreign::Extension)
            | Value::List(_)
            | Value::Map(_) => return None,
        };
        Some(Self {
            name,
            place,
            plain: true,
        })
    }

    /// The value that Python reads.
    pub(crate) fn meaning(&self) -> Value {
        if self.plain
            && let Ok(value) = scalar::plain(&self.name)
        {
            return value;
        }
        Value::text(&*self.name)
    }

    /// Equal for keys that are the same in a Python dictionary.
    pub(crate) fn identity(&self) -> Identity {
        match self.meaning() {
            Value::Null => Identity::Null,
            Value::Bool(value) => Identity::Number(u8::from(value).to_string()),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                // Exact, like Python's comparison, which has no -0 beside 0 either.
                Some(float) if float.fract() == 0.0 => {
                    Identity::Number(format!("{:.0}", float + 0.0))
                }
                _ => Identity::Number(number.to_string()),
            },
            Value::NotJson(Foreign::NotFinite(number)) => Identity::Number(number.to_string()),
            Value::NotJson(Foreign::TooBig(digits)) => Identity::Number(digits.to_string()),
            _ => Identity::Text(self.name.clone()),
        }
    }
}

/// The keys and positions that lead to a value, as they are read.
#[derive(Default)]
pub(crate) struct KeyPath {
    text: String,
    /// How long the text is without each step.
    steps: Vec<usize>,
}

impl KeyPath {
    /// Goes to the value of a key.
    pub(crate) fn enter(&mut self, key: &str) {
        self.steps.push(self.text.len());
        if !self.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(key);
    }

    /// Goes to an item of a list.
    pub(crate) fn enter_item(&mut self, index: usize) {
        self.steps.push(self.text.len());
        // Writing to a String cannot fail.
        let _ = write!(self.text, "[{index}]");
    }

    /// Goes back.
    pub(crate) fn leave(&mut self) {
        self.text.truncate(self.steps.pop().unwrap_or(0));
    }

    /// The dotted path of a key of the mapping that is being read.
    pub(crate) fn of(&mut self, key: &str) -> String {
        self.enter(key);
        let path = self.text.clone();
        self.leave();
        path
    }
}
