//! Version 1 of the contract, frozen from release 0.1.0 on.
//!
//! [`PluginV1`] is what a plugin exports. [`ProviderV1`] makes [`InstanceV1`]s, each of which takes
//! [`BatchV1`]es of [`EventV1`]s and answers through a [`CompletionV1`]. [`MatcherFnsV1`] compiles
//! pattern sets into [`PatternSetV1`]s. [`HostV1`] is what an instance may ask of the host.

mod batch;
mod completion;
mod host;
mod matcher;
mod outcome;
mod plugin;
mod provider;

pub use batch::{AttributeV1, BatchV1, EventV1, ViewsV1};
pub use completion::CompletionV1;
pub use host::{HostObjectV1, HostV1, LevelV1, LinkV1};
pub use matcher::{MatcherFnsV1, MatchesV1, PatternFaultV1, PatternSetObjectV1, PatternSetV1};
pub use outcome::{BatchOutcomeV1, ExceptionV1, FateV1, OutcomeCodeV1, OutcomeV1};
pub use plugin::{InfoV1, PluginV1, PluginV1Ref};
pub use provider::{
    ConfigFaultV1, ConnectFailureV1, ConnectOutcomeV1, InstanceObjectV1, InstanceV1, LimitsV1,
    ProviderV1,
};
