//! Where the events of programs go.

use crate::event::Event;
use crate::fired::Receipts;

/// Takes the events that come in through sockets. A clone is the same intake.
pub(crate) trait Intake: Clone + Send + Sync + 'static {
    /// Whether anything is taken at all. Listeners hear of nothing that is not.
    fn is_open(&self) -> bool;

    /// Whether an event of this profile goes to a destination. One that does not is not made, and
    /// told to [`unmatched`](Self::unmatched).
    fn wants(&self, profile: &str) -> Wanted;

    /// Counts an event that goes to no destination.
    fn unmatched(&self, profile: &str);

    /// Gets ready to take these events, one after the other, of which of some it is not known whether they
    /// are wanted.
    fn prepare(&self, events: &[Event]) -> impl Future<Output = ()> + Send;

    /// Takes an event that listeners have been sent. Waiting in it slows the program down that
    /// fired.
    fn take(&self, event: Event) -> impl Future<Output = Taken> + Send;
}

/// Whether events of a profile go to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    No,
    Yes,
    /// The name is new; taking an event finds out.
    NotKnown,
}

/// What the host made of an event.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is in the queues of all its destinations; wait for these to know it on disk.
    Kept(Receipts),
    /// It has no destination.
    Unmatched,
    /// It is not kept at every destination that it belongs to: why.
    Refused(String),
}
