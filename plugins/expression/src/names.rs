//! The names that an expression may refer to.
//!
//! | name | value |
//! |---|---|
//! | `profile`, `tag` | the name the event was fired under |
//! | `parts` | that name, split at `/`: a list of texts |
//! | `tags` | the event's tags; those of other kinds than text are looked up in the body |
//! | `body` | the body, parsed |
//! | `message` | the `message` of a body that is an envelope (`tags`, `message`, `run_name`), otherwise the body |
//! | `run_name` | the `run_name` of such a body, otherwise undefined |
//! | `id` | the event's id, as a UUID |
//! | `time` | when it was fired, in seconds since the Unix epoch |
//! | `env` | the environment of the process, without the key of the acct file |
//! | `host` | the name of the machine |

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, State};
use uuid::Uuid;

use crate::Subject;

/// Every name, in alphabetical order.
pub const NAMES: [&str; 11] = [
    "body", "env", "host", "id", "message", "parts", "profile", "run_name", "tag", "tags", "time",
];

/// The environment variable that `env` does not have: it holds the key of the acct file.
pub const HIDDEN_VARIABLE: &str = "ACCT_KEY";

/// The names, with their values for an event, for one evaluation.
#[derive(Debug)]
pub(crate) struct Names<S> {
    subject: S,
    /// The body, once it is referred to.
    body: OnceLock<Result<Value, String>>,
}

impl<S: Subject> Names<S> {
    pub(crate) fn new(subject: S) -> Self {
        Self {
            subject,
            body: OnceLock::new(),
        }
    }

    /// The body; undefined if it cannot be read, which makes the evaluation a fault whatever comes out of it.
    fn body(&self) -> Value {
        let subject = &self.subject;
        let parse = || (subject.parsed()).value(subject.content_type(), subject.body());
        self.body.get_or_init(parse).clone().unwrap_or_default()
    }

    /// Why the body that the expression referred to could not be read.
    pub(crate) fn unread(&self) -> Option<&str> {
        self.body.get()?.as_ref().err().map(String::as_str)
    }
}

impl<S: Subject> Object for Names<S> {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        let subject = &self.subject;
        Some(match name {
            "profile" | "tag" => Value::from(subject.profile()),
            "parts" => subject.profile().split('/').map(Value::from).collect(),
            "tags" => Value::from_object(Tags(Arc::clone(self))),
            "body" => self.body(),
            "message" => {
                let body = self.body();
                of_envelope(&body, "message").unwrap_or(body)
            }
            "run_name" => return of_envelope(&self.body(), "run_name"),
            "id" => {
                let mut text = [0; 36];
                let id = Uuid::from_bytes(subject.id());
                Value::from(&*id.hyphenated().encode_lower(&mut text))
            }
            "time" => Value::from(seconds(subject.time_unix_ns())),
            "env" => ENVIRONMENT.clone(),
            "host" => HOST.clone(),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&NAMES)
    }
}

/// As a number that a double holds to a quarter of a microsecond.
#[allow(clippy::cast_precision_loss)]
fn seconds(unix_ns: u64) -> f64 {
    // Divided in this order, whole microseconds come out as the number that is written with six decimals.
    (unix_ns / 1000) as f64 / 1e6
}

/// A value of a body that is an envelope.
fn of_envelope(body: &Value, key: &str) -> Option<Value> {
    if body.kind() != ValueKind::Map || body.len() != Some(3) {
        return None;
    }
    let has = |key| body.get_attr(key).is_ok_and(|value| !value.is_undefined());
    let is_envelope = ["tags", "message", "run_name"].into_iter().all(has);
    is_envelope.then(|| body.get_attr(key).ok()).flatten()
}

/// The event's tags. The strings among them are at hand; for anything else the body is parsed.
#[derive(Debug)]
struct Tags<S>(Arc<Names<S>>);

impl<S: Subject> Tags<S> {
    fn in_body(&self) -> Option<Value> {
        let tags = self.0.body().get_attr("tags").ok()?;
        (tags.kind() == ValueKind::Map).then_some(tags)
    }
}

impl<S: Subject> Object for Tags<S> {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        let mut found = None;
        self.0.subject.tags(&mut |key, value| {
            if key == name {
                found = Some(Value::from(value));
            }
        });
        found.or_else(|| {
            let value = self.in_body()?.get_attr(name).ok()?;
            (!value.is_undefined()).then_some(value)
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        if let Some(keys) = self.in_body().and_then(|tags| tags.try_iter().ok()) {
            return Enumerator::Values(keys.collect());
        }
        let mut keys = Vec::new();
        self.0
            .subject
            .tags(&mut |key, _| keys.push(Value::from(key)));
        Enumerator::Values(keys)
    }
}

static HOST: LazyLock<Value> = LazyLock::new(|| {
    let system = rustix::system::uname();
    Value::from(&*system.nodename().to_string_lossy())
});

/// As it is when an expression first refers to it.
static ENVIRONMENT: LazyLock<Value> = LazyLock::new(|| {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        (name != HIDDEN_VARIABLE).then(|| Some((name, Value::from(value.into_string().ok()?))))?
    });
    Value::from_object(Environment(variables.collect()))
});

/// `env.NAME`, or `env("NAME", "used if there is none")`.
#[derive(Debug)]
struct Environment(BTreeMap<String, Value>);

impl Object for Environment {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        // Nobody sends all of it somewhere by accident.
        Enumerator::NonEnumerable
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (name, default): (&str, Option<Value>) = minijinja::value::from_args(args)?;
        let found = self.0.get(name).cloned();
        Ok(found.or(default).unwrap_or(Value::UNDEFINED))
    }
}
