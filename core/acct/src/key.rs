//! A mapping's key: the name that the host knows it by, and the value that Python takes it for.

use super::emit;
use super::node::{Foreign, Value};
use super::place::Place;
use super::scalar;

/// A mapping's key as it was written, and where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// It was written without quotes, so that Python may take `5672` for a number and `on` for a
    /// boolean. The host takes every key for text.
    pub(crate) plain: bool,
}

/// What decides whether two keys are one to Python, which takes `1`, `1.0` and `true` for the same.
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

    /// The key that a value makes, named as YAML would write it; none where it cannot be a key.
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

    /// The value that Python takes it for.
    pub(crate) fn meaning(&self) -> Value {
        if self.plain
            && let Ok(value) = scalar::plain(&self.name)
        {
            return value;
        }
        Value::text(&*self.name)
    }

    /// Equal for keys of which Python keeps one.
    pub(crate) fn identity(&self) -> Identity {
        match self.meaning() {
            Value::Null => Identity::Null,
            Value::Bool(value) => Identity::Number(u8::from(value).to_string()),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                // Exact, as Python's comparison is; it has no -0 beside 0 either.
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
