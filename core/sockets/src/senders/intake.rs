//! Where the events of programs go.

use evbus_event::Event;

/// Takes the events that come in through sockets. A clone is the same intake.
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

/// What a program that waits for an answer has to wait for.
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
    /// They go to none.
    No,
    /// They go to at least one.
    Yes,
    /// The name is new; taking an event finds out.
    NotKnown,
}

/// What the host made of an event.
#[derive(Debug)]
pub enum Taken<R> {
    /// It is in the queues of all its destinations; wait for these to know it on disk.
    Kept(R),
    /// It has no destination.
    Unmatched,
    /// It is not kept at every destination that it belongs to: why.
    Refused(String),
}
