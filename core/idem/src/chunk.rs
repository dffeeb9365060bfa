//! `idem-chunk`: one compiled state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::presence::given;
use crate::{Body, Documented, Tags};

/// A compiled state, as in events of the profiles `idem-chunk` and `idem-low`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Chunk {
    /// The state's name.
    pub name: String,
    /// Reference on the hub to the state plugin.
    pub state: String,
    /// The state function's name.
    pub fun: String,
    /// The SLS source.
    #[serde(rename = "__sls__")]
    pub sls: String,
    /// The state's id, usually the same as its name.
    #[serde(rename = "__id__")]
    pub id: String,
    /// States with lower numbers run first.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schemars(with = "i64")]
    pub order: Option<i64>,
    /// The function's arguments, and any other keys of the state.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Chunk {
    /// The state `name` of the SLS source `sls`, which calls `fun` of the plugin `state`. Its id is its name, and its
    /// order is not set.
    pub fn new(name: &str, state: &str, fun: &str, sls: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: state.to_owned(),
            fun: fun.to_owned(),
            sls: sls.to_owned(),
            id: name.to_owned(),
            order: None,
            more: Map::new(),
        }
    }
}

/// The tag `type` of [`ChunkEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChunkType {
    /// `state-chunk`, as Idem fires it.
    StateChunk,
    /// `state-post`, as the documentation has it.
    StatePost,
}

/// `idem-chunk`: one fully compiled state, about to run.
///
/// ```json
/// {
///   "tags": {"ref": "Reference on the hub to the state function", "type": "state-chunk"},
///   "message": {
///     "name": "Name of the state", "state": "Reference on the hub to the state plugin",
///     "fun": "Reference on the hub to the state function",
///     "__id__": "The state id, usually same as name", "__sls__": "The sls source", "order": 100000
///   },
///   "run_name": "The user supplied run-name"
/// }
/// ```
///
/// Source: Idem's documentation, "Event Profiles", idem-chunk, which has the type `state-post`; Idem 25
/// fires `state-chunk`, the function's arguments beside the documented keys, and a null `ref` if
/// it finds no function. Both types are read; `state-chunk` is fired.
pub type ChunkEvent = Body<Tags<ChunkType>, Chunk>;

impl Documented for ChunkEvent {
    const PROFILE: &'static str = "idem-chunk";
}

impl ChunkEvent {
    /// A state that is about to run by the function `reference`.
    pub fn new(reference: &str, chunk: Chunk) -> Self {
        Self::tagged(Some(reference.to_owned()), ChunkType::StateChunk, chunk)
    }
}
