//! The listeners at the event sockets, as the bus sees them.

use evbus_delivery::Listeners;
use evbus_event::Event;
use evbus_sockets::Publisher;

/// Sends every event to those who listen at the event sockets.
#[derive(Debug)]
pub(crate) struct AtSockets(pub Publisher);

impl Listeners for AtSockets {
    fn publish(&self, event: &Event) {
        self.0.publish(event);
    }
}
