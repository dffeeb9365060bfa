//! The receiving half of a client, without its socket: the same for both clients.

use std::time::{Duration, SystemTime};

use evbus_wire::LostSync;

use crate::inbox::Inbox;
use crate::pending::{Pending, PendingLimit};
use crate::{Error, Event, Gap, Incoming, Lost, TagFilter};

/// The first delay before reconnecting. Not zero, because something may accept connections and close them at once.
const FIRST_DELAY: Duration = Duration::from_millis(50);

/// The longest delay: Salt's programs try about once a second.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// A host that turns a listener away does so sooner than this after it has connected.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What was read but not asked for, and where events are missing.
#[derive(Debug)]
pub(crate) struct Reception {
    inbox: Inbox,
    pub(crate) pending: Pending,
    /// The last moment at which everything that had arrived was read.
    complete: SystemTime,
    /// Whether a connection was lost and not made again yet.
    interrupted: bool,
    lost: Option<Lost>,
    gap: Option<Gap>,
    connected_at: SystemTime,
    /// Whether anything was received over the connection.
    heard: bool,
    delay: Duration,
}

impl Reception {
    pub(crate) fn new(limit: PendingLimit) -> Self {
        Self {
            inbox: Inbox::default(),
            pending: Pending::new(limit),
            complete: SystemTime::now(),
            interrupted: false,
            lost: None,
            gap: None,
            connected_at: SystemTime::now(),
            heard: false,
            delay: FIRST_DELAY,
        }
    }

    /// Adds bytes that were read.
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        self.inbox.fill(bytes);
        self.heard = true;
        self.delay = FIRST_DELAY;
    }

    /// Records that there was nothing more to read.
    pub(crate) fn is_complete_now(&mut self) {
        self.complete = SystemTime::now();
    }

    /// The next event that passes the filter. Earlier ones are kept if they are subscribed to.
    pub(crate) fn next(&mut self, filter: &TagFilter) -> Result<Option<Event>, LostSync> {
        while let Some(event) = self.inbox.next()? {
            if filter.passes(event.tag()) {
                return Ok(Some(event));
            }
            let pending_dropped = self.pending.offer(&event);
            if pending_dropped > 0 {
                let now = SystemTime::now();
                self.add_gap(Gap {
                    from: now,
                    until: now,
                    connections_lost: 0,
                    pending_dropped,
                });
            }
        }
        Ok(None)
    }

    /// Records that the connection was made.
    pub(crate) fn connected(&mut self) {
        let now = SystemTime::now();
        if std::mem::take(&mut self.interrupted) {
            self.add_gap(Gap {
                from: self.complete,
                until: now,
                connections_lost: 1,
                pending_dropped: 0,
            });
        }
        self.complete = now;
        (self.connected_at, self.heard) = (now, false);
        // The gap contains it.
        self.lost = None;
    }

    /// The error for a connection that the host has closed.
    pub(crate) fn closed(&self) -> Error {
        if self.heard {
            Error::Closed
        } else {
            Error::TurnedAway
        }
    }

    /// Records that the connection has ended. Half a frame is lost with it.
    pub(crate) fn disconnected(&mut self, reason: &Error) {
        self.inbox = Inbox::default();
        self.interrupted = true;
        let at = SystemTime::now();
        // A host that ends after a long time without an event has not turned anybody away.
        let soon = at
            .duration_since(self.connected_at)
            .is_ok_and(|since| since < AT_ONCE);
        self.lost = Some(Lost {
            at,
            reason: reason.to_string(),
            turned_away: soon && matches!(reason, Error::TurnedAway),
        });
    }

    /// How long to wait before the next attempt to connect.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let delay = self.delay;
        self.delay = (delay * 2).min(LONGEST_DELAY);
        delay
    }

    /// What must be reported before the next event.
    pub(crate) fn take_notice(&mut self) -> Option<Incoming> {
        if let Some(lost) = self.lost.take() {
            return Some(Incoming::Lost(lost));
        }
        self.gap.take().map(Incoming::Gap)
    }

    pub(crate) fn take_gap(&mut self) -> Option<Gap> {
        self.gap.take()
    }

    fn add_gap(&mut self, gap: Gap) {
        match &mut self.gap {
            Some(earlier) => earlier.join(&gap),
            none => *none = Some(gap),
        }
    }
}
