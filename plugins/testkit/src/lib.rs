//! Tests for evbus plugins: a harness that plays the host, and a conformance suite.
//!
//! [`Harness`] holds one plugin, linked in or opened from its shared library, connects it, hands it
//! [`TestEvent`]s and shows what it answered, logged and gave back:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use evbus_testkit::{Harness, Outcome, TestEvent, built};
//! use serde_json::json;
//!
//! let harness = Harness::open(&built("fixture-null"))?;
//! let instance = harness.connect(json!({})).await?;
//! let outcomes = instance.publish(vec![TestEvent::json("idem-run", json!({}))]).await;
//! assert_eq!(outcomes, [Outcome::Accepted]);
//! # Ok(())
//! # }
//! ```
//!
//! [`conformance`] runs the cases that hold for every plugin. Everything here is for tests: it
//! panics where a test should fail.

mod build;
pub mod conformance;
mod event;
mod harness;
mod instance;
mod matching;
mod obstacles;
mod seen;

pub use build::{built, built_all, plugin_dir};
pub use evbus_sdk::loader::OpenFailure;
pub use event::{TestEvent, idem_events};
pub use harness::{ConfigFault, ConnectFailure, Harness};
pub use instance::{Answer, Instance, Outcome, Published};
pub use matching::{PatternFault, PatternSet};
pub use obstacles::{named_pipe, odd_files, port_that_answers};
pub use seen::{Link, LogLine, Seen};

/// Severity of a [`LogLine`].
pub use evbus_abi::v1::FateV1 as Fate;
pub use evbus_abi::v1::LevelV1 as Level;
