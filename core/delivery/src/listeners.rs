//! Those who hear of every event, whether a destination has it or not.

use std::fmt;

use evbus_event::Event;

/// Hears of every event.
pub trait Listeners: fmt::Debug + Send + Sync {
    /// Sends an event to every listener there is. Never waits. Events of one thread keep their order.
    fn publish(&self, event: &Event);
}
