//! Settles or retries events that a plugin has answered for or lost.

use std::sync::Arc;

use evbus_abi::v1::{BatchOutcomeV1, FateV1, OutcomeCodeV1, OutcomeV1};
use tokio::time::{Duration, Instant};

use super::queued::Queued;
use super::settled::Settled;
use super::status::{ErrorKind, PausedBy};
use super::worker::Worker;
use super::{backoff, bounds};
use evbus_event::now_unix_ns;
use evbus_report::counted;
use evbus_store::Burial;

/// An answer in the form in which it is worked through.
struct Answered<'a> {
    events: &'a [Queued],
    /// The instance went down over these events.
    crashed: bool,
    /// There was nothing else in flight: of a single event it is known that it did it.
    alone: bool,
    /// Who answered.
    by: By,
}

/// Who said what becomes of events.
#[derive(PartialEq, Eq)]
enum By {
    /// The plugin, or nobody after they were handed over.
    Plugin,
    /// The host: they cannot be sent.
    Host,
    /// The host: they got too old.
    Age,
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
            let exceptions = exceptions_of(&outcome, events.len());
            self.tidy(&mut outcome.all);
            // The reasons of a batch are mostly alike.
            let mut last = None;
            for position in exceptions.iter().flatten() {
                let outcome = &mut outcome.exceptions[*position].outcome;
                match &last {
                    Some((given, tidied)) if *given == outcome.reason => {
                        outcome.reason.clone_from(tidied);
                    }
                    _ => {
                        let given = outcome.reason.clone();
                        self.tidy(outcome);
                        last = Some((given, outcome.reason.clone()));
                    }
                }
            }
            let outcomes: Vec<&OutcomeV1> = (exceptions.iter())
                .map(|exception| {
                    exception.map_or(&outcome.all, |position| {
                        &outcome.exceptions[position].outcome
                    })
                })
                .collect();
            let answered = Answered {
                events,
                crashed: outcome.instance == FateV1::CRASHED,
                alone: self.in_flight.is_empty(),
                by: By::Plugin,
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
            by: By::Plugin,
        };
        self.settle_each(&answered, &vec![outcome; events.len()])
            .await;
    }

    /// Gives up events that cannot be sent, each for its reason.
    pub(super) async fn bury_unsent(&mut self, failed: &[(Queued, OutcomeV1)]) {
        if failed.is_empty() {
            return;
        }
        let events: Vec<Queued> = failed.iter().map(|(queued, _)| queued.clone()).collect();
        let outcomes: Vec<&OutcomeV1> = failed.iter().map(|(_, outcome)| outcome).collect();
        let answered = Answered {
            events: &events,
            crashed: false,
            alone: false,
            by: By::Host,
        };
        self.settle_each(&answered, &outcomes).await;
    }

    /// Gives up events that are older than the policy's `max_age`, and says so in one line.
    pub(super) async fn bury_old(&mut self, events: &[Queued]) {
        let Some(oldest) = (events.iter())
            .map(|queued| queued.event.time_unix_ns())
            .min()
        else {
            return;
        };
        let why = (self.shared.observed.trouble())
            .unwrap_or_else(|| "the destination did not accept it in time".to_owned());
        let age = Duration::from_nanos(now_unix_ns().saturating_sub(oldest));
        tracing::error!(
            "destination {}: gave up on {}{} (retry.max_age; the oldest was fired {} s ago): {why}",
            self.shared.destination(),
            counted(events.len() as u64, "event", "events"),
            self.kept(),
            age.as_secs(),
        );
        let answered = Answered {
            events,
            crashed: false,
            alone: false,
            by: By::Age,
        };
        let outcome = retry(&why);
        self.settle_each(&answered, &vec![&outcome; events.len()])
            .await;
    }

    /// Makes a plugin's reason fit for everybody's eyes.
    fn tidy(&self, outcome: &mut OutcomeV1) {
        let hidden = self.setup.secrets.hide(&outcome.reason);
        let tidied = bounds::reason(&hidden);
        if *tidied != *outcome.reason {
            outcome.reason = tidied.into_owned().into();
        }
    }

    async fn settle_each(&mut self, answered: &Answered<'_>, outcomes: &[&OutcomeV1]) {
        let now = now_unix_ns();
        let total = answered.events.len();
        let mut settled = Settled::default();
        let mut dead = Vec::new();
        let mut again = Vec::new();
        for (queued, outcome) in answered.events.iter().zip(outcomes) {
            let mut queued = queued.clone();
            if answered.by == By::Plugin {
                queued.attempted(now);
            }
            queued.suspected(answered.crashed, answered.alone && total == 1);
            let verdict = if answered.by == By::Age {
                Verdict::Dead(too_old(&queued, &outcome.reason, now))
            } else {
                self.verdict(&queued, outcome, now)
            };
            match verdict {
                Verdict::Accepted => settled.accept(&queued),
                Verdict::Dead(error) => {
                    if answered.by != By::Age {
                        self.say_dead(&queued, &error);
                    }
                    let burial = burial(&queued, &error, now);
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
            (self.shared.observed).error(ErrorKind::Attempt, &outcome.reason);
            if !whole || self.failures.is_power_of_two() {
                tracing::warn!(
                    "destination {}: {} of {} will be retried (attempt {} failed): {}",
                    self.shared.destination(),
                    again.len(),
                    counted(total as u64, "event", "events"),
                    first.attempts(),
                    outcome.reason
                );
            }
            self.delay(again, whole);
        } else if !answered.crashed && answered.by == By::Plugin {
            self.recovered();
        }
        self.shared.queue.settle(settled);
        let buried = !dead.is_empty();
        // Told after they have been counted, so that nobody sees an error event of a live event.
        for (event, error) in dead {
            (self.on_dead)(&self.shared, &event, &error);
        }
        if let Some(journal) = self.shared.queue.journal().filter(|_| buried) {
            // Dead letters must not fill the memory where the disk takes none. Events that wait to be
            // written are not a reason to wait: only deliveries make room for them on a full disk.
            journal.room_for_letters().await;
        }
    }

    fn verdict(&self, queued: &Queued, outcome: &OutcomeV1, now: u64) -> Verdict {
        let limits = &self.setup.policy.retry;
        let age = Duration::from_nanos(now.saturating_sub(queued.event.time_unix_ns()));
        let reason = &outcome.reason;
        match outcome.code {
            OutcomeCodeV1::ACCEPTED => Verdict::Accepted,
            OutcomeCodeV1::REJECTED => Verdict::Dead(format!("rejected: {reason}")),
            _ if limits
                .max_crashes
                .is_some_and(|max| queued.crashes() >= max) =>
            {
                Verdict::Dead(format!(
                    "given up after it brought the plugin down {}: {reason}",
                    counted(queued.crashes(), "time", "times")
                ))
            }
            _ if limits
                .max_attempts
                .is_some_and(|max| queued.attempts() >= max) =>
            {
                Verdict::Dead(format!(
                    "given up after {}: {reason}",
                    counted(queued.attempts(), "attempt", "attempts")
                ))
            }
            _ if limits.max_age.is_some_and(|max| age >= max) => {
                Verdict::Dead(too_old(queued, reason, now))
            }
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
            let backoff = backoff::delay(retry, self.failures.max(1));
            let wait = bounds::wait(backoff, asked.unwrap_or(0), retry);
            if now + wait > self.resume {
                self.resume = now + wait;
                let by = if wait > backoff {
                    PausedBy::Plugin
                } else {
                    PausedBy::Host
                };
                self.shared.observed.pause(self.resume, by);
            }
        }
        for (queued, outcome) in again {
            let due = if together {
                self.resume
            } else {
                let backoff = backoff::delay(retry, queued.attempts());
                now + bounds::wait(backoff, outcome.retry_after_ms, retry)
            };
            // In the order of the queue where all wait for the same moment.
            self.delayed.insert((due, queued.seq()), queued);
        }
    }

    fn recovered(&mut self) {
        self.shared.observed.delivered();
        if std::mem::take(&mut self.failures) > 1 {
            tracing::info!(
                "destination {}: delivering again",
                self.shared.destination()
            );
        }
    }

    fn say_dead(&self, queued: &Queued, error: &str) {
        self.shared.observed.error(ErrorKind::DeadLetter, error);
        tracing::error!(
            event = %queued.event.id(),
            profile = queued.event.profile(),
            attempts = queued.attempts(),
            "destination {}: an event was not delivered{}: {error}",
            self.shared.destination(),
            self.kept(),
        );
    }

    /// Where a dead letter is from now on, as the end of a clause.
    fn kept(&self) -> &'static str {
        if self.shared.queue.journal().is_some() {
            ", moved to the dead letters"
        } else {
            ""
        }
    }
}

