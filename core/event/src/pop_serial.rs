//! How pop-serial, the serializer of Idem's event bus, writes values that JSON lacks.
//!
//! A set has no order in Rust, so its JSON differs from run to run, and serde's form of a time is
//! not what listeners of Idem's events know. These functions are for serde's `serialize_with`:
//!
//! ```
//! use std::collections::HashSet;
//! use std::time::{Duration, SystemTime};
//!
//! use evbus_event::Event;
//! use serde::Serialize;
//!
//! #[derive(Serialize)]
//! struct Report {
//!     #[serde(serialize_with = "evbus_event::pop_serial::set")]
//!     hosts: HashSet<&'static str>,
//!     #[serde(serialize_with = "evbus_event::pop_serial::datetime")]
//!     started: SystemTime,
//! }
//!
//! let event = Event::builder("idem-custom").unwrapped(&Report {
//!     hosts: ["web", "db"].into(),
//!     started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_210_096),
//! })?;
//! assert_eq!(
//!     String::from_utf8_lossy(event.body()),
//!     r#"{"hosts":["db","web"],"#.to_owned()
//!         + r#""started":"datetime.datetime(2024, 2, 29, 12, 34, 56, tzinfo=datetime.timezone.utc)"}"#
//! );
//! # Ok::<(), evbus_event::EventError>(())
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use serde::ser::{Error as _, Serialize, Serializer};

/// Writes a set as a sorted sequence. Texts are sorted as in Python, by their code points.
///
/// # Errors
///
/// Those of the serializer.
pub fn set<'a, C, T, S>(set: &'a C, serializer: S) -> Result<S::Ok, S::Error>
where
    &'a C: IntoIterator<Item = &'a T>,
    T: Ord + Serialize + 'a,
    S: Serializer,
{
    let mut items: Vec<&T> = set.into_iter().collect();
    items.sort_unstable();
    serializer.collect_seq(items)
}

/// Writes a time as the text that Python's `repr` makes of a `datetime` in UTC. It is cut to whole
/// microseconds.
///
/// # Errors
///
/// The time is before 1970 or after 2553; or those of the serializer.
pub fn datetime<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let time_unix_ns = time
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .ok_or_else(|| {
            S::Error::custom("found a time before 1970 or after 2553, expected one in between")
        })?;
    // `2024-02-29T12:34:56.789012`, of which `repr` leaves out the last parts that are zero.
    let stamp = evbus_wire::stamp(time_unix_ns);
    let mut parts: Vec<u64> = stamp
        .split(['-', 'T', ':', '.'])
        .filter_map(|part| part.parse().ok())
        .collect();
    while parts.len() > 5 && parts.last() == Some(&0) {
        parts.pop();
    }
    let parts: Vec<String> = parts.iter().map(u64::to_string).collect();
    serializer.collect_str(&format_args!(
        "datetime.datetime({}, tzinfo=datetime.timezone.utc)",
        parts.join(", ")
    ))
}
