//! Receivers of every event, whether or not it has a destination.

use std::fmt;

use evbus_event::Event;

/// Receives every event.
pub trait Listeners: fmt::Debug + Send + Sync {
    /// Sends an event to every listener. Never waits. Events of one thread keep their order.
    fn publish(&self, event: &Event);
}
