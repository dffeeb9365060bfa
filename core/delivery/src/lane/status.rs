//! The state of a lane as seen from outside.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Destination;
use super::settled::Counts;
use evbus_event::now_unix_ns;
use evbus_store::{Journal, LetterCounts};

/// The state of a lane's plugin instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum InstanceState {
    /// Connecting for the first time, or after an instance ended.
    #[default]
    Connecting,
    /// Connected and working.
    Connected,
    /// It reports that the far system is unreachable, and is reconnecting by itself.
    Disconnected,
    /// It could not be created, or broke; the lane tries again after a wait.
    Failed,
    /// The lane has ended.
    Closed,
}

/// A destination's counts and state at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct LaneStatus {
    /// Which entry.
    #[serde(flatten)]
    pub destination: Destination,
    /// Always: accepted + `dead_lettered` + dropped + deduplicated + damaged + lost + queued = received.
    #[serde(flatten)]
    pub counts: Counts,
    /// Events that the plugin has not answered yet.
    pub in_flight: u64,
    /// Events that wait for another attempt.
    pub retrying: u64,
    /// Events that programs are waiting to put into the queue, which has no room for them. They do not count as
    /// received yet.
    pub waiting_for_room: u64,
    /// How long ago the oldest event in memory was fired, in seconds. Those on disk are younger.
    pub oldest_age_s: Option<f64>,
    /// The state of its plugin instance.
    pub state: InstanceState,
    /// How many instances have been created.
    pub instances: u64,
    /// The number of its current setup, counted from 1: a change of plugin, configuration or policy
    /// starts a new one.
    pub generation: u64,
    /// Commits that were flushed to disk for `durable` events; each may have many of them.
    pub flushed_commits: u64,
    /// Dead letters that are kept; none without a state directory.
    pub dead_letters: u64,
    /// Their size on disk in bytes.
    pub dead_letter_bytes: u64,
    /// Dead letters that were dropped because of `dead_letters` in the policy or the limit of the state
    /// directory, since the destination's store was created. Each still counts as `dead_lettered`, or
    /// `damaged`.
    pub dead_letters_dropped: u64,
    /// Dead letters that disk damage destroyed, since the destination's store was created. No other
    /// count includes them.
    pub dead_letters_lost: u64,
    /// Dead letters of this lane that were not kept: there is no state directory, or the disk did not
    /// accept them before the end. They count as `dead_lettered`.
    #[serde(skip)]
    pub dead_letters_unkept: u64,
    /// The part of `lost` that was found missing since the lane started.
    #[serde(skip)]
    pub lost_since_start: u64,
    /// How many removed destinations these counts sum up; 0 for a single destination.
    #[serde(skip)]
    pub others: usize,
    /// Why the disk does not accept events at the moment.
    pub disk_fault: Option<String>,
    /// Seconds until the next attempt, while the destination pauses or waits to reconnect.
    pub next_attempt_s: Option<f64>,
    /// Who asked for that wait.
    pub paused_by: Option<PausedBy>,
    /// The last error, without secrets: why the destination cannot connect or deliver, until it does
    /// again; or why the last dead letter was not delivered, until another error.
    pub last_error: Option<String>,
    /// The age of that error, in seconds.
    pub last_error_age_s: Option<f64>,
}

impl LaneStatus {
    /// Once the destination has ended: its events that were neither delivered nor kept. Events dropped
    /// by its policy (`drop_newest`, the bound of dead letters) are not counted.
    #[must_use]
    pub fn gone(&self) -> u64 {
        self.left_in_memory() + self.dead_letters_unkept + self.lost_since_start
    }

    /// Once the destination has ended: undelivered events that are not on disk.
    #[must_use]
    pub fn left_in_memory(&self) -> u64 {
        (self.counts.queued).saturating_sub(self.counts.queued_on_disk)
    }
}

/// Who asked a destination to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PausedBy {
    /// The host, by its backoff.
    Host,
    /// The plugin, or its far system through the plugin. Never longer than `retry.max_delay`.
    Plugin,
}

/// What an error is about, and so what ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// The connection: until there is one.
    Link,
    /// Attempts to deliver: until one succeeds.
    Attempt,
    /// An event that became a dead letter, which it stays.
    DeadLetter,
}

/// What the lane's task lets others see.
#[derive(Debug)]
pub(super) struct Observed {
    state: watch::Sender<InstanceState>,
    epoch: AtomicU64,
    living: AtomicUsize,
    in_flight: AtomicU64,
    retrying: AtomicU64,
    /// When the oldest of these two kinds was fired; 0 where there is none.
    oldest_ns: AtomicU64,
    generation: AtomicU64,
    /// There is an error that a delivery ends; so deliveries need no lock where there is none.
    failing: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    instances: u64,
    last_error: Option<LastError>,
    pause: Option<(Instant, PausedBy)>,
}

#[derive(Debug)]
struct LastError {
    kind: ErrorKind,
    text: String,
    at: Instant,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(InstanceState::default()),
            epoch: AtomicU64::new(0),
            living: AtomicUsize::new(0),
            in_flight: AtomicU64::new(0),
            retrying: AtomicU64::new(0),
            oldest_ns: AtomicU64::new(0),
            generation: AtomicU64::new(1),
            failing: AtomicBool::new(false),
            seen: Mutex::default(),
        }
    }
}

impl Observed {
    /// Another attempt at an instance begins; gives its number.
    pub(super) fn connecting(&self) -> u64 {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        self.set(InstanceState::Connecting);
        epoch
    }

