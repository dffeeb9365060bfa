//! How large batches are, and when another is handed over while the brokers have not answered those before it.
//!
//! An idempotent producer has one request in flight to a partition. Messages that have lingered behind it cost a
//! processor, because librdkafka's thread looks without a pause for a chance to send them
//! (`rd_kafka_toppar_producer_serve`). So a batch follows while the one before it still lingers, to go with it; or while
//! the brokers answer so fast that it hardly lingers. Behind brokers that are far away, or that have stopped answering,
//! it waits in this plugin.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use evbus_sdk::tokio::sync::oneshot;

use crate::config::Headers;

/// The bodies, profiles and tags of a batch; with the headers they are less than a broker's limit of 1 MB.
const BATCH_BYTES: u64 = 600 * 1024;

/// Brokers that take longer for a batch are far away, or busy.
const FAST: Duration = Duration::from_millis(4);

/// The most events of a batch that goes to so many topics, which is the number of messages for each of them.
pub(crate) fn batch_events(headers: Headers, topics: usize) -> u32 {
    let messages = match headers {
        Headers::All => 2000,
        Headers::Compact | Headers::None => 3000,
    };
    let topics = u32::try_from(topics).unwrap_or(u32::MAX);
    (messages / topics.max(1)).max(1)
}

/// The most bytes of such a batch.
pub(crate) fn batch_bytes(topics: usize) -> u64 {
    (BATCH_BYTES / (topics as u64).max(1)).max(1)
}

/// The batches without all their reports, and how fast the brokers answered those before.
pub(crate) struct Pace {
    linger: Duration,
    /// The oldest first.
    unanswered: VecDeque<Unanswered>,
    /// How long the last batch took, of the time when it was the only one.
    took: Duration,
    last_answer: Option<Instant>,
}

struct Unanswered {
    since: Instant,
    answer: oneshot::Receiver<Instant>,
}

/// Held by a batch until it has all its reports.
pub(crate) struct Answering(oneshot::Sender<Instant>);

impl Answering {
    pub(crate) fn answered(self) {
        // The pace may be gone, with the instance.
        let _ = self.0.send(Instant::now());
    }
}

impl Pace {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            linger,
            unanswered: VecDeque::new(),
            took: Duration::ZERO,
            last_answer: None,
        }
    }

    /// Waits until another batch may be handed over.
    pub(crate) async fn admit(&mut self) {
        loop {
            self.take_answers();
            if self.may_follow(Instant::now()) {
                return;
            }
            if let Some(oldest) = self.unanswered.front_mut() {
                let answer = (&mut oldest.answer).await.ok();
                self.take_answer(answer);
            }
        }
    }

    /// Takes note of a batch that is about to be handed over.
    pub(crate) fn begin(&mut self) -> Answering {
        let (answering, answer) = oneshot::channel();
        let since = Instant::now();
        self.unanswered.push_back(Unanswered { since, answer });
        Answering(answering)
    }

    fn may_follow(&self, now: Instant) -> bool {
        let Some(oldest) = self.unanswered.front() else {
            return true;
        };
        let age = now.saturating_duration_since(oldest.since);
        age < self.linger || (self.unanswered.len() == 1 && self.took < FAST && age < 2 * FAST)
    }

    fn take_answers(&mut self) {
        while let Some(oldest) = self.unanswered.front_mut() {
            let answer = match oldest.answer.try_recv() {
                Ok(answer) => Some(answer),
                Err(oneshot::error::TryRecvError::Closed) => None,
                Err(oneshot::error::TryRecvError::Empty) => return,
            };
            self.take_answer(answer);
        }
    }

    /// The oldest batch has its answer; without a time if it was given up.
    fn take_answer(&mut self, answer: Option<Instant>) {
        let Some(batch) = self.unanswered.pop_front() else {
            return;
        };
        if let Some(answer) = answer {
            let alone = self
                .last_answer
                .map_or(batch.since, |last| last.max(batch.since));
            self.took = answer.saturating_duration_since(alone);
            self.last_answer = Some(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    const LINGER: Duration = Duration::from_millis(2);

    /// Whether a batch that comes after this time may be handed over at once.
    fn follows(pace: &Pace, after: Duration) -> bool {
        let first = pace.unanswered.front().expect("a batch is unanswered");
        pace.may_follow(first.since + after)
    }

    #[test]
    fn a_batch_joins_those_that_linger() {
        let mut pace = Pace::new(LINGER);
        pace.took = Duration::from_secs(1);
        let _answering = [pace.begin(), pace.begin(), pace.begin()];
        assert!(follows(&pace, LINGER / 2));
        assert!(!follows(&pace, LINGER));
    }

    #[test]
    fn one_batch_waits_behind_another_where_brokers_answer_fast() {
        let mut pace = Pace::new(LINGER);
        let _first = pace.begin();
        assert!(follows(&pace, FAST));
        // They have stopped answering.
        assert!(!follows(&pace, 2 * FAST));
        let _second = pace.begin();
        assert!(!follows(&pace, FAST));
    }

    #[test]
    fn no_batch_waits_behind_another_where_brokers_are_slow() {
        let mut pace = Pace::new(LINGER);
        let first = pace.begin();
        let slow = pace.unanswered[0].since + 2 * FAST;
        first.0.send(slow).expect("the pace waits for it");
        pace.take_answers();
        assert!(pace.unanswered.is_empty());
        let _second = pace.begin();
        assert!(!follows(&pace, LINGER));
    }

    #[test]
    fn a_batch_that_has_to_wait_is_admitted_with_the_answer_of_the_oldest_or_when_that_is_given_up()
    {
        for is_answered in [true, false] {
            let mut pace = Pace::new(Duration::ZERO);
            pace.took = 2 * FAST;
            let first = pace.begin();
            let mut waiting = Box::pin(pace.admit());
            let mut context = Context::from_waker(Waker::noop());
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            if is_answered {
                first.answered();
            } else {
                drop(first);
            }
            assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(()));
        }
    }
}
