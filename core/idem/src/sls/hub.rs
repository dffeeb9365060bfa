//! Idem's hub, as far as templates fire events with it.

use std::fmt;
use std::sync::Arc;

use evbus_wire::Finite;
use minijinja::value::{Enumerator, Kwargs, Object, ValueKind, from_args};
use minijinja::{Error, State, Value};
use serde::ser::{Error as _, Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::Value as Json;
use serde_json::value::to_raw_value;

use super::Firing;
use evbus_event::python_float;
use evbus_event::{Event, EventBuilder};
use evbus_jinja::Refusal;

/// The functions that a template can call.
const FUNCTIONS: [(&str, Layer, Firing); 4] = [
    ("hub.idem.event.put", Layer::Idem, Firing::Put),
    ("hub.idem.event.put_nowait", Layer::Idem, Firing::PutNowait),
    ("hub.evbus.broker.put", Layer::Broker, Firing::Put),
    (
        "hub.evbus.broker.put_nowait",
        Layer::Broker,
        Firing::PutNowait,
    ),
];

/// The deepest nesting of a body, which may be put into an envelope.
const MAX_DEPTH: usize = evbus_event::MAX_DEPTH - 1;

/// The layer of Idem that fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// Puts the envelope around the body.
    Idem,
    /// Leaves the body as it is.
    Broker,
}

type Fire = dyn Fn(Event, Firing) -> Result<(), String> + Send + Sync;

/// Where a template's events go.
pub(super) struct Firer {
    run_name: String,
    fire: Box<Fire>,
}

impl Firer {
    pub(super) fn new(
        run_name: &str,
        fire: impl Fn(Event, Firing) -> Result<(), String> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            run_name: run_name.to_owned(),
            fire: Box::new(fire),
        })
    }
}