    /// The number of the latest attempt.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// How many instances have not let go of the host yet: the one at work, and those that were
    /// given up and hang.
    pub(super) fn living(&self) -> &AtomicUsize {
        &self.living
    }

    /// Publishes what the lane's task has out of the queue.
    pub(super) fn out(&self, in_flight: u64, retrying: u64, oldest_ns: Option<u64>) {
        self.in_flight.store(in_flight, Ordering::Relaxed);
        self.retrying.store(retrying, Ordering::Relaxed);
        self.oldest_ns
            .store(oldest_ns.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Another setup takes over.
    pub(super) fn switched(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn connected(&self) {
        {
            let mut seen = self.seen.lock();
            seen.instances += 1;
            seen.pause = None;
        }
        self.over(|kind| kind == ErrorKind::Link);
        self.set(InstanceState::Connected);
    }

    pub(super) fn set(&self, state: InstanceState) {
        self.state.send_replace(state);
    }

    pub(super) fn state(&self) -> InstanceState {
        *self.state.borrow()
    }

    /// Takes a report that the link is up. Returns whether it had been down.
    pub(super) fn reconnected(&self) -> bool {
        let was_down = self.state.send_if_modified(|state| {
            let down = *state == InstanceState::Disconnected;
            if down {
                *state = InstanceState::Connected;
            }
            down
        });
        if was_down {
            self.over(|kind| kind == ErrorKind::Link);
        }
        was_down
    }

    /// Notes what went wrong.
    pub(super) fn error(&self, kind: ErrorKind, error: &str) {
        let mut seen = self.seen.lock();
        seen.last_error = Some(LastError {
            kind,
            text: error.to_owned(),
            at: Instant::now(),
        });
        self.failing
            .store(kind != ErrorKind::DeadLetter, Ordering::Relaxed);
    }

    /// What stands in the way at the moment.
    pub(super) fn trouble(&self) -> Option<String> {
        let seen = self.seen.lock();
        let error = seen.last_error.as_ref();
        error
            .filter(|error| error.kind != ErrorKind::DeadLetter)
            .map(|error| error.text.clone())
    }

    /// Events were delivered, so what stood in the way does not any more.
    pub(super) fn delivered(&self) {
        if self.failing.load(Ordering::Relaxed) {
            self.over(|kind| kind != ErrorKind::DeadLetter);
        }
    }

    fn over(&self, ends: impl Fn(ErrorKind) -> bool) {
        let mut seen = self.seen.lock();
        if seen
            .last_error
            .as_ref()
            .is_some_and(|error| ends(error.kind))
        {
            seen.last_error = None;
            self.failing.store(false, Ordering::Relaxed);
        }
    }

    /// Nothing is tried before a moment.
    pub(super) fn pause(&self, until: Instant, by: PausedBy) {
        self.seen.lock().pause = Some((until, by));
    }

    /// Nothing is waited for any more.
    pub(super) fn resume(&self) {
        self.seen.lock().pause = None;
    }

    /// Resolves when the instance is in a state.
    pub(super) async fn wait_for(&self, state: InstanceState) {
        // The sender lives as long as `self`, so this only ends when the state is reached.
        let _ = self.state.subscribe().wait_for(|now| *now == state).await;
    }

    pub(super) fn status(
        &self,
        destination: &Destination,
        counts: Counts,
        waiting_ns: Option<u64>,
        journal: Option<&Journal>,
    ) -> LaneStatus {
        let seen = self.seen.lock();
        let out_ns = Some(self.oldest_ns.load(Ordering::Relaxed)).filter(|ns| *ns > 0);
        let now = Instant::now();
        let pause = seen.pause.filter(|(until, _)| *until > now);
        let oldest = out_ns.into_iter().chain(waiting_ns).min();
        let letters = journal.map(Journal::letters);
        LaneStatus {
            destination: destination.clone(),
            counts,
            in_flight: self.in_flight.load(Ordering::Relaxed),
            retrying: self.retrying.load(Ordering::Relaxed),
            waiting_for_room: 0,
            oldest_age_s: oldest
                .map(|ns| Duration::from_nanos(now_unix_ns().saturating_sub(ns)).as_secs_f64()),
            state: *self.state.borrow(),
            instances: seen.instances,
            generation: self.generation.load(Ordering::Relaxed),
            flushed_commits: journal.map(Journal::flushed_commits).unwrap_or_default(),
            dead_letters: letters.map(LetterCounts::kept).unwrap_or_default(),
            dead_letter_bytes: letters.map(LetterCounts::bytes).unwrap_or_default(),
            dead_letters_dropped: letters.map(LetterCounts::dropped).unwrap_or_default(),
            dead_letters_lost: letters.map(LetterCounts::lost).unwrap_or_default(),
            dead_letters_unkept: journal.map_or(counts.dead_lettered, Journal::unwritten_letters),
            lost_since_start: counts.lost - journal.map_or(0, |journal| journal.found().lost),
            others: 0,
            disk_fault: journal
                .and_then(Journal::fault)
                .map(|fault| fault.to_string()),
            next_attempt_s: pause.map(|(until, _)| (until - now).as_secs_f64()),
            paused_by: pause.map(|(_, by)| by),
            last_error: seen.last_error.as_ref().map(|error| error.text.clone()),
            last_error_age_s: (seen.last_error.as_ref())
                .map(|error| (now - error.at).as_secs_f64()),
        }
    }
}
