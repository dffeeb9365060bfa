//! The bus, as used by the event sockets.

use evbus_delivery::Bus;
use evbus_event::Event;
use evbus_sockets::{Confirmation, Intake, Taken, Wanted};

/// Fires events from the event sockets.
#[derive(Debug, Clone)]
pub(crate) struct FromSockets(pub Bus);

impl Intake for FromSockets {
    type Confirmation = OnDisk;

    fn is_open(&self) -> bool {
        self.0.is_open()
    }

    fn wants(&self, profile: &str) -> Wanted {
        match self.0.has_destination(profile) {
            None => Wanted::NotKnown,
            Some(true) => Wanted::Yes,
            Some(false) => Wanted::No,
        }
    }

    fn unmatched(&self, profile: &str, count: u64) {
        self.0.count_unmatched(profile, count);
    }

    async fn prepare(&self, events: &[Event]) {
        self.0.prepare(events.iter().map(Event::profile)).await;
    }

    async fn take(&self, events: Vec<Event>) -> Taken<OnDisk> {
        let fired = self.0.put_all_published(events).await;
        Taken {
            confirmation: OnDisk(fired.receipts),
            has_unmatched: fired.has_unmatched,
            refused: fired.faults.values().map(ToString::to_string).collect(),
        }
    }
}

/// What must be on disk before a program is told that its events are kept.
#[derive(Debug, Default)]
pub(crate) struct OnDisk(evbus_delivery::Receipts);

impl Confirmation for OnDisk {
    fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    async fn written(self) -> Result<(), String> {
        self.0.written().await.map_err(|error| error.to_string())
    }
}
