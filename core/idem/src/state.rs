//! `idem-state`: before and after a state function.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::presence::{Comment, Nullable, given, nullable};
use crate::{Body, Documented, Tags};

/// The arguments of a call of a state function.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct StateCall {
    /// The context it runs in.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schemars(with = "StateContext")]
    pub ctx: Option<StateContext>,
    /// The keyword arguments as documented; Idem fires them as `more`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schemars(with = "Map<String, Value>")]
    pub kwargs: Option<Map<String, Value>>,
    /// The state's name.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schemars(with = "String")]
    pub name: Option<String>,
    /// The arguments as Idem fires them.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The context a state function runs in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateContext {
    /// The run's name.
    pub run_name: String,
    /// Whether it is a test run, which changes nothing.
    pub test: bool,
    /// Any other keys that Idem fires.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The tag `type` of [`StatePreEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StatePreType {
    /// `state-pre`
    StatePre,
}

/// `idem-state`, before: a state function is about to be called.
///
/// ```json
/// {
///   "tags": {
///     "ref": "Reference on the hub to the state function that fired the event",
///     "type": "state-pre",
///     "acct_details": "Information that can link this event to acct credentials"
///   },
///   "message": {
///     "Name of the state": {
///       "The reference to the state function": {
///         "ctx": {"run_name": "The run_name specified on the cli", "test": false},
///         "kwargs": {},
///         "name": "Name of the state"
///       }
///     }
///   },
///   "run_name": "The user supplied run-name"
/// }
/// ```
///
/// Source: Idem's documentation, "Event Profiles", idem-state, pre. Idem 25 fires the arguments beside
/// `ctx` and `name`, and omits some keys.
pub type StatePreEvent = Body<Tags<StatePreType>, BTreeMap<String, BTreeMap<String, StateCall>>>;

impl Documented for StatePreEvent {
    const PROFILE: &'static str = "idem-state";
}

impl StatePreEvent {
    /// The state `name` is about to call the function `reference`.
    pub fn new(name: &str, reference: &str, call: StateCall) -> Self {
        let calls = BTreeMap::from([(reference.to_owned(), call)]);
        Self::tagged(
            Some(reference.to_owned()),
            StatePreType::StatePre,
            BTreeMap::from([(name.to_owned(), calls)]),
        )
    }
}

/// What a state function returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateReturn {
    /// What it changed; Idem omits it if the function does not report it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schemars(with = "Map<String, Value>")]
    pub changes: Option<Map<String, Value>>,
    /// The comment of the function.
    pub comment: Comment,
    /// The state's name.
    pub name: String,
    /// Whether it succeeded; null if nothing was done, as in a test run.
    #[serde(deserialize_with = "nullable")]
    #[schemars(with = "Nullable<bool>")]
    pub result: Option<bool>,
    /// Any other keys that it returned, such as `old_state` and `new_state`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The tag `type` of [`StatePostEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StatePostType {
    /// `state-post`
    StatePost,
}

/// `idem-state`, after: a state function has returned.
///
/// ```json
/// {
///   "tags": {
///     "ref": "Reference on the hub to the state function that fired the event",
///     "type": "state-post",
///     "acct_details": "Information that can link this event to acct credentials"
///   },
///   "message": {
///     "changes": {"old": [], "new": []}, "comment": "", "name": "Name of the state", "result": true
///   },
///   "run_name": "The user supplied run-name"
/// }
/// ```
///
/// Source: Idem's documentation, "Event Profiles", idem-state, post. Idem 25 fires a list as the comment,
/// `old_state` and `new_state` beside the documented keys, and may omit `changes`.
pub type StatePostEvent = Body<Tags<StatePostType>, StateReturn>;

impl Documented for StatePostEvent {
    const PROFILE: &'static str = "idem-state";
}

impl StatePostEvent {
    /// The state `name` called the function `reference`, which succeeded or failed without changing anything. Set the
    /// fields of `message` to add details.
    pub fn new(name: &str, reference: &str, result: bool) -> Self {
        Self::tagged(
            Some(reference.to_owned()),
            StatePostType::StatePost,
            StateReturn {
                changes: Some(Map::new()),
                comment: Comment::Text(String::new()),
                name: name.to_owned(),
                result: Some(result),
                more: Map::new(),
            },
        )
    }
}

/// Either event of the profile `idem-state`, for readers that accept both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StateEvent {
    /// Before the call.
    Pre(StatePreEvent),
    /// After the call.
    Post(StatePostEvent),
}
