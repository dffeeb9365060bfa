//! The host's numbers at random moments.

use serde_json::Value;

use super::Run;
use super::destinations::DESTINATIONS;
use super::support::RunningHost;

/// The numbers of a destination.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Numbers {
    pub(crate) received: u64,
    pub(crate) queued: u64,
    pub(crate) dropped: u64,
    /// Damaged or lost.
    pub(crate) harmed: u64,
}

impl Run<'_> {
    /// Asks the host for its numbers, which must add up, and returns those of each destination; `None` for one that is
    /// not in the acct file.
    pub(crate) fn numbers(&mut self, host: &RunningHost) -> [Option<Numbers>; DESTINATIONS.len()] {
        self.tally.sums += 1;
        let mut all = [None; DESTINATIONS.len()];
        for lane in host.status()["destinations"].as_array().unwrap() {
            let numbers = self.read(lane);
            let pattern = lane["pattern"].as_str().unwrap();
            let Some(number) = (DESTINATIONS.iter()).position(|known| known.pattern == pattern)
            else {
                continue;
            };
            let known = &mut self.harmed[number];
            assert!(
                numbers.harmed >= *known,
                "{known} damaged or lost events were counted before: {lane}"
            );
            *known = numbers.harmed;
            assert!(
                numbers.dropped == 0 || DESTINATIONS[number].drops,
                "its policy drops nothing: {lane}"
            );
            all[number] = Some(numbers);
        }
        all
    }

    fn read(&self, lane: &Value) -> Numbers {
        let count = |name: &str| lane[name].as_u64().unwrap();
        let harmed = count("damaged") + count("lost");
        let dead = count("dead_lettered");
        let dropped = count("dropped") + count("deduplicated");
        let sum = count("accepted") + dead + dropped + harmed + count("queued");
        assert_eq!(sum, count("received"), "{lane}");
        assert!(
            self.harms || dead + harmed == 0,
            "nothing was damaged: {lane}"
        );
        Numbers {
            received: count("received"),
            queued: count("queued"),
            dropped: count("dropped"),
            harmed,
        }
    }
}
