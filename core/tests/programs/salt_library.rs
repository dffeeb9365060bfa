//! The real Salt library, in three releases at once, against a running host: every documented
//! behaviour of its event library.
//!
//! Salt 3006.30 uses the host's directory of prefixed frames, 3007.13 and 3008.5 the one of bare
//! frames; see `docs/EVENT_SOCKETS.md`.
mod asynchronous;
mod bus;
mod firing;
mod listening;
mod programs;
mod python;
mod restart;
mod values;

use serde_json::Value;

/// Data without the time that every event has; it must have one.
#[track_caller]
fn without_stamp(mut data: Value) -> Value {
    let stamp = data.as_object_mut().and_then(|data| data.remove("_stamp"));
    assert!(stamp.is_some_and(|stamp| stamp.is_string()), "{data}");
    data
}
