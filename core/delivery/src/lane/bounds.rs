//! Limits for numbers and texts that come from plugins and far systems.

use std::borrow::Cow;
use std::time::Duration;

use evbus_abi::v1::LimitsV1;

use evbus_destination::{BatchCaps, Retry};
use evbus_report::foreign_text;

/// Most events in a batch, whatever the plugin asks for; the policy's own key goes as far.
const MAX_BATCH_EVENTS: usize = 1_000_000;

/// Most bytes of bodies in a batch.
const MAX_BATCH_BYTES: usize = 1024 * 1024 * 1024;

/// Most batches that are not answered. The lane looks at all of them whenever it does something.
const MAX_IN_FLIGHT: usize = 256;

/// A longer reason is cut: it stands in the log, in status, and in every dead letter of a batch.
const MAX_REASON_BYTES: usize = 2048;

/// How an instance gets its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchBounds {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) in_flight: usize,
}

/// What an instance asks for, within what the policy and the host allow. None of them is 0.
pub(super) fn batches(limits: LimitsV1, caps: &BatchCaps) -> BatchBounds {
    let events = usize::try_from(limits.max_batch_events).unwrap_or(usize::MAX);
    let bytes = usize::try_from(limits.max_batch_bytes).unwrap_or(usize::MAX);
    let in_flight = usize::try_from(limits.max_in_flight).unwrap_or(usize::MAX);
    BatchBounds {
        events: events
            .min(caps.events.unwrap_or(usize::MAX))
            .clamp(1, MAX_BATCH_EVENTS),
        bytes: bytes
            .min(caps.bytes.unwrap_or(usize::MAX))
            .clamp(1, MAX_BATCH_BYTES),
        in_flight: in_flight.clamp(1, MAX_IN_FLIGHT),
    }
}

/// How long to wait before another attempt: the host's backoff, or longer where the far side asks
/// for it, but never longer than the policy's `max_delay`.
pub(super) fn wait(backoff: Duration, asked_ms: u32, retry: &Retry) -> Duration {
    backoff
        .max(Duration::from_millis(asked_ms.into()))
        .min(retry.max_delay)
}

/// A plugin's sentence as one line of bounded length without control characters.
pub fn reason(text: &str) -> Cow<'_, str> {
    foreign_text::line(text, MAX_REASON_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_an_instance_are_neither_zero_nor_boundless() {
        let caps = |events, bytes| BatchCaps { events, bytes };
        let none = caps(None, None);
        for (asked, caps, expected) in [
            ((0, 0, 0), &none, (1, 1, 1)),
            ((500, 1000, 4), &none, (500, 1000, 4)),
            (
                (u32::MAX, u64::MAX, u32::MAX),
                &none,
                (MAX_BATCH_EVENTS, MAX_BATCH_BYTES, MAX_IN_FLIGHT),
            ),
            ((500, 1000, 4), &caps(Some(10), Some(20)), (10, 20, 4)),
            ((5, 10, 1), &caps(Some(10), Some(20)), (5, 10, 1)),
            ((u32::MAX, u64::MAX, 2), &caps(Some(1), Some(1)), (1, 1, 2)),
        ] {
            let limits = LimitsV1 {
                max_batch_events: asked.0,
                max_batch_bytes: asked.1,
                max_in_flight: asked.2,
            };
            let expected = BatchBounds {
                events: expected.0,
                bytes: expected.1,
                in_flight: expected.2,
            };
            assert_eq!(batches(limits, caps), expected, "{asked:?} {caps:?}");
        }
    }

    #[test]
    fn a_wait_that_a_plugin_asks_for_ends_at_the_policys_longest() {
        let retry = Retry {
            max_delay: Duration::from_secs(2),
            ..Retry::default()
        };
        for (backoff, asked, expected) in [
            (100, 0, 100),
            (100, 50, 100),
            (100, 1500, 1500),
            (100, 2000, 2000),
            (100, 2001, 2000),
            (100, u32::MAX, 2000),
            (2000, 1, 2000),
        ] {
            assert_eq!(
                wait(Duration::from_millis(backoff), asked, &retry),
                Duration::from_millis(expected),
                "{backoff} ms, asked for {asked} ms"
            );
        }
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        assert_eq!(reason("a\nERROR forged"), "a ERROR forged");
        let long = reason(&"\u{e9}\n".repeat(4_000_000)).into_owned();
        assert!(long.len() < MAX_REASON_BYTES + 64, "{}", long.len());
        assert!(long.ends_with("(cut: it has 12000000 bytes)"), "{long}");
    }
}
