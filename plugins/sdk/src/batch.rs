//! Events as a provider sees them.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use evbus_abi::v1::{BatchV1, EventV1};
use evbus_expression::{Parsed, Subject};
use uuid::Uuid;

/// Events to publish together, oldest first; never empty.
///
/// Memory is shared with the host and with other destinations: reading copies nothing. Keep the
/// batch (it can be moved into tasks and threads) for as long as its events are read.
#[derive(Debug)]
pub struct Batch(Arc<Shared>);

/// A batch, and what its templates have found out about its events.
#[derive(Debug)]
struct Shared {
    batch: BatchV1,
    /// By position; made when a template first refers to a body.
    parsed: OnceLock<Box<[Parsed]>>,
}

impl Batch {
    pub(crate) fn new(batch: BatchV1) -> Self {
        Self(Arc::new(Shared {
            batch,
            parsed: OnceLock::new(),
        }))
    }

    /// The number of events in the batch.
    pub fn len(&self) -> usize {
        self.0.batch.events().len()
    }

    /// Whether the batch is empty; the host never passes an empty batch.
    pub fn is_empty(&self) -> bool {
        self.0.batch.events().is_empty()
    }

    /// The events, oldest first. Their positions are the ones that
    /// [`Outcomes::set`](crate::Outcomes::set) takes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event<'_>> + DoubleEndedIterator + Clone {
        let event = |(index, view)| Event {
            view,
            batch: &self.0,
            index,
        };
        self.0.batch.events().iter().enumerate().map(event)
    }

    /// The event at a position.
    pub fn get(&self, index: usize) -> Option<Event<'_>> {
        let view = self.0.batch.events().get(index)?;
        Some(Event {
            view,
            batch: &self.0,
            index,
        })
    }
}

/// One event of a [`Batch`].
#[derive(Clone, Copy)]
pub struct Event<'a> {
    view: &'a EventV1<'a>,
    batch: &'a Arc<Shared>,
    index: usize,
}

impl<'a> Event<'a> {
    /// The event as templates see it.
    pub(crate) fn subject(&self) -> impl Subject + use<> {
        InBatch {
            batch: Arc::clone(self.batch),
            index: self.index,
        }
    }

    /// The event's id: the same at every destination and every attempt, so that a far system can
    /// recognise a duplicate.
    pub fn id(&self) -> EventId {
        EventId(self.view.id)
    }

    /// The name the event was fired under.
    pub fn profile(&self) -> &'a str {
        self.view.profile.as_str()
    }

    /// The body, to be delivered unchanged.
    pub fn body(&self) -> &'a [u8] {
        self.view.body.as_slice()
    }

    /// The media type of the body: `application/json`, `application/msgpack` or `text/plain`.
    pub fn content_type(&self) -> &'a str {
        self.view.content_type.as_str()
    }

    /// When the event was fired.
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.view.time_unix_ns)
    }

    /// When the event was fired, in nanoseconds since the Unix epoch.
    pub fn time_unix_ns(&self) -> u64 {
        self.view.time_unix_ns
    }

    /// The number of this attempt at this destination, from 1.
    pub fn attempt(&self) -> u32 {
        self.view.attempt
    }

    /// The event's string tags, in the order in which they were given.
    pub fn attributes(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone {
        self.view
            .attributes
            .as_slice()
            .iter()
            .map(|attribute| (attribute.key.as_str(), attribute.value.as_str()))
    }
}

/// An event of a batch that it keeps alive.
#[derive(Debug, Clone)]
struct InBatch {
    batch: Arc<Shared>,
    index: usize,
}

impl InBatch {
    fn view(&self) -> &EventV1<'_> {
        &self.batch.batch.events()[self.index]
    }
}

impl Subject for InBatch {
    fn id(&self) -> [u8; 16] {
        self.view().id
    }

    fn time_unix_ns(&self) -> u64 {
        self.view().time_unix_ns
    }

    fn profile(&self) -> &str {
        self.view().profile.as_str()
    }

    fn content_type(&self) -> &str {
        self.view().content_type.as_str()
    }

    fn body(&self) -> &[u8] {
        self.view().body.as_slice()
    }

    fn tags(&self, each: &mut dyn FnMut(&str, &str)) {
        for attribute in self.view().attributes.as_slice() {
            each(attribute.key.as_str(), attribute.value.as_str());
        }
    }

    fn parsed(&self) -> &Parsed {
        let new = || self.batch.batch.events().iter().map(|_| Parsed::default());
        &self.batch.parsed.get_or_init(|| new().collect())[self.index]
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
