//! The cases that hold for every plugin.
//!
//! ```no_run
//! # async fn example() {
//! use evbus_testkit::{built, conformance::Conformance};
//! use serde_json::json;
//!
//! Conformance::open(&built("plugin-file"))
//!     .config(json!({"path": "/tmp/events.jsonl"}))
//!     .run()
//!     .await
//!     .assert_passes();
//! # }
//! ```
//!
//! What a plugin does only on demand (rejecting, being slow) is for its own tests. The library runs
//! in the test's process: a plugin that exits or crashes ends the test, which names the case in its
//! output.

mod configuration;
mod delivery;
mod matcher;
mod report;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

pub use matcher::MatcherConformance;
pub use report::{Case, Report};

use crate::{ConnectFailure, Harness, Instance, TestEvent, idem_events};

/// The suite for one provider and one configuration that reaches a working far system.
#[derive(Debug)]
pub struct Conformance {
    harness: Harness,
    config: Value,
    second_config: Option<Value>,
    free_form: Vec<String>,
    events: Vec<TestEvent>,
    large_event_bytes: usize,
    within: Duration,
}

impl Conformance {
    /// The suite for a plugin.
    pub fn new(harness: Harness) -> Self {
        Self {
            harness,
            config: Value::Object(serde_json::Map::new()),
            second_config: None,
            free_form: Vec::new(),
            events: idem_events(),
            large_event_bytes: 64 * 1024 * 1024,
            within: Duration::from_mins(1),
        }
    }

    /// The suite for a shared library. Panics when it cannot be opened.
    pub fn open(library: &Path) -> Self {
        match Harness::open(library) {
            Ok(harness) => Self::new(harness),
            Err(failure) => panic!("{failure}\n{}", failure.detail),
        }
    }

    /// A configuration that works; the more keys it has, the more is tested. Default `{}`.
    #[must_use]
    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    /// The configuration of the second of two instances at once. Default: that of the first.
    #[must_use]
    pub fn second_config(mut self, config: Value) -> Self {
        self.second_config = Some(config);
        self
    }

    /// An object of the configuration that takes any key, such as `connection.client_properties`.
    #[must_use]
    pub fn free_form(mut self, path: &str) -> Self {
        self.free_form.push(path.to_owned());
        self
    }

    /// The events of an ordinary batch. Default: those of a real Idem run.
    #[must_use]
    pub fn events(mut self, events: Vec<TestEvent>) -> Self {
        self.events = events;
        self
    }

    /// Size of the body of the very large event. Default 64 MiB.
    #[must_use]
    pub fn large_event_bytes(mut self, bytes: usize) -> Self {
        self.large_event_bytes = bytes;
        self
    }

    /// The longest that one case may take. Default one minute.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Runs all cases, one after the other.
    pub async fn run(&self) -> Report {
        let mut report = Report::new(self.harness.id());
        self.run_configuration(&mut report);
        self.run_delivery(&mut report).await;
        report
    }

    /// Connects as a host does: again, if the plugin says that it may work later.
    async fn connect(&self, config: &Value) -> Result<Instance, String> {
        loop {
            match self.harness.connect(config).await {
                Ok(instance) => return Ok(instance),
                // The time limit of the case ends the loop.
                Err(ConnectFailure::Retry(_)) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(failure) => return Err(format!("connect failed: {failure}")),
            }
        }
    }
}

/// Fails a case with a formatted sentence unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($sentence:tt)+) => {
        if !$condition {
            return Err(format!($($sentence)+));
        }
    };
}
pub(crate) use ensure;
