//! `idem-run`: a state's output.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::presence::{Comment, Nullable, given, nullable};
use crate::{Body, Documented, Tags};

/// A state's output with its metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// The state's name.
    pub name: String,
    /// The state's id.
    #[serde(rename = "__id__")]
    pub id: String,
    /// States with lower numbers ran first. Idem 25 does not fire it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schemars(with = "i64")]
    pub order: Option<i64>,
    /// The run number of the state.
    #[serde(rename = "__run_num")]
    pub run_num: u64,
    /// What the state changed.
    pub changes: Map<String, Value>,
    /// The comment of the state.
    pub comment: Comment,
    /// The key of this state in Idem's cache of managed states.
    pub esm_tag: String,
    /// The key of this state in Idem's table of runs.
    pub tag: String,
    /// The resource after the run; any JSON value.
    pub new_state: Value,
    /// The resource before the run; any JSON value.
    pub old_state: Value,
    /// Whether the state ran successfully; null if nothing was done, as in a test run.
    #[serde(deserialize_with = "nullable")]
    #[schemars(with = "Nullable<bool>")]
    pub result: Option<bool>,
    /// Any other keys that Idem fires, such as `start_time` and `total_seconds`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl RunResult {
    /// The output of a state that changed nothing. Its tags are the ones that Idem builds from the state plugin
    /// `state`, the id `name` and the function `fun`.
    pub fn new(name: &str, state: &str, fun: &str, run_num: u64, result: bool) -> Self {
        let esm_tag = format!("{state}_|-{name}_|-{name}_|-");
        Self {
            name: name.to_owned(),
            id: name.to_owned(),
            order: None,
            run_num,
            changes: Map::new(),
            comment: Comment::Lines(Vec::new()),
            tag: format!("{esm_tag}{fun}"),
            esm_tag,
            new_state: Value::Null,
            old_state: Value::Null,
            result: Some(result),
            more: Map::new(),
        }
    }
}

/// The tag `type` of [`RunEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunType {
    /// `state-result`
    StateResult,
}

/// `idem-run`: the output of a state with complete meta-data.
///
/// ```json
/// {
///   "tags": {
///     "ref": "idem.rules.init.run", "type": "state-result",
///     "acct_details": "Information that can link this event to acct credentials"
///   },
///   "message": {
///     "name": "Name of the state", "__id__": "The state id", "order": 100000, "__run_num": 1,
///     "changes": {}, "comment": "A comment supplied by the state",
///     "esm_tag": "The key used to store this state in the ESM cache",
///     "tag": "The key used to store this state in the RUNS internal structure",
///     "new_state": {}, "old_state": {}, "result": true
///   },
///   "run_name": "The user supplied run-name"
/// }
/// ```
///
/// Source: Idem's documentation, "Event Profiles", idem-run. Idem 25 omits `order`, and fires a
/// list as the comment, the state function as `ref` (null if it finds none), and additional keys.
pub type RunEvent = Body<Tags<RunType>, RunResult>;

impl Documented for RunEvent {
    const PROFILE: &'static str = "idem-run";
}

impl RunEvent {
    /// The output of a state.
    pub fn new(output: RunResult) -> Self {
        Self::tagged(
            Some("idem.rules.init.run".to_owned()),
            RunType::StateResult,
            output,
        )
    }
}
