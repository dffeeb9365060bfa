//! The result of firing an event: how it is reported, and how it is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use evbus_destination::Destination;
use serde::{Deserialize, Serialize};

use crate::lane::Shared;
use crate::router::Undecided;
use evbus_event::EventError;
use evbus_event::EventId;
use evbus_report::OncePerBurst;
use evbus_store::Receipt;

/// An event that the bus accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired {
    /// Its id.
    pub id: EventId,
    /// How many destinations it goes to; 0 if no pattern matches its profile, so that only listeners get
    /// it.
    pub destinations: usize,
}

/// Why a destination ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// The host is shutting down.
    #[error("the host is shutting down")]
    Shutdown,
    /// The acct file was reloaded and no longer contains the entry.
    #[error("a reload of the acct file removed it")]
    Removed,
}

/// Why an event was not accepted.
///
/// After [`Event`](Self::Event), [`Full`](Self::Full) and [`Closed`](Self::Closed), nothing was sent
/// anywhere. After the others, the named destination does not keep the event, but listeners and other
/// destinations may have it: if it is fired again, it may be delivered to them twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The event cannot be made.
    #[error(transparent)]
    Event(#[from] EventError),
    /// `put_nowait` found no room at a destination whose policy is to wait.
    #[error(
        "the queue of destination {destination} is full; wait, use put, or set when_full: drop_newest"
    )]
    Full {
        /// The first such destination.
        destination: Destination,
    },
    /// A destination ended before it had the event, for example while the event waited for room.
    #[error(
        "destination {destination} stopped before it took the event: {why}; fire the event again"
    )]
    Gone {
        /// That destination.
        destination: Destination,
        /// Why it ended.
        why: EndReason,
    },
    /// The match plugin did not decide whether the event matches a destination.
    #[error(
        "the match plugin cannot decide whether profile {profile:?} matches destination {destination}, so the event is not kept there: {reason}"
    )]
    Undecided {
        /// The first such destination.
        destination: Destination,
        /// The profile that the event was fired under.
        profile: String,
        /// The reason given by the match plugin.
        reason: String,
    },
    /// A destination whose policy is `durable` could not write the event to disk. It may still be
    /// delivered.
    #[error("cannot store the event on disk for destination {destination}: {reason}")]
    NotStored {
        /// That destination.
        destination: Destination,
        /// Why it could not.
        reason: String,
    },
    /// The bus no longer accepts events: the host is shutting down.
    #[error("the bus no longer accepts events: the host is shutting down")]
    Closed,
}

impl PutError {
    /// The error for the first undecided destination.
    pub fn undecided(destination: Destination, profile: &str, why: &Undecided) -> Self {
        Self::Undecided {
            destination,
            profile: profile.chars().take(200).collect(),
            reason: why.reason.clone(),
        }
    }
}

/// How many events programs have fired, and whether they had a destination. Always: matched + unmatched
/// + undecided = fired. Error events and log events, which the host fires itself, are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FiredCounts {
    /// Events that were passed to destinations and listeners.
    pub fired: u64,
    /// Events that matched at least one destination, with every pattern decided.
    pub matched: u64,
    /// Events that no destination's pattern matches.
    pub unmatched: u64,
    /// Events for which the match plugin did not decide every pattern. Destinations that are known to
    /// match have them.
    pub undecided: u64,
}

/// The counters behind [`FiredCounts`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    matched: AtomicU64,
    unmatched: AtomicU64,
    undecided: AtomicU64,
    nowhere: OncePerBurst,
    /// Whether the firing program itself reports events without a destination.
    is_told_elsewhere: AtomicBool,
    undecidable: OncePerBurst,
}

impl Tally {
    /// Leaves the logging of events without a destination to the firing program.
    pub(crate) fn leave_unmatched_to_others(&self) {
        self.is_told_elsewhere.store(true, Ordering::Relaxed);
    }

    pub(crate) fn matched(&self) {
        self.matched.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts events of a profile without a destination, and logs them once per burst if there are destinations.
    pub(crate) fn unmatched(&self, profile: &str, count: u64, has_destinations: bool) {
        self.unmatched.fetch_add(count, Ordering::Relaxed);
        let is_told = self.is_told_elsewhere.load(Ordering::Relaxed);
        if has_destinations && !is_told && self.nowhere.begins() {
            tracing::warn!(
                "no destination's pattern matches profile {profile:?}; its events are sent to listeners only; check the patterns with `evbus route` (logged once per burst; all are counted as unmatched)"
            );
        }
    }

    /// Counts an event for which not every pattern was decided.
    pub(crate) fn undecided(&self, error: &PutError) {
        self.undecided.fetch_add(1, Ordering::Relaxed);
        if self.undecidable.begins() {
            tracing::error!("{error} (logged once per burst; all are counted as undecided)");
        }
    }

    pub(crate) fn counts(&self) -> FiredCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (matched, unmatched) = (read(&self.matched), read(&self.unmatched));
        let undecided = read(&self.undecided);
        FiredCounts {
            fired: matched + unmatched + undecided,
            matched,
            unmatched,
            undecided,
        }
    }
}

/// The receipts a program waits for until its events are on disk: the last one of each destination is
/// enough, because a destination writes its events in order.
#[derive(Debug, Default)]
pub struct Receipts(Vec<(Arc<Shared>, Receipt)>);

impl Receipts {
    /// Whether there is nothing to wait for.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the receipt of a lane for an event.
    pub fn add(&mut self, lane: &Arc<Shared>, receipt: Receipt) {
        match self
            .0
            .iter_mut()
            .find(|(other, _)| Arc::ptr_eq(other, lane))
        {
            Some((_, known)) if known.seq() >= receipt.seq() => {}
            Some((_, known)) => *known = receipt,
            None => self.0.push((Arc::clone(lane), receipt)),
        }
    }

    /// Adds those of another event.
    pub fn extend(&mut self, others: Self) {
        for (lane, receipt) in others.0 {
            self.add(&lane, receipt);
        }
    }

    /// Resolves when all events are on disk or settled.
    ///
    /// # Errors
    ///
    /// [`PutError::NotStored`] for the first event that cannot be stored.
    pub async fn written(self) -> Result<(), PutError> {
        for (lane, receipt) in self.0 {
            if let Err(reason) = receipt.written().await {
                return Err(PutError::NotStored {
                    destination: Destination::clone(&lane.destination()),
                    reason,
                });
            }
        }
        Ok(())
    }
}
