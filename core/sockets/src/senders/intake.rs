//! The receiver of incoming events.

use evbus_event::Event;

/// Takes incoming events from the sockets. Clones share one intake.
pub trait Intake: Clone + Send + Sync + 'static {
    /// What it gives for events that are kept.
    type Receipts: Receipts;

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
    fn take(&self, event: Event) -> impl Future<Output = Taken<Self::Receipts>> + Send;
}

/// The receipts that a program waits for before it gets its answer.
pub trait Receipts: Default + Send + Sync + 'static {
    /// Adds those of another event.
    fn extend(&mut self, others: Self);

    /// Resolves when all events are on disk where they have to be, or settled.
    ///
    /// # Errors
    ///
    /// One sentence on why one is not.
    fn written(self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Nothing has to be waited for.
impl Receipts for () {
    fn extend(&mut self, (): Self) {}

    async fn written(self) -> Result<(), String> {
        Ok(())
    }
}

/// Whether events of a profile go to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// They match no destination.
    No,
    /// They match at least one destination.
    Yes,
    /// The name is new; it is decided when an event is taken.
    NotKnown,
}

/// What the host did with an event.
#[derive(Debug)]
pub enum Taken<R> {
    /// It is in the queues of all its destinations; when these receipts resolve, it is on disk.
    Kept(R),
    /// It matches no destination.
    Unmatched,
    /// It is not kept at every matching destination; the reason.
    Refused(String),
}
