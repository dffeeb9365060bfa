//! Programs that wait for room in a lane's queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::log_scope;
use super::queue::{NotQueued, Pushed, Queue};
use super::{Shared, Verdict};
use evbus_destination::WhenFull;
use evbus_event::Event;
use evbus_report::OncePerBurst;
use evbus_store::Receipt;

/// A wait that is longer is worth a log line.
const LONG: Duration = Duration::from_secs(5);

/// What an event of ordinary size takes.
const ROOM_OF_ONE: u64 = 1024;

/// How many puts are waiting.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    events: AtomicU64,
    long: OncePerBurst,
}

/// A put that is waiting, until this is dropped.
struct Waiter<'a>(&'a Waiters);

impl Waiters {
    pub(super) fn count(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    fn enter(&self) -> Waiter<'_> {
        self.events.fetch_add(1, Ordering::Relaxed);
        Waiter(self)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.events.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Puts an event into the queue, waiting for room; fails only where the destination ends. Cancel
    /// safe: either it is in or it is not.
    pub(crate) async fn push_waiting(
        self: &Arc<Self>,
        event: &Arc<Event>,
        verdict: Verdict,
    ) -> Result<Option<Receipt>, NotQueued> {
        let (event, verdict) = (std::slice::from_ref(event), std::slice::from_ref(&verdict));
        let pushed = self.push_all_waiting(event, verdict).await;
        match pushed.stop {
            None => Ok(pushed.receipt),
            Some(stop) => Err(stop),
        }
    }

    /// As [`push_waiting`](Self::push_waiting), of many events in their order. They get in as there is room;
    /// if the destination ends, the later ones do not.
    pub(crate) async fn push_all_waiting(
        self: &Arc<Self>,
        events: &[Arc<Event>],
        verdicts: &[Verdict],
    ) -> Pushed {
        let _waiter = self.waiters.enter();
        let mut long = std::pin::pin!(tokio::time::sleep(LONG));
        let mut is_told = false;
        let mut all = Pushed::default();
        loop {
            let room = self.queue.room();
            let verdicts = verdicts.get(all.events..).unwrap_or_default();
            let pushed = self.push_all(&events[all.events..], verdicts);
            all.events += pushed.events;
            all.receipt = pushed.receipt.or(all.receipt);
            if pushed.stop != Some(NotQueued::Full) {
                all.stop = pushed.stop;
                return all;
            }
            tokio::select! {
                biased;
                () = room => {}
                () = &mut long, if !is_told => {
                    is_told = true;
                    self.tell_waiting();
                }
            }
        }
    }

    fn tell_waiting(self: &Arc<Self>) {
        if self.waiters.long.begins() {
            log_scope::within_now(self, || {
                tracing::warn!(
                    "destination {}: programs are waiting for room: {} (logged once per burst)",
                    self.destination(),
                    self.queue.why_full()
                );
            });
        }
    }
}

impl Queue {
    /// Why an event of ordinary size has to wait, as far as can be told.
    pub(super) fn why_full(&self) -> String {
        let inner = self.inner.lock();
        let rules = &inner.rules;
        let journal =
            (self.journal.as_ref()).filter(|_| rules.durable || rules.when_full == WhenFull::Spill);
        let Some(journal) = journal else {
            return "its queue is full".to_owned();
        };
        if let Some(fault) = journal.fault() {
            format!("the disk does not accept its events: {fault}")
        } else if !journal.state().has_room(ROOM_OF_ONE) {
            "the state directory is full (--state-limit)".to_owned()
        } else if journal.bytes().saturating_add(ROOM_OF_ONE) > rules.disk_bytes {
            "its queue on disk is full (disk.bytes)".to_owned()
        } else {
            "its queue is full".to_owned()
        }
    }
}
