//! What a client that reconnects can receive.

use std::fmt;
use std::time::SystemTime;

use crate::Event;

/// An event, or a notice about the sequence of events.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Incoming {
    /// An event.
    Event(Event),
    /// The connection has just ended. The client reconnects by itself, and a [`Gap`](Self::Gap) follows.
    Lost(Lost),
    /// Events may be missing between the previous and the next event.
    Gap(Gap),
}

impl Incoming {
    /// The event; `None` for a notice.
    pub fn into_event(self) -> Option<Event> {
        match self {
            Self::Event(event) => Some(event),
            Self::Lost(_) | Self::Gap(_) => None,
        }
    }
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// When the client noticed.
    pub at: SystemTime,
    /// One sentence.
    pub reason: String,
    /// Whether the host closed the connection at once: it does not let this user listen, or has reached its
    /// limit of listeners. Only its operator can change that.
    pub turned_away: bool,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// A period from which events may be missing: the connection was lost, or more events waited for
/// subscriptions than are kept. Gaps that are not taken are merged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Nothing that was published before this time is missing: the client had read everything by then. While
    /// events are requested, the client reads at least once a second. For a listener that is disconnected
    /// because it does not read, this is long before the connection ends.
    pub from: SystemTime,
    /// When the client was connected again. Nothing published later is missing.
    pub until: SystemTime,
    /// How often the connection was lost.
    pub connections_lost: u64,
    /// How many events kept for subscriptions were dropped, the oldest first.
    pub pending_dropped: u64,
}

impl Gap {
    pub(crate) fn join(&mut self, later: &Self) {
        self.from = self.from.min(later.from);
        self.until = self.until.max(later.until);
        self.connections_lost += later.connections_lost;
        self.pending_dropped += later.pending_dropped;
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.until.duration_since(self.from).unwrap_or_default();
        write!(
            f,
            "events fired within {:.1} seconds may be missing",
            length.as_secs_f64()
        )?;
        match self.connections_lost {
            0 => {}
            1 => f.write_str("; the connection was lost")?,
            times => write!(f, "; the connection was lost {times} times")?,
        }
        match self.pending_dropped {
            0 => {}
            1 => f.write_str("; 1 event that waited for subscriptions was dropped")?,
            events => write!(
                f,
                "; {events} events that waited for subscriptions were dropped"
            )?,
        }
        Ok(())
    }
}
