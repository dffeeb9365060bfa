//! What a client that reconnects can receive.

use std::fmt;
use std::time::SystemTime;

use crate::Event;

/// An event, or what must be known to judge a sequence of events.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Incoming {
    /// An event.
    Event(Event),
    /// The connection has just ended. The client connects again by itself, and then comes a
    /// [`Gap`](Self::Gap).
    Lost(Lost),
    /// Events may be missing between those before and those after it.
    Gap(Gap),
}

impl Incoming {
    /// The event, if it is one.
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
    /// Whether the host closed the connection at once: it does not let this user listen, or has as many
    /// listeners as it may have, which only its operator can change.
    pub turned_away: bool,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// A time of which events may be missing: the connection was lost in it, or more events waited for
/// subscriptions than are kept. Gaps that nobody takes become one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Nothing that was published before is missing: then the client had read all there was. While
    /// it is asked for events it looks at least once a second; for a listener that is cut off
    /// because it does not read, this is long before the connection ends.
    pub from: SystemTime,
    /// When the client was connected again. Nothing that was published later is missing.
    pub until: SystemTime,
    /// How often the connection was lost.
    pub connections_lost: u64,
    /// How many events were dropped that had been kept for subscriptions, the oldest first.
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
