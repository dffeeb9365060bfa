//! Plays the host for one plugin.

use std::borrow::Borrow;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use evbus_abi::v1::{CompletionV1, ConnectFailureV1, MatcherFnsV1, PluginV1Ref, ProviderV1};
use evbus_abi::{RErr, ROk, ROption, RSlice, RStr};
use evbus_sdk::{Matcher, Provider};
use serde_json::Value;
use tokio::sync::oneshot;

pub use evbus_sdk::ConfigFault;

use crate::seen::Recorder;
use crate::{Instance, OpenFailure, PatternFault, PatternSet, Seen};

/// One plugin, and what it said.
#[derive(Clone)]
pub struct Harness {
    module: PluginV1Ref,
    recorder: Recorder,
}

/// Why there is no instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectFailure {
    /// Another attempt may succeed.
    Retry(String),
    /// Somebody must change something first.
    Permanent(String),
    /// The plugin dropped the attempt without an answer.
    Dropped,
}

impl ConnectFailure {
    /// What the plugin said; empty when it said nothing.
    pub fn reason(&self) -> &str {
        match self {
            Self::Retry(reason) | Self::Permanent(reason) => reason,
            Self::Dropped => "",
        }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(reason) => write!(f, "to be tried again: {reason}"),
            Self::Permanent(reason) => write!(f, "permanent: {reason}"),
            Self::Dropped => f.write_str("the plugin dropped the completion"),
        }
    }
}

impl std::error::Error for ConnectFailure {}

impl From<ConnectFailureV1> for ConnectFailure {
    fn from(failure: ConnectFailureV1) -> Self {
        if failure.permanent {
            Self::Permanent(failure.reason.into())
        } else {
            Self::Retry(failure.reason.into())
        }
    }
}

impl Harness {
    /// A provider that is linked into the test.
    pub fn provider<P: Provider>() -> Self {
        Self::new(evbus_sdk::provider_plugin::<P>("linked-in", "0.0.0", ""))
    }

    /// A matcher that is linked into the test.
    pub fn matcher<M: Matcher>() -> Self {
        Self::new(evbus_sdk::matcher_plugin::<M>("linked-in", "0.0.0", ""))
    }

    /// A plugin in a shared library, which stays mapped until the process ends.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, is not a plugin, or speaks another contract.
    pub fn open(path: &Path) -> Result<Self, OpenFailure> {
        evbus_sdk::loader::open(path).map(Self::new)
    }

    /// A root module, however it was come by.
    pub fn new(module: PluginV1Ref) -> Self {
        Self {
            module,
            recorder: Recorder::default(),
        }
    }

    /// The plugin's id.
    pub fn id(&self) -> &str {
        self.module.info().id.as_str()
    }

    /// The names in acct files that the plugin serves, as a provider or as a matcher.
    pub fn names(&self) -> Vec<String> {
        let names = match (self.module.provider(), self.module.matcher()) {
            (ROption::RSome(provider), _) => (provider.names)(),
            (_, ROption::RSome(matcher)) => (matcher.names)(),
            _ => return Vec::new(),
        };
        names.into_iter().map(String::from).collect()
    }

    /// The JSON Schema of the configuration; panics when it is not JSON.
    pub fn schema(&self) -> Value {
        let schema = (self.provider_functions().config_schema)();
        serde_json::from_str(&schema).expect("the schema is JSON")
    }

    /// What the plugin finds wrong with a configuration; empty when it is usable.
    pub fn check(&self, config: impl Borrow<Value>) -> Vec<ConfigFault> {
        let json = config.borrow().to_string();
        (self.provider_functions().check_config)(RStr::from(json.as_str()))
            .into_iter()
            .map(|fault| ConfigFault::new(fault.path, fault.message))
            .collect()
    }

    /// Connects an instance. Waits for as long as the plugin takes.
    ///
    /// # Errors
    ///
    /// What the plugin said, or that it said nothing.
    pub async fn connect(&self, config: impl Borrow<Value>) -> Result<Instance, ConnectFailure> {
        let json = config.borrow().to_string();
        let recorder = self.recorder.for_instance();
        let (done, answer) = oneshot::channel();
        let completion = CompletionV1::new(move |outcome| {
            // The test may have given up.
            let _ = done.send(outcome);
        });
        (self.provider_functions().connect)(
            RStr::from(json.as_str()),
            self.recorder.host(&recorder),
            completion,
        );
        match answer.await.ok().flatten() {
            Some(ROk(instance)) => Ok(Instance::new(instance, recorder)),
            Some(RErr(failure)) => Err(failure.into()),
            None => Err(ConnectFailure::Dropped),
        }
    }

    /// Compiles a set of patterns.
    ///
    /// # Errors
    ///
    /// The plugin's faults.
    pub fn compile<S: AsRef<str>>(&self, patterns: &[S]) -> Result<PatternSet, Vec<PatternFault>> {
        let patterns: Vec<RStr<'_>> = patterns
            .iter()
            .map(|pattern| RStr::from(pattern.as_ref()))
            .collect();
        match (self.matcher_functions().compile)(RSlice::from_slice(&patterns)) {
            ROk(set) => Ok(PatternSet::new(set)),
            RErr(faults) => Err(faults.into_iter().map(PatternFault::from).collect()),
        }
    }

    /// What all instances said so far, those that never connected included.
    pub fn seen(&self) -> Seen {
        self.recorder.seen()
    }

    /// Waits until the plugin holds no batch and no host of this harness any more.
    ///
    /// # Errors
    ///
    /// One sentence that says what it still holds.
    pub async fn all_given_back(&self, within: Duration) -> Result<(), String> {
        let held = self.recorder.until_nothing_is_held(within).await;
        held.map_err(|held| {
            format!(
                "after {within:?} the plugin still holds {} batches and {} hosts",
                held.batches, held.hosts
            )
        })
    }

    fn provider_functions(&self) -> ProviderV1 {
        match self.module.provider() {
            ROption::RSome(provider) => provider,
            ROption::RNone => panic!("{} serves no provider", self.id()),
        }
    }

    fn matcher_functions(&self) -> MatcherFnsV1 {
        match self.module.matcher() {
            ROption::RSome(matcher) => matcher,
            ROption::RNone => panic!("{} is not a match plugin", self.id()),
        }
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Harness").field(&self.id()).finish()
    }
}
