//! A lane's task: instance, batches, outcomes, retries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use evbus_abi::v1::{BatchOutcomeV1, InstanceV1, OutcomeCodeV1, OutcomeV1};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};

use super::in_flight::InFlight;
use super::instance::{LaneHost, closed};
use super::queue::{Queued, Settled};
use super::{ConnectFailure, Connector, InstanceState, Shared, backoff};

/// How many instances of one lane may live at once. One that was given up because it hangs keeps
/// its thread, and a plugin that always hangs must not take all threads there are.
const MAX_LIVING: usize = 16;

/// Runs a lane until it is told to stop.
pub(super) async fn run(
    shared: Arc<Shared>,
    config: Arc<str>,
    connectors: watch::Receiver<Connector>,
    mut stopping: watch::Receiver<Option<Duration>>,
) {
    let mut worker = Worker {
        shared,
        config,
        connectors,
        instance: None,
        in_flight: InFlight::new(),
        delayed: BTreeMap::new(),
        next_delayed: 0,
        resume: Instant::now(),
        failures: 0,
    };
    let grace = tokio::select! {
        () = worker.work() => Duration::ZERO,
        grace = stopped(&mut stopping) => grace,
    };
    worker.end(grace).await;
}

/// Resolves with the time for an orderly end.
async fn stopped(stopping: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stopping.wait_for(Option::is_some).await {
        Ok(grace) => grace.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}

/// Why an instance serves no longer.
enum Over {
    /// It is broken or hung, and already let go.
    Broken,
    /// Another plugin takes over; nothing is in flight.
    Switched,
}

struct Worker {
    shared: Arc<Shared>,
    config: Arc<str>,
    connectors: watch::Receiver<Connector>,
    instance: Option<InstanceV1>,
    in_flight: InFlight,
    /// Events to be tried again, by the time when they are due and in the order in which they
    /// came back.
    delayed: BTreeMap<(Instant, u64), Queued>,
    next_delayed: u64,
    /// Nothing is handed over before this moment.
    resume: Instant,
    /// Batches in a row of which not one event was settled.
    failures: u32,
}

impl Worker {
    async fn work(&mut self) {
        loop {
            self.connect().await;
            if let Over::Switched = self.serve().await
                && let Some(old) = self.instance.take()
            {
                // The old instance flushes on its own time, the new one need not wait.
                let deadline = self.shared.policy.deadline;
                tokio::spawn(async move { timeout(deadline, closed(&old)).await });
            }
        }
    }

    /// Makes an instance, trying again with backoff until there is one.
    async fn connect(&mut self) {
        let shared = Arc::clone(&self.shared);
        let (destination, policy) = (&shared.destination, &shared.policy);
        let mut attempts = 0;
        let mut said = String::new();
        loop {
            let connector = self.connectors.borrow_and_update().clone();
            let failure = if shared.observed.living().load(Ordering::Relaxed) >= MAX_LIVING {
                ConnectFailure {
                    permanent: true,
                    reason: format!(
                        "{MAX_LIVING} instances of plugin {} hang and none is made until one ends; \
                         restart the host if none does",
                        connector.id()
                    ),
                }
            } else {
                let host = LaneHost::new(connector.id(), &shared);
                match connector.connect(&self.config, host, policy.deadline).await {
                    Ok(instance) => {
                        self.instance = Some(instance);
                        shared.observed.connected();
                        tracing::info!("destination {destination}: connected");
                        return;
                    }
                    Err(failure) => failure,
                }
            };
            attempts += 1;
            shared.observed.fail(InstanceState::Failed, &failure.reason);
            let wait = if failure.permanent {
                policy.retry.max_delay
            } else {
                backoff::delay(&policy.retry, attempts)
            };
            if said != failure.reason {
                if failure.permanent {
                    tracing::error!("destination {destination}: {}", failure.reason);
                } else {
                    tracing::warn!(
                        "destination {destination}: {}; trying again",
                        failure.reason
                    );
                }
                said = failure.reason;
            }
            tokio::select! {
                () = sleep(wait) => {}
                // Another plugin may do better at once.
                Ok(()) = self.connectors.changed() => {}
            }
        }
    }

    /// Hands batches to the instance and settles its answers.
    async fn serve(&mut self) -> Over {
        let mut switching = false;
        loop {
            if switching && self.in_flight.is_empty() {
                return Over::Switched;
            }
            if !switching {
                self.hand_over();
            }
            let now = Instant::now();
            let takes = !switching
                && self.in_flight.len() < self.max_in_flight()
                && self.resume <= now
                && (!self.shared.policy.ordered || self.delayed.is_empty());
            let timer = self.timer(now, switching);
            tokio::select! {
                (events, outcome) = self.in_flight.answer(), if !self.in_flight.is_empty() => {
                    if self.settle(&events, outcome) {
                        self.give_up("it ended with its plugin's instance");
                        return Over::Broken;
                    }
                }
                () = self.shared.queue.readable(), if takes => {}
                () = sleep_until(timer.unwrap_or(now)), if timer.is_some() => {
                    if self.in_flight.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                        let deadline = self.shared.policy.deadline.as_secs_f32();
                        self.give_up(&format!("the plugin gave no answer within {deadline} s"));
                        return Over::Broken;
                    }
                }
                Ok(()) = self.connectors.changed(), if !switching => switching = true,
            }
        }
    }

    /// The moment at which something is to be done though nobody calls.
    fn timer(&self, now: Instant, switching: bool) -> Option<Instant> {
        let due = self.delayed.keys().next().map(|(due, _)| *due);
        // A pause matters only as long as it lasts, a due event only where it may be sent.
        let send = if switching || self.in_flight.len() >= self.max_in_flight() {
            None
        } else if self.resume > now {
            Some(self.resume)
        } else {
            due
        };
        send.into_iter().chain(self.in_flight.deadline()).min()
    }

    fn max_in_flight(&self) -> usize {
        match &self.instance {
            _ if self.shared.policy.ordered => 1,
            Some(instance) => instance.limits.max_in_flight.max(1) as usize,
            None => 0,
        }
    }

    /// Fills the room that the instance has for batches.
    fn hand_over(&mut self) {
        let max_in_flight = self.max_in_flight();
        while self.in_flight.len() < max_in_flight && self.resume <= Instant::now() {
            let batch = self.next_batch();
            let Some(instance) = self.instance.as_ref().filter(|_| !batch.is_empty()) else {
                return;
            };
            self.in_flight
                .publish(instance, batch, self.shared.policy.deadline);
        }
    }

    /// Events whose retry is due, then new ones.
    fn next_batch(&mut self) -> Vec<Queued> {
        let policy = &self.shared.policy;
        let Some(limits) = self.instance.as_ref().map(|instance| instance.limits) else {
            return Vec::new();
        };
        let max_events = (limits.max_batch_events.max(1) as usize)
            .min(policy.batch.events.unwrap_or(usize::MAX));
        let max_bytes = usize::try_from(limits.max_batch_bytes)
            .unwrap_or(usize::MAX)
            .min(policy.batch.bytes.unwrap_or(usize::MAX));
        let now = Instant::now();
        let mut batch = Vec::new();
        let mut bytes = 0_usize;
        while let Some(entry) = self.delayed.first_entry() {
            bytes = bytes.saturating_add(entry.get().event.size());
            if entry.key().0 > now
                || batch.len() == max_events
                || (bytes > max_bytes && !batch.is_empty())
            {
                break;
            }
            batch.push(entry.remove());
        }
        if !policy.ordered || self.delayed.is_empty() {
            self.shared.queue.take(&mut batch, max_events, max_bytes);
        }
        batch
    }

    /// Takes an answer. Returns whether the instance is broken.
    fn settle(&mut self, events: &[Queued], outcome: Option<BatchOutcomeV1>) -> bool {
        let Some(outcome) = outcome else {
            let dropped = retry("the plugin dropped the batch without an answer");
            self.settle_each(events.iter().map(|event| (event, &dropped)), events.len());
            return true;
        };
        if outcome.exceptions.is_empty() && outcome.all.code == OutcomeCodeV1::ACCEPTED {
            self.recovered();
            self.shared.queue.settle(Settled {
                accepted: events.len() as u64,
                bytes: events.iter().map(|queued| queued.event.size()).sum(),
                ..Settled::default()
            });
        } else {
            let mut outcomes = vec![&outcome.all; events.len()];
            for exception in &outcome.exceptions {
                if let Some(slot) = outcomes.get_mut(exception.index as usize) {
                    *slot = &exception.outcome;
                }
            }
            self.settle_each(events.iter().zip(outcomes), events.len());
        }
        outcome.rebuild
    }

    fn settle_each<'a>(
        &mut self,
        outcomes: impl Iterator<Item = (&'a Queued, &'a OutcomeV1)>,
        total: usize,
    ) {
        let mut settled = Settled::default();
        let mut again = Vec::new();
        for (queued, outcome) in outcomes {
            let attempts = queued.attempts + 1;
            let spent = (self.shared.policy.retry.max_attempts).is_some_and(|max| attempts >= max);
            match outcome.code {
                OutcomeCodeV1::ACCEPTED => settled.accepted += 1,
                OutcomeCodeV1::REJECTED => {
                    settled.dead_lettered += 1;
                    self.dead(queued, attempts, &format!("rejected: {}", outcome.reason));
                }
                _ if spent => {
                    settled.dead_lettered += 1;
                    let reason = format!("given up after {attempts} attempts: {}", outcome.reason);
                    self.dead(queued, attempts, &reason);
                }
                _ => {
                    settled.retries += 1;
                    again.push((
                        Queued {
                            event: Arc::clone(&queued.event),
                            attempts,
                        },
                        outcome,
                    ));
                    continue;
                }
            }
            settled.bytes += queued.event.size();
        }
        if let Some((first, outcome)) = again.first() {
            let whole = again.len() == total;
            if whole {
                self.failures += 1;
            } else {
                self.failures = 0;
            }
            self.shared.observed.error(&outcome.reason);
            if !whole || self.failures.is_power_of_two() {
                tracing::warn!(
                    "destination {}: {} of {total} events will be tried again (attempt {} failed): {}",
                    self.shared.destination,
                    again.len(),
                    first.attempts,
                    outcome.reason
                );
            }
            self.delay(again, whole);
        } else {
            self.recovered();
        }
        self.shared.queue.settle(settled);
    }

    /// Plans another attempt. Where a whole batch failed, the destination itself is in trouble and
    /// the lane pauses; otherwise only the events wait, unless their order counts.
    fn delay(&mut self, again: Vec<(Queued, &OutcomeV1)>, whole: bool) {
        let retry = &self.shared.policy.retry;
        let now = Instant::now();
        let together = whole || self.shared.policy.ordered;
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
            self.delayed.insert((due, self.next_delayed), queued);
            self.next_delayed += 1;
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failures) > 1 {
            tracing::info!("destination {}: delivering again", self.shared.destination);
        }
    }

    /// Lets go of an instance that is broken or hung; what it had in flight is tried again.
    fn give_up(&mut self, reason: &str) {
        self.instance = None;
        let events = self.in_flight.abandon();
        self.shared.observed.set(InstanceState::Failed);
        if !events.is_empty() {
            let outcome = retry(reason);
            self.settle_each(events.iter().map(|event| (event, &outcome)), events.len());
        }
    }

    fn dead(&self, queued: &Queued, attempts: u32, reason: &str) {
        self.shared.observed.error(reason);
        tracing::error!(
            event = %queued.event.id(),
            profile = queued.event.profile(),
            attempts,
            "destination {}: an event is not delivered: {reason}",
            self.shared.destination
        );
    }

    /// Ends in order: the instance flushes and disconnects within `grace`.
    async fn end(&mut self, grace: Duration) {
        if let Some(instance) = self.instance.take() {
            let until = Instant::now() + grace;
            let closing = closed(&instance);
            tokio::pin!(closing);
            loop {
                tokio::select! {
                    (events, outcome) = self.in_flight.answer(), if !self.in_flight.is_empty() => {
                        self.settle(&events, outcome);
                    }
                    () = &mut closing => break,
                    () = sleep_until(until) => break,
                }
            }
        }
        self.shared.observed.set(InstanceState::Closed);
    }
}

fn retry(reason: &str) -> OutcomeV1 {
    OutcomeV1 {
        code: OutcomeCodeV1::RETRY,
        retry_after_ms: 0,
        reason: reason.into(),
    }
}
