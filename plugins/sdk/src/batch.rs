//! Events as a provider sees them.

use std::fmt;
use std::time::{Duration, SystemTime};

use evbus_abi::v1::{BatchV1, EventV1};
use uuid::Uuid;

/// Events to publish together, oldest first; never empty.
///
/// Memory is shared with the host and with other destinations: reading copies nothing. Keep the
/// batch (it can be moved into tasks and threads) for as long as its events are read.
#[derive(Debug)]
pub struct Batch(BatchV1);

impl Batch {
    pub(crate) fn new(batch: BatchV1) -> Self {
        Self(batch)
    }

    /// The number of events in the batch.
    pub fn len(&self) -> usize {
        self.0.events().len()
    }

    /// Whether the batch is empty; the host never passes an empty batch.
    pub fn is_empty(&self) -> bool {
        self.0.events().is_empty()
    }

    /// The events, oldest first. Their positions are the ones that
    /// [`Outcomes::set`](crate::Outcomes::set) takes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event<'_>> + DoubleEndedIterator + Clone {
        self.0.events().iter().map(Event)
    }

    /// The event at a position.
    pub fn get(&self, index: usize) -> Option<Event<'_>> {
        self.0.events().get(index).map(Event)
    }
}

/// One event of a [`Batch`].
#[derive(Clone, Copy)]
pub struct Event<'a>(&'a EventV1<'a>);

impl<'a> Event<'a> {
    /// The event's id: the same at every destination and every attempt, so that a far system can
    /// recognise a duplicate.
    pub fn id(&self) -> EventId {
        EventId(self.0.id)
    }

    /// The name the event was fired under.
    pub fn profile(&self) -> &'a str {
        self.0.profile.as_str()
    }

    /// The body, to be delivered unchanged.
    pub fn body(&self) -> &'a [u8] {
        self.0.body.as_slice()
    }

    /// The media type of the body: `application/json`, `application/msgpack` or `text/plain`.
    pub fn content_type(&self) -> &'a str {
        self.0.content_type.as_str()
    }

    /// When the event was fired.
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0.time_unix_ns)
    }

    /// When the event was fired, in nanoseconds since the Unix epoch.
    pub fn time_unix_ns(&self) -> u64 {
        self.0.time_unix_ns
    }

    /// The number of this attempt at this destination, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// The event's string tags, in the order in which they were given.
    pub fn attributes(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone {
        self.0
            .attributes
            .as_slice()
            .iter()
            .map(|attribute| (attribute.key.as_str(), attribute.value.as_str()))
    }
}

impl fmt::Debug for Event<'_> {
    // Bodies may contain anything, so they are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &format_args!("{}", self.id()))
            .field("profile", &self.profile())
            .field("bytes", &self.body().len())
            .finish_non_exhaustive()
    }
}

/// 16 bytes that identify an event; displayed as a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// The displayed text, without an allocation and without a formatter.
    pub fn text(self, buffer: &mut [u8; 36]) -> &str {
        Uuid::from_bytes(self.0).hyphenated().encode_lower(buffer)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}
