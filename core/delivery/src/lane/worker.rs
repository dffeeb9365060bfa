//! A lane's task: its instance, its batches, and reading back from disk. `outcome` handles the answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use evbus_abi::v1::InstanceV1;
use tokio::sync::{oneshot, watch};
use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::connector::closed;
use super::in_flight::InFlight;
use super::lane_host::LaneHost;
use super::log_scope::Within;
use super::mapping::{self, Mapped};
use super::outcome::retry;
use super::pace::Pace;
use super::queued::Queued;
use super::status::{ErrorKind, PausedBy};
use super::{ConnectFailure, InstanceState, OnDead, Setup, Shared, backoff, bounds};
use evbus_report::counted;
use evbus_store::Loaded;

/// How many instances of one lane may live at once. One that was given up because it hangs keeps
/// its thread, and a plugin that always hangs must not take all threads there are.
const MAX_LIVING: usize = 16;

/// How long to wait before a disk that gave nothing is asked again.
const RELOAD: Duration = Duration::from_millis(500);

/// Runs a lane until it is told to stop.
pub(super) async fn run(
    shared: Arc<Shared>,
    setups: watch::Receiver<Setup>,
    on_dead: OnDead,
    mut stopping: watch::Receiver<Option<Duration>>,
) {
    let setup = setups.borrow().clone();
    let mut worker = Worker {
        shared,
        setup,
        setups,
        on_dead,
        instance: None,
        in_flight: InFlight::new(),
        delayed: BTreeMap::new(),
        loading: None,
        reload: Instant::now(),
        resume: Instant::now(),
        failures: 0,
        unreachable: false,
        aged: Instant::now(),
        left: false,
        pace: Pace::default(),
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
    /// Another setup takes over; nothing is in flight.
    Switched,
}

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) setup: Setup,
    setups: watch::Receiver<Setup>,
    pub(super) on_dead: OnDead,
    instance: Option<InstanceV1>,
    pub(super) in_flight: InFlight,
    /// Events to be tried again, by the time when they are due and their places in the queue.
    pub(super) delayed: BTreeMap<(Instant, u64), Queued>,
    /// Events on their way back from disk.
    pub(super) loading: Option<oneshot::Receiver<Loaded>>,
    /// The disk is not asked before this moment.
    reload: Instant,
    /// Nothing is handed over before this moment.
    pub(super) resume: Instant,
    /// Batches in a row of which not one event was settled.
    pub(super) failures: u32,
    /// The last attempt to connect failed.
    pub(super) unreachable: bool,
    /// Ages are not looked at before this moment.
    pub(super) aged: Instant,
    /// What was left when it ended has been handed over.
    left: bool,
    /// What the policy's `rate` counts.
    pace: Pace,
}

impl Worker {
    async fn work(&mut self) {
        loop {
            self.connect().await;
            if let Over::Switched = self.serve().await
                && let Some(old) = self.instance.take()
            {
                // The old instance flushes on its own time, the new one need not wait.
                let deadline = self.setup.policy.deadline;
                tokio::spawn(async move { timeout(deadline, closed(&old)).await });
            }
        }
    }

    /// Takes over a setup that came since.
    fn take_setup(&mut self) {
        // Whoever waited for another one has marked it as seen: it is compared.
        let newest = self.setups.borrow_and_update().clone();
        if newest != self.setup {
            self.setup = newest;
            self.shared.observed.switched();
            self.start_over();
        }
    }

    /// Ends every wait that was the old setup's: a mended entry is tried at once.
    fn start_over(&mut self) {
        let now = Instant::now();
        self.resume = now;
        self.failures = 0;
        self.unreachable = false;
        self.shared.observed.resume();
        let delayed = std::mem::take(&mut self.delayed).into_values();
        self.delayed = delayed
            .map(|queued| ((now, queued.seq()), queued))
            .collect();
    }

