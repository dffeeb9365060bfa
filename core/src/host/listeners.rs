//! The listeners at the event sockets, as the bus sees them.

use crate::event::Event;
use crate::sockets::Publisher;
use evbus_delivery::Listeners;

/// Sends every event to those who listen at the event sockets.
#[derive(Debug)]
pub(crate) struct AtSockets(pub(crate) Publisher);

impl Listeners for AtSockets {
    fn publish(&self, event: &Event) {
        self.0.publish(event);
    }
}
