//! Where an event is queued, or why it is not.

use std::sync::Arc;

use evbus_event::Event;
use evbus_store::Receipt;

/// Why an event is not in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotQueued {
    /// There is no room for it now.
    Full,
    /// The destination has ended, and takes nothing any more.
    Gone,
}

/// An event that is not in the queue, and why.
pub(crate) type Refused = (NotQueued, Arc<Event>);

/// Where an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into memory; and on disk where the policy is `durable`.
    Memory,
    /// On disk alone.
    Disk,
    /// Nowhere: there is no room, and the policy is to drop it.
    Dropped,
    /// Nowhere: the policy's expressions keep it from the destination, or it is a repeat.
    KeptOut,
}

/// What became of events that were to be queued together.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
    /// How many of them are queued, dropped or kept out, from the first on.
    pub(crate) events: usize,
    /// The last receipt to wait for: of a `durable` event, or of one that is on disk alone while the disk may be
    /// full.
    pub(crate) receipt: Option<Receipt>,
    /// Whether the policy had some dropped, and one of them is the first of a burst.
    pub(crate) begins_dropping: bool,
    /// Why the next one is not queued.
    pub(crate) stop: Option<NotQueued>,
}

/// What an event that was put into its place brings about.
#[derive(Debug, Default)]
pub(super) struct Entered {
    /// The lane's task may have nothing else to do.
    pub(super) wakes: bool,
    /// What the program that fires it has to wait for. Boxed, because most events have none, and then what is told
    /// of them fits into registers.
    pub(super) receipt: Option<Box<Receipt>>,
}