    /// Makes an instance, trying again with backoff until there is one.
    async fn connect(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.publish_numbers();
        let mut attempts = 0;
        let mut said = String::new();
        loop {
            self.take_setup();
            let destination = shared.destination();
            let failure = match self.make_instance().await {
                Ok(instance) => {
                    self.instance = Some(instance);
                    self.unreachable = false;
                    shared.observed.connected();
                    tracing::info!("destination {destination}: connected");
                    return;
                }
                // Another setup is there, and may do better at once.
                Err(None) => continue,
                Err(Some(failure)) => failure,
            };
            attempts += 1;
            self.unreachable = true;
            shared.observed.error(ErrorKind::Link, &failure.reason);
            shared.observed.set(InstanceState::Failed);
            let limits = &self.setup.policy.retry;
            let wait = if failure.permanent {
                limits.max_delay
            } else {
                backoff::delay(limits, attempts)
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
            let until = Instant::now() + wait;
            shared.observed.pause(until, PausedBy::Host);
            let current = self.setup.clone();
            let mut setups = self.setups.clone();
            tokio::select! {
                () = sleep_until(until) => {}
                // A lane that is let go of gets no other setup, and only waits for its end.
                Ok(_) = setups.wait_for(|setup| *setup != current) => attempts = 0,
                never = self.age() => match never {},
            }
        }
    }

    /// Makes one attempt at an instance; an error of `None` says that another setup came meanwhile.
    async fn make_instance(&mut self) -> Result<InstanceV1, Option<ConnectFailure>> {
        let current = self.setup.clone();
        let Setup {
            connector,
            config,
            secrets,
            policy,
        } = &current;
        if self.shared.observed.living().load(Ordering::Relaxed) >= MAX_LIVING {
            return Err(Some(ConnectFailure {
                permanent: true,
                reason: format!(
                    "{MAX_LIVING} instances of plugin {} hang; no new one is created until one ends; restart the host if none does",
                    connector.id()
                ),
            }));
        }
        let host = LaneHost::new(connector.id(), secrets.clone(), &self.shared);
        let host = Within::new(&self.shared, host);
        let mut setups = self.setups.clone();
        tokio::select! {
            made = connector.connect(config, secrets, host, policy.deadline) => made.map_err(|failure| {
                Some(ConnectFailure {
                    reason: bounds::reason(&failure.reason).into_owned(),
                    ..failure
                })
            }),
            Ok(_) = setups.wait_for(|setup| *setup != current) => Err(None),
            never = self.age() => match never {},
        }
    }

    /// Hands batches to the instance and settles its answers.
    async fn serve(&mut self) -> Over {
        let mut switching = false;
        loop {
            switching |= self.setups.has_changed().unwrap_or(false);
            if switching && self.in_flight.is_empty() {
                return Over::Switched;
            }
            if !switching {
                self.hand_over().await;
            }
            self.ask_disk();
            self.age_beside_instance().await;
            self.publish_numbers();
            let now = Instant::now();
            let takes = !switching
                && self.in_flight.len() < self.max_in_flight()
                && self.resume <= now
                && self.pace.room(self.setup.policy.rate, now) > 0
                && (!self.setup.policy.ordered || self.delayed.is_empty())
                && !self.holds_suspects();
            let timer = self.timer(now, switching);
            tokio::select! {
                (events, outcome) = self.in_flight.answer(), if !self.in_flight.is_empty() => {
                    if self.settle(&events, outcome).await {
                        self.give_up("the plugin instance ended before it answered").await;
                        return Over::Broken;
                    }
                }
                loaded = loaded(&mut self.loading), if self.loading.is_some() => {
                    self.take_loaded(loaded);
                }
                () = self.shared.queue.readable(), if takes => {}
                () = sleep_until(timer.unwrap_or(now)), if timer.is_some() => {
                    // An answer that waits for this task is in time.
                    while let Some((events, outcome)) = self.in_flight.answered() {
                        if self.settle(&events, outcome).await {
                            self.give_up("the plugin instance ended before it answered").await;
                            return Over::Broken;
                        }
                    }
                    if self.in_flight.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                        let deadline = self.setup.policy.deadline.as_secs_f32();
                        self.give_up(&format!("the plugin did not answer within {deadline} s")).await;
                        return Over::Broken;
                    }
                }
                Ok(()) = self.setups.changed(), if !switching => {
                    self.setups.mark_changed();
                }
            }
        }
    }

