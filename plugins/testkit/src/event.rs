//! Events to publish in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use evbus_abi::RSlice;
use evbus_abi::v1::EventV1;
use serde_json::Value;

/// One event; cheap to clone.
///
/// Ids ascend in the order in which a test process makes its events.
#[derive(Clone)]
pub struct TestEvent {
    id: [u8; 16],
    time_unix_ns: u64,
    attempt: u32,
    profile: String,
    content_type: &'static str,
    body: Arc<[u8]>,
    attributes: Vec<(String, String)>,
}

impl TestEvent {
    /// An event with a JSON body. String values among the body's `tags` become attributes, as the
    /// host makes them.
    pub fn json(profile: &str, body: impl std::borrow::Borrow<Value>) -> Self {
        let body = body.borrow();
        let mut event = Self::bytes(profile, "application/json", body.to_string().into_bytes());
        for (key, value) in body["tags"].as_object().into_iter().flatten() {
            if let Value::String(value) = value {
                event = event.tag(key, value);
            }
        }
        event
    }

    /// An event with a text body.
    pub fn text(profile: &str, body: &str) -> Self {
        Self::bytes(profile, "text/plain", body)
    }

    /// An event with any body.
    pub fn bytes(profile: &str, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);

        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut id = [0; 16];
        id[..6].copy_from_slice(&since_epoch.as_millis().to_be_bytes()[10..]);
        id[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Self {
            id,
            time_unix_ns: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
            attempt: 1,
            profile: profile.to_owned(),
            content_type,
            body: body.into().into(),
            attributes: Vec::new(),
        }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.attributes.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sets the id.
    #[must_use]
    pub fn id(mut self, id: [u8; 16]) -> Self {
        self.id = id;
        self
    }

    /// Sets when it was fired, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn time_unix_ns(mut self, time: u64) -> Self {
        self.time_unix_ns = time;
        self
    }

    /// Sets which attempt this is, from 1.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// The name it is fired under.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as JSON; panics if it is not JSON.
    pub fn body_json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body of this test event is JSON")
    }

    /// The id as plugins show it, a UUID.
    pub fn id_text(&self) -> String {
        evbus_sdk::EventId(self.id).to_string()
    }

    /// The same event at its next attempt.
    pub(crate) fn again(mut self) -> Self {
        self.attempt += 1;
        self
    }

    pub(crate) fn view(&self) -> EventV1<'_> {
        EventV1 {
            id: self.id,
            time_unix_ns: self.time_unix_ns,
            attempt: self.attempt,
            profile: self.profile.as_str().into(),
            content_type: self.content_type.into(),
            body: RSlice::from_slice(&self.body),
            attributes: RSlice::EMPTY,
        }
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl std::fmt::Debug for TestEvent {
    // A body may be tens of megabytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestEvent")
            .field("id", &self.id_text())
            .field("profile", &self.profile)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The 33 events that a real Idem run fired, in its order.
pub fn idem_events() -> Vec<TestEvent> {
    include_str!("../fixtures/idem-events.jsonl")
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("the fixture holds JSON lines");
            let profile = line["profile"].as_str().expect("every line has a profile");
            TestEvent::json(profile, &line["body"])
        })
        .collect()
}
