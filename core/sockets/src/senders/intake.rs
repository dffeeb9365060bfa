//! The receiver of incoming events.

use evbus_event::Event;

/// Takes incoming events from the sockets. Clones share one intake.
pub trait Intake: Clone + Send + Sync + 'static {
    /// What it returns for events that are kept.
    type Confirmation: Confirmation;

    /// Whether any events are taken. Listeners do not receive an event that is not taken.
    fn is_open(&self) -> bool;

    /// Whether an event of this profile has a destination. If it has none, the event is not created, but
    /// counted by [`unmatched`](Self::unmatched).
    fn wants(&self, profile: &str) -> Wanted;

    /// Counts so many events of this profile, which have no destination.
    fn unmatched(&self, profile: &str, count: u64);

    /// Prepares to take these events, one after the other. For some of them it is not known yet whether they
    /// are wanted.
    fn prepare(&self, events: &[Event]) -> impl Future<Output = ()> + Send;

    /// Takes events of one program, which were sent to the listeners, in their order. While it waits, the
    /// program waits too.
    fn take(&self, events: Vec<Event>) -> impl Future<Output = Taken<Self::Confirmation>> + Send;
}

/// What a program waits for before it gets its answer.
pub trait Confirmation: Default + Send + Sync + 'static {
    /// Adds what is to be waited for because of another event.
    fn extend(&mut self, others: Self);

    /// Resolves when all events are on disk where they have to be, or settled.
    ///
    /// # Errors
    ///
    /// One sentence on why one is not.
    fn written(self) -> impl Future<Output = Result<(), String>> + Send;
}

/// There is nothing to wait for.
impl Confirmation for () {
    fn extend(&mut self, (): Self) {}

    async fn written(self) -> Result<(), String> {
        Ok(())
    }
}

/// Whether events of a profile have a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// They match no destination.
    No,
    /// They match at least one destination.
    Yes,
    /// The name is new; it is decided when an event is taken.
    NotKnown,
}

/// What the host did with events.
#[derive(Debug, Default)]
pub struct Taken<C> {
    /// When it resolves, those that are kept are on disk where they have to be.
    pub confirmation: C,
    /// Whether some match no destination.
    pub has_unmatched: bool,
    /// Why events are not kept at every matching destination, a reason for each.
    pub refused: Vec<String>,
}
