//! Event ids.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// 16 bytes that identify an event, in the form of a version 7 UUID: 48 bits of milliseconds since
/// the Unix epoch, then a counter, then bits drawn once per process.
///
/// Ids of one thread ascend as long as the clock does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId([u8; 16]);

/// How many counter values a thread takes at a time, so that threads rarely meet.
const BLOCK: u64 = 1024;

static NEXT_BLOCK: AtomicU64 = AtomicU64::new(0);

/// 42 bits; the standard library's hasher is seeded from the system's randomness.
static PROCESS: LazyLock<u64> =
    LazyLock::new(|| RandomState::new().hash_one(std::process::id()) & ((1 << 42) - 1));

thread_local! {
    static COUNTER: Cell<u64> = const { Cell::new(0) };
}

impl EventId {
    /// A new id for an event fired at `time_unix_ns`.
    pub fn new(time_unix_ns: u64) -> Self {
        let counter = COUNTER.with(|counter| {
            let mut value = counter.get();
            if value % BLOCK == 0 {
                value = NEXT_BLOCK.fetch_add(BLOCK, Ordering::Relaxed);
            }
            counter.set(value + 1);
            value
        });
        let milliseconds = u128::from(time_unix_ns / 1_000_000) & ((1 << 48) - 1);
        let counter = u128::from(counter & 0xffff_ffff);
        let id = milliseconds << 80
            | 0x7 << 76
            | (counter >> 20) << 64
            | 0b10 << 62
            | (counter & 0xf_ffff) << 42
            | u128::from(*PROCESS);
        Self(id.to_be_bytes())
    }

    /// The id with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A text that is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected 32 hexadecimal digits, in groups of 8, 4, 4, 4 and 12 joined by `-`")
    }
}

impl std::error::Error for NotAnId {}

impl FromStr for EventId {
    type Err = NotAnId;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        // Other forms of a UUID have other lengths.
        if text.len() != Hyphenated::LENGTH {
            return Err(NotAnId);
        }
        let id = Uuid::try_parse(text).map_err(|_| NotAnId)?;
        Ok(Self(id.into_bytes()))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

/// Now, in nanoseconds since the Unix epoch.
pub fn now_unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_nanos()
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_many_threads_are_unique_and_ascend_per_thread() {
        let time = now_unix_ns();
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(move || (0..5000).map(|_| EventId::new(time)).collect()))
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            let ids: Vec<EventId> = thread.join().expect("the thread makes ids");
            assert!(ids.is_sorted());
            all.extend(ids);
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 20_000);
    }

    #[test]
    fn an_id_reads_as_a_version_7_uuid() {
        let id = EventId::new(1_700_000_000_000_000_000);
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        for wrong in [
            "",
            "1",
            &text[1..],
            &text.replace('-', ""),
            &text.replace('-', "+"),
        ] {
            assert_eq!(wrong.parse::<EventId>(), Err(NotAnId), "{wrong:?}");
        }
        assert!(text.starts_with("018bcfe5-6800-7"), "{text}");
        assert!(
            matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'),
            "{text}"
        );
        assert_eq!(text.len(), 36);
    }
}
