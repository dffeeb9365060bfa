//! The listeners on the event sockets, as used by the bus.

use evbus_delivery::Listeners;
use evbus_event::Event;
use evbus_sockets::Publisher;

/// Sends every event to the listeners at the event sockets.
#[derive(Debug)]
pub(crate) struct AtSockets(pub Publisher);

impl Listeners for AtSockets {
    fn publish(&self, event: &Event) {
        self.0.publish(event);
    }
}
