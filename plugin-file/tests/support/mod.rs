//! What the tests of this crate share.
// Each test file uses only a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use evbus_testkit::{Harness, Instance, Outcome, TestEvent};
use plugin_file::FileProvider;
use serde_json::{Value, json};

/// Far longer than anything here takes.
pub(crate) const WITHIN: Duration = Duration::from_mins(1);

pub(crate) fn harness() -> Harness {
    Harness::provider::<FileProvider>()
}

pub(crate) async fn connect(config: Value) -> Instance {
    let connected = harness().connect(config).await;
    connected.expect("the file can be opened")
}

/// Distinguishable events: their bodies are `{"n": N}` for every N of the range.
pub(crate) fn numbered(range: std::ops::Range<usize>) -> Vec<TestEvent> {
    range
        .map(|n| TestEvent::json("idem-run", json!({"n": n})))
        .collect()
}

/// Publishes and expects every event to be accepted.
pub(crate) async fn accepted(instance: &Instance, events: Vec<TestEvent>) {
    let outcomes = instance.publish_all(events, WITHIN).await;
    let refused = outcomes
        .iter()
        .find(|outcome| **outcome != Outcome::Accepted);
    assert_eq!(refused, None);
}

/// The lines of a file, each as JSON; the file must end with a whole line.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the file is text");
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "an unfinished line"
    );
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

/// The numbers of [`numbered`] events in a file.
pub(crate) fn numbers(path: &Path) -> Vec<u64> {
    let number = |line: &Value| line["body"]["n"].as_u64().expect("a numbered event");
    lines(path).iter().map(number).collect()
}
