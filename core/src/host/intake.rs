//! The bus, as the event sockets see it.

use crate::bus::Bus;
use crate::event::Event;
use crate::salt::{Intake, Taken};

impl Intake for Bus {
    fn is_open(&self) -> bool {
        Self::is_open(self)
    }

    fn wants(&self, profile: &str) -> bool {
        self.has_destination(profile)
    }

    async fn take(&self, event: Event) -> Taken {
        match self.put_published(event).await {
            Ok((_, receipts)) => Taken::Queued(receipts),
            Err(error) => {
                tracing::warn!("an event from a socket was not taken: {error}");
                Taken::Refused
            }
        }
    }
}