fn burial(queued: &Queued, error: &str, now: u64) -> Burial {
    Burial {
        seq: queued.is_stored().then_some(queued.seq()),
        event: Arc::clone(&queued.event),
        error: error.to_owned(),
        attempts: queued.attempts(),
        first_attempt_ns: queued.first_attempt_ns(),
        last_attempt_ns: now,
    }
}

/// Which exception holds for each of so many events: the last for its position, by its own position
/// in the list. Those for positions that the batch does not have are left out.
fn exceptions_of(outcome: &BatchOutcomeV1, events: usize) -> Vec<Option<usize>> {
    let mut found = vec![None; events];
    for (position, exception) in outcome.exceptions.iter().enumerate() {
        let slot = usize::try_from(exception.index)
            .ok()
            .and_then(|index| found.get_mut(index));
        if let Some(slot) = slot {
            *slot = Some(position);
        }
    }
    found
}

fn too_old(queued: &Queued, reason: &str, now: u64) -> String {
    let age = Duration::from_nanos(now.saturating_sub(queued.event.time_unix_ns())).as_secs();
    match queued.attempts() {
        0 => format!("given up {age} s after it was fired, without an attempt: {reason}"),
        _ => format!("given up {age} s after it was fired: {reason}"),
    }
}

pub(super) fn retry(reason: &str) -> OutcomeV1 {
    OutcomeV1 {
        code: OutcomeCodeV1::RETRY,
        retry_after_ms: 0,
        reason: reason.into(),
    }
}
