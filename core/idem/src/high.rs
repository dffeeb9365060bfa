//! `idem-high`: the high data of an SLS source.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Body, Documented, Tags};

/// The rendered states of one id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = allow_dunder_keys)]
pub struct HighState {
    /// The stem, or name, of the SLS source.
    #[serde(rename = "__sls__")]
    pub sls: String,
    /// The calls by the reference of their state plugin (see [`calls`](Self::calls)). Keys that begin with two
    /// underscores are not plugins, and their values may be anything.
    #[serde(flatten)]
    #[schemars(with = "BTreeMap<String, Vec<Call>>")]
    pub states: Map<String, Value>,
}

impl HighState {
    /// Calls of the state plugin `state`, rendered from the SLS source `sls`.
    pub fn new(sls: &str, state: &str, calls: Vec<Call>) -> Self {
        let calls = calls.into_iter().map(Value::from).collect();
        Self {
            sls: sls.to_owned(),
            states: Map::from_iter([(state.to_owned(), Value::Array(calls))]),
        }
    }

    /// The calls of a state plugin; none if there is no such key.
    pub fn calls(&self, state: &str) -> Vec<Call> {
        let calls = self.states.get(state).and_then(Value::as_array);
        calls
            .into_iter()
            .flatten()
            .filter_map(|call| match call {
                Value::String(function) => Some(Call::Function(function.clone())),
                Value::Object(arguments) => Some(Call::Arguments(arguments.clone())),
                _ => None,
            })
            .collect()
    }
}

/// One item in the list of calls of a state plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Call {
    /// The function's name.
    Function(String),
    /// Arguments by name; Idem fires one per item.
    Arguments(Map<String, Value>),
}

impl From<Call> for Value {
    fn from(call: Call) -> Self {
        match call {
            Call::Function(function) => Self::String(function),
            Call::Arguments(arguments) => Self::Object(arguments),
        }
    }
}

impl JsonSchema for Call {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Call".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({"type": ["string", "object"]})
    }
}

fn allow_dunder_keys(schema: &mut schemars::Schema) {
    schema.insert("patternProperties".to_owned(), json!({"^__": true}));
}

/// The tag `type` of [`HighEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HighType {
    /// `state-high-data`
    StateHighData,
}

/// `idem-high`: the rendered high data of an SLS source.
///
/// ```json
/// {
///   "tags": {"ref": "idem.sls_source.init.gather", "type": "state-high-data"},
///   "message": {
///     "Reference on the hub to the state plugin": {
///       "__sls__": "The stem/name of the sls source",
///       "The reference to the state plugin": ["The reference to the state function"]
///     }
///   },
///   "run_name": "The user supplied run-name"
/// }
/// ```
///
/// Source: Idem's documentation, "Event Profiles", idem-high. Idem 25 fires the id of the state as the
/// outer key, and the function's arguments as objects in the list.
pub type HighEvent = Body<Tags<HighType>, BTreeMap<String, HighState>>;

impl Documented for HighEvent {
    const PROFILE: &'static str = "idem-high";
}

impl HighEvent {
    /// The high data of an SLS source, by id.
    pub fn new(states: BTreeMap<String, HighState>) -> Self {
        Self::tagged(
            Some("idem.sls_source.init.gather".to_owned()),
            HighType::StateHighData,
            states,
        )
    }
}
