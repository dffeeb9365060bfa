//! `idem-low`: the low data of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Body, Chunk, Documented, Tags};

/// The tag `type` of [`LowEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LowType {
    /// `state-low-data`
    StateLowData,
}

/// `idem-low`: a run's low data, all compiled states.
///
/// ```json
/// {
///   "tags": {"ref": "idem.run.init.start", "type": "state-low-data"},
///   "message": [
///     {
///       "name": "Name of the state", "state": "Reference on the hub to state plugin",
///       "fun": "The state function name", "__sls__": "The sls source",
///       "__id__": "The state id, usually it will be the same as name", "order": 100000
///     }
///   ],
///   "run_name": "The user supplied run-name"
/// }
/// ```
///
/// Source: Idem's documentation, "Event Profiles", idem-low. Idem 25 fires the functions' arguments
/// beside the documented keys.
pub type LowEvent = Body<Tags<LowType>, Vec<Chunk>>;

impl Documented for LowEvent {
    const PROFILE: &'static str = "idem-low";
}

impl LowEvent {
    /// The low data of a run.
    pub fn new(states: Vec<Chunk>) -> Self {
        Self::tagged(
            Some("idem.run.init.start".to_owned()),
            LowType::StateLowData,
            states,
        )
    }
}