    /// The moment at which something is to be done though nobody calls.
    fn timer(&mut self, now: Instant, switching: bool) -> Option<Instant> {
        let due = self.delayed.keys().next().map(|(due, _)| *due);
        // A pause matters only as long as it lasts, a due event only where it may be sent.
        let send = if switching || self.in_flight.len() >= self.max_in_flight() {
            None
        } else if self.resume > now {
            Some(self.resume)
        } else {
            self.pace.next(self.setup.policy.rate, now).or(due)
        };
        let reload = Some(self.reload).filter(|at| self.loading.is_none() && *at > now);
        send.into_iter()
            .chain(reload)
            .chain(self.next_aging())
            .chain(self.in_flight.deadline())
            .min()
    }

    fn max_in_flight(&self) -> usize {
        match &self.instance {
            _ if self.setup.policy.ordered || self.holds_suspects() => 1,
            Some(instance) => bounds::batches(instance.limits, &self.setup.policy.batch).in_flight,
            None => 0,
        }
    }

    /// Whether events are to be tried one by one: an instance went down over one of them.
    fn holds_suspects(&self) -> bool {
        self.delayed
            .first_key_value()
            .is_some_and(|(_, queued)| queued.is_suspect())
            || self.in_flight.holds_suspect()
    }

    /// Fills the room that the instance has for batches.
    async fn hand_over(&mut self) {
        let policy = Arc::clone(&self.setup.policy);
        while self.in_flight.len() < self.max_in_flight() && self.resume <= Instant::now() {
            let room = self.pace.room(policy.rate, Instant::now());
            let batch = match room {
                0 => return,
                room => self.next_batch(room),
            };
            let Some(instance) = self.instance.as_ref().filter(|_| !batch.is_empty()) else {
                return;
            };
            let Some(body) = &policy.body else {
                self.pace.hand(policy.rate, batch.len(), Instant::now());
                (self.in_flight).publish(instance, batch, None, policy.deadline);
                continue;
            };
            let limits = bounds::batches(instance.limits, &policy.batch);
            let Mapped {
                events,
                bodies,
                failed,
                left,
            } = mapping::map(batch, body, limits.bytes);
            let now = Instant::now();
            if !events.is_empty() {
                self.pace.hand(policy.rate, events.len(), now);
                (self.in_flight).publish(instance, events, Some(bodies), policy.deadline);
            }
            // Before anything is waited for: nothing is in nobody's hands. They are the next ones.
            let left = left.into_iter().map(|queued| ((now, queued.seq()), queued));
            self.delayed.extend(left);
            self.bury_unsent(&failed).await;
            // Answers, another setup and the disk have their turn before the next batch.
            return tokio::task::yield_now().await;
        }
    }

    /// Events whose retry is due, then new ones, `most` of them; a suspect alone.
    fn next_batch(&mut self, most: usize) -> Vec<Queued> {
        let policy = &self.setup.policy;
        let Some(limits) = self.instance.as_ref().map(|instance| instance.limits) else {
            return Vec::new();
        };
        let limits = bounds::batches(limits, &policy.batch);
        let (max_events, max_bytes) = (limits.events.min(most), limits.bytes);
        let now = Instant::now();
        let mut batch = Vec::new();
        let mut bytes = 0_usize;
        while let Some(entry) = self.delayed.first_entry() {
            bytes = bytes.saturating_add(entry.get().event.size());
            let suspect = entry.get().is_suspect();
            if entry.key().0 > now
                || batch.len() == max_events
                || ((bytes > max_bytes || suspect) && !batch.is_empty())
            {
                break;
            }
            batch.push(entry.remove());
            if suspect {
                return batch;
            }
        }
        if self.delayed.is_empty() || !(policy.ordered || self.holds_suspects()) {
            self.shared.queue.take(&mut batch, max_events, max_bytes);
        }
        batch
    }

