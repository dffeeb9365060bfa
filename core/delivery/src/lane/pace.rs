//! The policy's `rate`: no more than so many events are handed over within any span of a length.

use std::collections::VecDeque;

use evbus_destination::Rate;
use tokio::time::{Duration, Instant};

/// Events that are handed over within this part of a span are counted as if they all were at its end, so that there are
/// never more entries than this.
const PARTS: u32 = 128;

/// What was handed over within the last span.
#[derive(Debug, Default)]
pub(super) struct Pace {
    handed: VecDeque<Handed>,
    sum: u64,
}

#[derive(Debug)]
struct Handed {
    first: Instant,
    last: Instant,
    events: u64,
}

impl Pace {
    /// How many events may be handed over now.
    pub(super) fn room(&mut self, rate: Option<Rate>, now: Instant) -> usize {
        let Some(rate) = rate else {
            // A rate that comes later begins anew.
            self.handed = VecDeque::new();
            self.sum = 0;
            return usize::MAX;
        };
        while let Some(oldest) = self.handed.front()
            && now >= oldest.last + rate.per
        {
            self.sum -= oldest.events;
            self.handed.pop_front();
        }
        usize::try_from(u64::from(rate.events.max(1)).saturating_sub(self.sum))
            .unwrap_or(usize::MAX)
    }

    /// When there is room again, if there is none now.
    pub(super) fn next(&mut self, rate: Option<Rate>, now: Instant) -> Option<Instant> {
        if self.room(rate, now) > 0 {
            return None;
        }
        Some(self.handed.front()?.last + rate?.per)
    }

    /// Events were handed over.
    pub(super) fn hand(&mut self, rate: Option<Rate>, events: usize, now: Instant) {
        let Some(Rate { per, .. }) = rate else { return };
        let events = events as u64;
        self.sum += events;
        let part: Duration = per / PARTS;
        match self.handed.back_mut() {
            Some(latest) if now < latest.first + part => {
                latest.last = now;
                latest.events += events;
            }
            _ => self.handed.push_back(Handed {
                first: now,
                last: now,
                events,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_span_has_more_events_than_the_rate_allows() {
        let per = Duration::from_secs(1);
        let rate = Some(Rate { events: 100, per });
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut handed: Vec<(Duration, usize)> = Vec::new();
        // Steps that do not fit into the parts, with batches of all sizes.
        for step in 0..20_000_u32 {
            let at = Duration::from_micros(u64::from(step) * 977);
            let room = pace.room(rate, start + at);
            let events = room.min(step as usize % 13);
            assert_eq!(pace.next(rate, start + at).is_some(), room == 0);
            if events > 0 {
                pace.hand(rate, events, start + at);
                handed.push((at, events));
            }
            assert!(pace.handed.len() <= PARTS as usize + 1);
        }
        for (position, (begin, _)) in handed.iter().enumerate() {
            let within = handed[position..]
                .iter()
                .take_while(|(at, _)| *at < *begin + per);
            let sum: usize = within.map(|(_, events)| events).sum();
            assert!(sum <= 100, "{sum} from {begin:?} on");
        }
        let total: usize = handed.iter().map(|(_, events)| events).sum();
        // 19.5 s: full speed is reached but for what the parts round.
        assert!((1900..=2000).contains(&total), "{total}");
    }
}
