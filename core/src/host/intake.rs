//! The bus, as the event sockets see it.

use crate::bus::Bus;
use crate::event::Event;
use crate::salt::{Intake, Taken, Wanted};

impl Intake for Bus {
    fn is_open(&self) -> bool {
        Self::is_open(self)
    }

    fn wants(&self, profile: &str) -> Wanted {
        match self.has_destination(profile) {
            None => Wanted::NotKnown,
            Some(true) => Wanted::Yes,
            Some(false) => Wanted::No,
        }
    }

    fn unmatched(&self, profile: &str) {
        self.count_unmatched(profile);
    }

    async fn prepare(&self, events: &[Event]) {
        Self::prepare(self, events.iter().map(Event::profile)).await;
    }

    async fn take(&self, event: Event) -> Taken {
        match self.put_published(event).await {
            Ok((fired, _)) if fired.destinations == 0 => Taken::Unmatched,
            Ok((_, receipts)) => Taken::Kept(receipts),
            Err(error) => Taken::Refused(error.to_string()),
        }
    }
}
