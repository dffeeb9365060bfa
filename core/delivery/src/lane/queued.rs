//! An event in a lane.

use std::sync::Arc;

use evbus_event::Event;

/// An event that waits for, or is on, its way to the destination.
///
/// There is one for every event and destination, so it is small: what only a failed attempt leaves behind is kept apart.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub event: Arc<Event>,
    /// Its place in the queue, doubled; and one more if it is on disk, too.
    place: u64,
    failed: Option<Box<Failed>>,
}

/// What is known of an event that was not accepted at once.
#[derive(Debug, Clone, Copy, Default)]
struct Failed {
    attempts: u32,
    first_attempt_ns: u64,
    suspect: bool,
    crashes: u32,
}

impl Queued {
    /// A new event at a place of the queue; `stored` if it is on disk, too, or about to be.
    pub(crate) fn new(event: Arc<Event>, seq: u64, stored: bool) -> Self {
        Self {
            event,
            place: (seq << 1) | u64::from(stored),
            failed: None,
        }
    }

    /// An event that comes back from the disk after so many attempts.
    pub(crate) fn read_back(event: Arc<Event>, seq: u64, attempts: u32) -> Self {
        let mut queued = Self::new(event, seq, true);
        if attempts > 0 {
            queued.failed().attempts = attempts;
        }
        queued
    }

    /// Its place in the queue.
    pub(crate) fn seq(&self) -> u64 {
        self.place >> 1
    }

    /// Whether it is on disk, too, or about to be.
    pub(crate) fn is_stored(&self) -> bool {
        self.place & 1 == 1
    }

    /// How many attempts it has had.
    pub(crate) fn attempts(&self) -> u32 {
        self.failed.as_ref().map_or(0, |failed| failed.attempts)
    }

    /// When the first of them ended, in nanoseconds since the Unix epoch; 0 before that.
    pub(crate) fn first_attempt_ns(&self) -> u64 {
        (self.failed.as_ref()).map_or(0, |failed| failed.first_attempt_ns)
    }

    /// Whether it was in flight when an instance broke, and is tried alone until that is cleared up.
    pub(crate) fn is_suspect(&self) -> bool {
        self.failed.as_ref().is_some_and(|failed| failed.suspect)
    }

    /// How many instances broke with it alone in flight.
    pub(crate) fn crashes(&self) -> u32 {
        self.failed.as_ref().map_or(0, |failed| failed.crashes)
    }

    /// Counts an attempt that ended at this time.
    pub(crate) fn attempted(&mut self, now_ns: u64) {
        let failed = self.failed();
        failed.attempts += 1;
        if failed.first_attempt_ns == 0 {
            failed.first_attempt_ns = now_ns;
        }
    }

    /// Notes that the instance broke over it, alone or with others, or that it did not.
    pub(crate) fn suspected(&mut self, suspect: bool, alone: bool) {
        if suspect || self.is_suspect() {
            let failed = self.failed();
            failed.suspect = suspect;
            failed.crashes += u32::from(suspect && alone);
        }
    }

    fn failed(&mut self) -> &mut Failed {
        self.failed.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Queued;

    #[test]
    fn a_queued_event_takes_three_words() {
        // A thousand destinations may have a thousand events each.
        assert_eq!(size_of::<Queued>(), 24);
    }
}
