//! What becomes of events that a plugin has answered for, or has lost.

use std::borrow::Cow;
use std::sync::Arc;

use evbus_abi::v1::{BatchOutcomeV1, FateV1, OutcomeCodeV1, OutcomeV1};
use tokio::time::{Duration, Instant};

use super::backoff;
use super::queue::Queued;
use super::settled::Settled;
use super::worker::Worker;
use crate::event::now_unix_ns;
use crate::store::Burial;

/// An answer in the form in which it is worked through.
struct Answered<'a> {
    events: &'a [Queued],
    /// The instance went down over these events.
    crashed: bool,
    /// There was nothing else in flight: of a single event it is known that it did it.
    alone: bool,
}

/// What is to be done with one event.
enum Verdict {
    Accepted,
    Dead(String),
    Again,
}

impl Worker {
    /// Takes an answer. Returns whether the instance is of no more use.
    pub(super) async fn settle(
        &mut self,
        events: &[Queued],
        outcome: Option<BatchOutcomeV1>,
    ) -> bool {
        let Some(mut outcome) = outcome else {
            let dropped = retry("the plugin dropped the batch without an answer");
            self.settle_alike(events, &dropped, false).await;
            return true;
        };
        if outcome.exceptions.is_empty() && outcome.all.code == OutcomeCodeV1::ACCEPTED {
            let mut settled = Settled::default();
            for queued in events {
                settled.accept(queued);
            }
            self.recovered();
            self.shared.queue.settle(settled);
        } else {
            let exceptions = outcome.exceptions.iter_mut().map(|it| &mut it.outcome);
            for OutcomeV1 { reason, .. } in exceptions.chain([&mut outcome.all]) {
                if let Cow::Owned(hidden) = self.setup.secrets.hide(reason) {
                    *reason = hidden.into();
                }
            }
            let mut outcomes = vec![&outcome.all; events.len()];
            for exception in &outcome.exceptions {
                if let Some(slot) = outcomes.get_mut(exception.index as usize) {
                    *slot = &exception.outcome;
                }
            }
            let answered = Answered {
                events,
                crashed: outcome.instance == FateV1::CRASHED,
                alone: self.in_flight.is_empty(),
            };
            self.settle_each(&answered, &outcomes).await;
        }
        outcome.instance != FateV1::WORKS
    }

    /// Settles events that share an outcome.
    pub(super) async fn settle_alike(
        &mut self,
        events: &[Queued],
        outcome: &OutcomeV1,
        crashed: bool,
    ) {
        let answered = Answered {
            events,
            crashed,
            alone: false,
        };
        self.settle_each(&answered, &vec![outcome; events.len()])
            .await;
    }

    async fn settle_each(&mut self, answered: &Answered<'_>, outcomes: &[&OutcomeV1]) {
        let now = now_unix_ns();
        let total = answered.events.len();
        let mut settled = Settled::default();
        let mut dead = Vec::new();
        let mut again = Vec::new();
        for (queued, outcome) in answered.events.iter().zip(outcomes) {
            let mut queued = queued.clone();
            queued.attempts += 1;
            if queued.first_attempt_ns == 0 {
                queued.first_attempt_ns = now;
            }
            if answered.crashed {
                queued.suspect = true;
                queued.crashes += u32::from(answered.alone && total == 1);
            } else {
                queued.suspect = false;
            }
            match self.verdict(&queued, outcome, now) {
                Verdict::Accepted => settled.accept(&queued),
                Verdict::Dead(error) => {
                    let burial = self.dead(&queued, &error, now);
                    dead.push((Arc::clone(&queued.event), error));
                    settled.bury(&queued, burial);
                }
                Verdict::Again => {
                    settled.retries += 1;
                    again.push((queued, *outcome));
                }
            }
        }
        if let Some((first, outcome)) = again.first() {
            let whole = again.len() == total;
            self.failures = if whole { self.failures + 1 } else { 0 };
            self.shared.observed.error(&outcome.reason);
            if !whole || self.failures.is_power_of_two() {
                tracing::warn!(
                    "destination {}: {} of {total} events will be tried again (attempt {} failed): {}",
                    self.shared.destination(),
                    again.len(),
                    first.attempts,
                    outcome.reason
                );
            }
            self.delay(again, whole);
        } else if !answered.crashed {
            self.recovered();
        }
        self.shared.queue.settle(settled);
        // Told after they have been counted, so that nobody sees an error event of a live event.
        for (event, error) in dead {
            (self.on_dead)(&self.shared, &event, &error);
        }
        if let Some(journal) = self.shared.queue.journal() {
            // Dead letters must not fill the memory where the disk takes none.
            journal.room().await;
        }
    }

