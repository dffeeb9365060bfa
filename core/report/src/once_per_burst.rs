//! Log lines about frequent occurrences.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long nothing may happen until it is worth a line again.
const QUIET: Duration = Duration::from_secs(10);

/// Something that occurs in bursts, to be logged once per burst.
#[derive(Debug, Default)]
pub struct OncePerBurst {
    last: Mutex<Option<Instant>>,
}

impl OncePerBurst {
    /// Nothing has happened yet.
    pub const fn new() -> Self {
        Self {
            last: Mutex::new(None),
        }
    }

    /// Records an occurrence. Returns whether it begins a burst: nothing has occurred in the 10 seconds
    /// before.
    pub fn begins(&self) -> bool {
        self.begins_at(Instant::now())
    }

    fn begins_at(&self, now: Instant) -> bool {
        let last = self.last.lock().replace(now);
        last.is_none_or(|last| now.saturating_duration_since(last) > QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_on_until_nothing_happens_for_a_while() {
        let burst = OncePerBurst::new();
        let start = Instant::now();
        let at = |seconds| burst.begins_at(start + Duration::from_secs(seconds));
        assert!(at(0));
        assert!(!at(0));
        assert!(!at(9));
        assert!(!at(18), "it has not been quiet since");
        assert!(at(29));
        assert!(!at(30));
    }
}
