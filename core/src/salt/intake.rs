//! Where the events of programs go.

use crate::bus::Receipts;
use crate::event::Event;

/// Takes the events that come in through sockets. A clone is the same intake.
pub(crate) trait Intake: Clone + Send + Sync + 'static {
    /// Whether anything is taken at all. Listeners hear of nothing that is not.
    fn is_open(&self) -> bool;

    /// Whether an event of this profile goes anywhere. One that does not is not made, and counts as
    /// taken.
    fn wants(&self, profile: &str) -> bool;

    /// Takes an event that listeners have been sent. Waiting in it slows the program down that
    /// fired.
    fn take(&self, event: Event) -> impl Future<Output = Taken> + Send;
}

/// What the host made of an event.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is in the queues; wait for these to know it on disk.
    Queued(Receipts),
    /// It is nowhere.
    Refused,
}