/// The hub, or something on it.
pub(super) struct Hub {
    /// Its name in a template.
    path: String,
    bus: Arc<Firer>,
    refused: Refusal,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl Hub {
    pub(super) fn root(bus: Arc<Firer>, refused: Refusal) -> Value {
        Value::from_object(Self {
            path: "hub".to_owned(),
            bus,
            refused,
        })
    }

    fn child(&self, name: &str) -> Option<Self> {
        let path = format!("{}.{name}", self.path);
        let leads_on = |function: &str| {
            (function.strip_prefix(&path))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        FUNCTIONS
            .iter()
            .any(|(function, ..)| leads_on(function))
            .then(|| Self {
                path,
                bus: Arc::clone(&self.bus),
                refused: self.refused.clone(),
            })
    }

    fn unknown(&self, path: &str) -> Error {
        self.refuse(&format!(
            "unknown function {path}, expected one of {}; correct the name",
            FUNCTIONS.map(|(name, ..)| name).join(", ")
        ))
    }

    fn refuse(&self, message: &str) -> Error {
        self.refused.error(message.to_owned())
    }

    fn call_it(&self, args: &[Value]) -> Result<Value, Error> {
        let Some((name, layer, firing)) = FUNCTIONS.iter().find(|(name, ..)| *name == self.path)
        else {
            return Err(self.unknown(&self.path));
        };
        let parameters: &[&str] = match layer {
            Layer::Idem => &["body", "profile", "tags"],
            Layer::Broker => &["body", "profile"],
        };
        let arguments = self.arguments(name, parameters, args)?;
        let [body, profile, tags] = arguments;
        let body = body
            .ok_or_else(|| self.refuse(&format!("{name} is called without a body; add body=")))?;
        let body = to_raw_value(&Finite(&Body(&body, MAX_DEPTH))).map_err(|_| {
            self.refuse(&format!(
                "the body for {name} contains an undefined value, a number that JSON cannot represent, or more than {MAX_DEPTH} levels; correct the body"
            ))
        })?;
        let mut builder = match profile.filter(|profile| !profile.is_none()) {
            None => EventBuilder::default(),
            Some(profile) => match profile.as_str() {
                Some(profile) => Event::builder(profile),
                None => {
                    return Err(self.refuse(&format!(
                        "the profile for {name} is not text; pass the name of a profile"
                    )));
                }
            },
        };
        if let Some(tags) = tags.filter(|tags| !tags.is_none()) {
            let Ok(Json::Object(tags)) = serde_json::to_value(Finite(&Body(&tags, MAX_DEPTH)))
            else {
                return Err(self.refuse(&format!(
                    "the tags for {name} are not a map; pass one such as {{\"ref\": \"a\"}}"
                )));
            };
            builder = builder.tags(tags);
        }
        let event = match layer {
            Layer::Idem => builder.run_name(&*self.bus.run_name).message(&body),
            Layer::Broker => builder.unwrapped(&body),
        };
        event
            .map_err(|error| error.to_string())
            .and_then(|event| (self.bus.fire)(event, *firing))
            .map_err(|reason| self.refused.error(format!("{name}: {reason}")))?;
        Ok(Value::from(()))
    }

    /// The arguments of a call in the order of the parameters; `None` for those that were not passed.
    fn arguments(
        &self,
        name: &str,
        parameters: &[&str],
        args: &[Value],
    ) -> Result<[Option<Value>; 3], Error> {
        let (positional, named): (&[Value], Kwargs) = from_args(args)?;
        let wrong = || {
            self.refuse(&format!(
                "wrong arguments for {name}, expected {}, each at most once; correct them",
                parameters.join(", ")
            ))
        };
        if positional.len() > parameters.len() {
            return Err(wrong());
        }
        let mut given = [const { None }; 3];
        for (at, parameter) in parameters.iter().enumerate() {
            given[at] = positional.get(at).cloned();
            if named.has(parameter) {
                if given[at].is_some() {
                    return Err(wrong());
                }
                given[at] = Some(named.get(parameter)?);
            }
        }
        named.assert_all_used().map_err(|_| wrong())?;
        Ok(given)
    }
}

impl Object for Hub {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        // A value that is itself the error: any use of it in a template fails with this sentence.
        let unknown = || Value::from(self.unknown(&format!("{}.{name}", self.path)));
        Some(self.child(name).map_or_else(unknown, Value::from_object))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        self.call_it(args)
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let child = self.child(method).unwrap_or_else(|| Self {
            path: format!("{}.{method}", self.path),
            bus: Arc::clone(&self.bus),
            refused: self.refused.clone(),
        });
        child.call_it(args)
    }
}

/// A value as Python's `json` writes it; an error beyond this many levels.
struct Body<'a>(&'a Value, usize);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value, depth) = self;
        let fault = || S::Error::custom("it has no form in JSON");
        let depth = depth.checked_sub(1).ok_or_else(fault)?;
        match value.kind() {
            ValueKind::None => serializer.serialize_unit(),
            ValueKind::Bool => serializer.serialize_bool(value.is_true()),
            ValueKind::String => serializer.serialize_str(value.as_str().ok_or_else(fault)?),
            ValueKind::Number if value.is_integer() => {
                let number = i128::try_from((*value).clone()).map_err(|_| fault())?;
                serializer.serialize_i128(number)
            }
            ValueKind::Number => {
                let number = f64::try_from((*value).clone()).map_err(|_| fault())?;
                serializer.serialize_f64(number)
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let mut items = serializer.serialize_seq(None)?;
                for item in value.try_iter().map_err(|_| fault())? {
                    items.serialize_element(&Body(&item, depth))?;
                }
                items.end()
            }
            ValueKind::Map => {
                let mut entries = serializer.serialize_map(None)?;
                for key in value.try_iter().map_err(|_| fault())? {
                    let item = value.get_item(&key).map_err(|_| fault())?;
                    let name = key_text(&key).ok_or_else(fault)?;
                    entries.serialize_entry(&name, &Body(&item, depth))?;
                }
                entries.end()
            }
            _ => Err(fault()),
        }
    }
}

/// A key as Python's `json` writes it.
fn key_text(key: &Value) -> Option<String> {
    match key.kind() {
        ValueKind::None => Some("null".to_owned()),
        ValueKind::Bool => Some(key.is_true().to_string()),
        ValueKind::Number if !key.is_integer() => {
            let number = f64::try_from(key.clone()).ok()?;
            number.is_finite().then(|| python_float(number))
        }
        ValueKind::String | ValueKind::Number => Some(key.to_string()),
        _ => None,
    }
}
