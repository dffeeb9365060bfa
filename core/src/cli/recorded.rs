//! A recorded event as a line: what `evbus put --events` and `evbus check --events` read, and the provider
//! `file` writes.

use std::time::SystemTime;

use evbus::{Event, EventId};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// What a line must be.
pub(super) const EXPECTED: &str = "{\"profile\": ..., \"body\": ...} as JSON on one line";

/// One line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recorded<B> {
    pub(super) profile: String,
    pub(super) body: B,
    id: Option<String>,
    time: Option<String>,
    /// Those of the body, which has them too.
    #[serde(rename = "tags")]
    _tags: Option<Map<String, Value>>,
    /// How the body stands there, where it is not JSON.
    encoding: Option<String>,
}

/// The event of a line: with its id and time, where the line has them. Whoever receives it a second time
/// knows it by its id.
pub(super) fn event(line: &str) -> Result<Event, String> {
    let recorded: Recorded<&RawValue> =
        serde_json::from_str(line).map_err(|error| format!("expected {EXPECTED}, but {error}"))?;
    if let Some(encoding) = recorded.encoding {
        return Err(format!(
            "the body is not JSON (its encoding is {encoding:?}), so it cannot be fired; record events with `evbus run --serial-plugin json`"
        ));
    }
    let mut builder = Event::builder(recorded.profile);
    if let Some(id) = recorded.id {
        let id: EventId = id.parse().map_err(|_| {
            format!("the id {id:?} is not that of an event, expected one such as 018bcfe5-6800-7000-8000-000000000000")
        })?;
        builder = builder.id(id);
    }
    if let Some(time) = recorded.time {
        builder = builder.time_unix_ns(unix_ns(&time).ok_or_else(|| {
            format!("the time {time:?} is not one, expected it as 2026-11-23T00:17:28.301Z")
        })?);
    }
    builder
        .unwrapped_json(recorded.body.get().to_owned())
        .map_err(|error| error.to_string())
}

fn unix_ns(time: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(time).ok()?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}
