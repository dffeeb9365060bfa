//! `idem-esm`: the metadata of managed states.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Body, Documented, Tags};

/// The metadata of Idem's cache of managed states (ESM).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EsmMessage {
    /// The metadata.
    #[serde(rename = "__esm_metadata__")]
    pub metadata: EsmMetadata,
    /// Any other keys.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The metadata of Idem's cache of managed states.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EsmMetadata {
    /// The version of the cache's format: major, minor, patch.
    pub version: Vec<u64>,
    /// Any other keys.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The tag `type` of [`EsmEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EsmType {
    /// `esm-metadata`
    EsmMetadata,
}

/// `idem-esm`: the metadata of the cache of managed states that a run works with.
///
/// ```json
/// {
///   "tags": {"ref": "idem.state.update-status", "type": "esm-metadata"},
///   "message": {"__esm_metadata__": {"version": [2, 0, 0]}},
///   "run_name": "The user supplied run-name"
/// }
/// ```
///
/// Source: Idem 25.0.1, which fires it without documenting it.
pub type EsmEvent = Body<Tags<EsmType>, EsmMessage>;

impl Documented for EsmEvent {
    const PROFILE: &'static str = "idem-esm";
}

impl EsmEvent {
    /// The metadata of a cache in this version of the format.
    pub fn new(version: [u64; 3]) -> Self {
        Self::tagged(
            Some("idem.state.update-status".to_owned()),
            EsmType::EsmMetadata,
            EsmMessage {
                metadata: EsmMetadata {
                    version: version.to_vec(),
                    more: Map::new(),
                },
                more: Map::new(),
            },
        )
    }
}