    fn verdict(&self, queued: &Queued, outcome: &OutcomeV1, now: u64) -> Verdict {
        let limits = &self.setup.policy.retry;
        let age = Duration::from_nanos(now.saturating_sub(queued.event.time_unix_ns()));
        let reason = &outcome.reason;
        match outcome.code {
            OutcomeCodeV1::ACCEPTED => Verdict::Accepted,
            OutcomeCodeV1::REJECTED => Verdict::Dead(format!("rejected: {reason}")),
            _ if limits.max_crashes.is_some_and(|max| queued.crashes >= max) => {
                Verdict::Dead(format!(
                    "given up after the plugin went down over it {} times: {reason}",
                    queued.crashes
                ))
            }
            _ if limits
                .max_attempts
                .is_some_and(|max| queued.attempts >= max) =>
            {
                Verdict::Dead(format!(
                    "given up after {} attempts: {reason}",
                    queued.attempts
                ))
            }
            _ if limits.max_age.is_some_and(|max| age >= max) => Verdict::Dead(format!(
                "given up {} s after it was fired: {reason}",
                age.as_secs()
            )),
            _ => Verdict::Again,
        }
    }

    /// Plans another attempt. Where a whole batch failed, the destination itself is in trouble and
    /// the lane pauses; otherwise only the events wait, unless their order counts.
    fn delay(&mut self, again: Vec<(Queued, &OutcomeV1)>, whole: bool) {
        let setup = self.setup.clone();
        let retry = &setup.policy.retry;
        let now = Instant::now();
        let together = whole || setup.policy.ordered;
        if together {
            let asked = again
                .iter()
                .map(|(_, outcome)| outcome.retry_after_ms)
                .max();
            let wait = backoff::delay(retry, self.failures.max(1))
                .max(Duration::from_millis(asked.unwrap_or(0).into()));
            self.resume = self.resume.max(now + wait);
        }
        for (queued, outcome) in again {
            let due = if together {
                self.resume
            } else {
                let asked = Duration::from_millis(outcome.retry_after_ms.into());
                now + backoff::delay(retry, queued.attempts).max(asked)
            };
            // In the order of the queue where all wait for the same moment.
            self.delayed.insert((due, queued.seq), queued);
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failures) > 1 {
            tracing::info!(
                "destination {}: delivering again",
                self.shared.destination()
            );
        }
    }

    fn dead(&self, queued: &Queued, error: &str, now: u64) -> Burial {
        self.shared.observed.error(error);
        let kept = self.shared.queue.journal().is_some();
        tracing::error!(
            event = %queued.event.id(),
            profile = queued.event.profile(),
            attempts = queued.attempts,
            "destination {}: an event is not delivered{}: {error}",
            self.shared.destination(),
            if kept { " and is among the dead letters" } else { "" },
        );
        Burial {
            seq: queued.stored.then_some(queued.seq),
            event: Arc::clone(&queued.event),
            error: error.to_owned(),
            attempts: queued.attempts,
            first_attempt_ns: queued.first_attempt_ns,
            last_attempt_ns: now,
        }
    }
}

pub(super) fn retry(reason: &str) -> OutcomeV1 {
    OutcomeV1 {
        code: OutcomeCodeV1::RETRY,
        retry_after_ms: 0,
        reason: reason.into(),
    }
}