    /// Asks the disk for events where memory has room for them again.
    pub(super) fn ask_disk(&mut self) {
        if self.loading.is_none() && self.reload <= Instant::now() {
            self.loading = self.shared.queue.load();
        }
    }

    pub(super) fn take_loaded(&mut self, loaded: Option<Loaded>) {
        self.loading = None;
        let loaded = loaded.unwrap_or_default();
        if loaded.events.is_empty() {
            // The disk has nothing to give, or cannot; it is not asked in a loop.
            self.reload = Instant::now() + RELOAD;
        }
        let bad = self.shared.queue.loaded(loaded);
        if bad > 0 {
            tracing::error!(
                "destination {}: {} damaged or missing",
                self.shared.destination(),
                counted(bad, "event on disk is", "events on disk are")
            );
        }
    }

    pub(super) fn publish_numbers(&self) {
        let (in_flight, oldest_in_flight) = self.in_flight.events();
        let retrying = self.delayed.len();
        let oldest_retrying = self
            .delayed
            .values()
            .next()
            .map(|queued| queued.event.time_unix_ns());
        self.shared.observed.out(
            in_flight as u64,
            retrying as u64,
            oldest_in_flight.into_iter().chain(oldest_retrying).min(),
        );
    }

    /// Lets go of an instance that is broken or hung; what it had in flight is tried again.
    async fn give_up(&mut self, reason: &str) {
        self.instance = None;
        let events = self.in_flight.abandon();
        self.shared.observed.set(InstanceState::Failed);
        if !events.is_empty() {
            self.settle_alike(&events, &retry(reason), false).await;
        }
    }

    /// Ends in order: the instance flushes and disconnects within `grace`, and what is left goes to
    /// disk.
    async fn end(&mut self, grace: Duration) {
        if let Some(instance) = self.instance.take() {
            let until = Instant::now() + grace;
            let closing = closed(&instance);
            tokio::pin!(closing);
            loop {
                tokio::select! {
                    (events, outcome) = self.in_flight.answer(), if !self.in_flight.is_empty() => {
                        let settling = self.settle(&events, outcome);
                        if tokio::time::timeout_at(until, settling).await.is_err() {
                            break;
                        }
                    }
                    () = &mut closing => break,
                    () = sleep_until(until) => break,
                }
            }
            // What was answered just before the end needs no second delivery.
            while let Some((events, outcome)) = self.in_flight.answered() {
                let settling = self.settle(&events, outcome);
                // It is settled at once; only room on the disk would be waited for.
                let _ = timeout(Duration::ZERO, settling).await;
            }
        }
        self.leave();
    }

    /// Hands everything that is not settled to the disk, where there is one, and takes no more.
    fn leave(&mut self) {
        self.left = true;
        self.instance = None;
        let mut left = self.shared.queue.close();
        left.extend(self.in_flight.abandon());
        left.extend(std::mem::take(&mut self.delayed).into_values());
        left.sort_unstable_by_key(Queued::seq);
        self.shared.queue.keep(&left);
        self.publish_numbers();
        self.shared.observed.set(InstanceState::Closed);
    }
}

impl Drop for Worker {
    /// A lane that is dropped, or whose task is ended by a panic or with its runtime, keeps its events
    /// as one that is stopped does.
    fn drop(&mut self) {
        if !self.left {
            self.leave();
        }
    }
}

/// Resolves when what was asked for has been read; nothing where the store's thread has ended.
pub(super) async fn loaded(loading: &mut Option<oneshot::Receiver<Loaded>>) -> Option<Loaded> {
    match loading {
        Some(loading) => loading.await.ok(),
        None => std::future::pending().await,
    }
}
