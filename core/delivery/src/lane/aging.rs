//! The policy's `max_age`: gives up events that could not be delivered in time.
//!
//! An event that has failed before is given up at this age wherever it waits. An event without an
//! attempt is given up only while the destination accepts none: after it has failed to connect, while it
//! reports that its far system is unreachable, or while it pauses. Otherwise events are tried, however
//! old they are, so a host that was down for longer than `max_age` delivers the events on disk. Events
//! that are only on disk are checked as they are read back, which continues meanwhile.

use std::convert::Infallible;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::InstanceState;
use super::queue::Queue;
use super::queued::Queued;
use super::worker::{Worker, loaded};
use evbus_event::now_unix_ns;

/// How often ages are looked at where nothing else happens; `max_age` is a second at least.
const TICK: Duration = Duration::from_millis(500);

/// Most events that are given up at a time.
const MAX_AT_ONCE: usize = 1024;

impl Worker {
    /// Gives up what gets too old while there is no instance. Never resolves. Cancel safe.
    pub(super) async fn age(&mut self) -> Infallible {
        if self.setup.policy.retry.max_age.is_none() {
            return std::future::pending().await;
        }
        loop {
            self.ask_disk();
            self.give_up_old(self.unreachable).await;
            self.publish_numbers();
            tokio::select! {
                loaded = loaded(&mut self.loading), if self.loading.is_some() => {
                    self.take_loaded(loaded);
                }
                () = sleep(TICK) => {}
            }
        }
    }

    /// As `age`, where an instance is at work and the time for it has come.
    pub(super) async fn age_beside_instance(&mut self) {
        let now = Instant::now();
        if self.setup.policy.retry.max_age.is_none() || self.aged > now {
            return;
        }
        self.aged = now + TICK;
        self.give_up_old(self.is_away()).await;
    }

    /// When ages are to be looked at, where nothing else happens until then.
    pub(super) fn next_aging(&self) -> Option<Instant> {
        let wanted = self.setup.policy.retry.max_age.is_some()
            && (!self.delayed.is_empty() || (self.is_away() && self.shared.queue.holds_events()));
        wanted.then_some(self.aged)
    }

    /// Whether the destination takes nothing at the moment, though there is an instance.
    fn is_away(&self) -> bool {
        self.resume > Instant::now() || self.shared.observed.state() == InstanceState::Disconnected
    }

    /// Makes dead letters of what is older than `max_age`. Cancel safe.
    async fn give_up_old(&mut self, untried_too: bool) {
        let Some(max_age) = self.setup.policy.retry.max_age else {
            return;
        };
        let max_age = u64::try_from(max_age.as_nanos()).unwrap_or(u64::MAX);
        let until = now_unix_ns().saturating_sub(max_age);
        let old: Vec<_> = (self.delayed.iter())
            .filter(|(_, queued)| queued.event.time_unix_ns() <= until)
            .map(|(due, _)| *due)
            .collect();
        for part in old.chunks(MAX_AT_ONCE) {
            let events: Vec<_> = (part.iter())
                .filter_map(|due| self.delayed.remove(due))
                .collect();
            self.bury_old(&events).await;
            // There may be millions, and other lanes' tasks on this thread.
            yield_now().await;
        }
        if !untried_too {
            return;
        }
        loop {
            let events = self.shared.queue.take_fired_until(until, MAX_AT_ONCE);
            if events.is_empty() {
                return;
            }
            self.bury_old(&events).await;
            yield_now().await;
        }
    }
}

impl Queue {
    /// Whether events wait in memory or on disk.
    fn holds_events(&self) -> bool {
        let inner = self.inner.lock();
        !inner.waiting.is_empty() || inner.on_disk > 0
    }

    /// Takes events that were fired at a time or before it from the front: one that is younger keeps
    /// those behind it, which as a rule are younger still.
    fn take_fired_until(&self, until_ns: u64, max: usize) -> Vec<Queued> {
        let mut inner = self.inner.lock();
        let old = |queued: &Queued| queued.event.time_unix_ns() <= until_ns;
        let count = inner
            .waiting
            .iter()
            .take(max)
            .take_while(|queued| old(queued))
            .count();
        inner.waiting.drain(..count).collect()
    }
}
