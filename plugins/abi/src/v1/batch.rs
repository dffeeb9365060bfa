//! Events on their way into a plugin.

use std::ffi::c_void;

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr};

/// A string attribute of an event: a tag whose value is a string, such as `ref` or `type`.
///
/// Borrowed, as the event it belongs to, from the batch that carries it.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeV1<'a> {
    /// The tag's name, unique within its event.
    pub key: RStr<'a>,
    /// The tag's value.
    pub value: RStr<'a>,
}

/// One event, borrowed from the batch that carries it.
///
/// All memory belongs to the host and is shared between destinations; nothing may be written.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct EventV1<'a> {
    /// Unique, and ascending per firing thread: 48 bits of milliseconds since the Unix epoch, then 80 bits
    /// that the host makes unique. The same for every destination and every attempt.
    pub id: [u8; 16],
    /// When the event was fired, in nanoseconds since the Unix epoch.
    pub time_unix_ns: u64,
    /// Which attempt at this destination this is, from 1.
    pub attempt: u32,
    /// The name the event was fired under; never empty.
    pub profile: RStr<'a>,
    /// Media type of the body: `application/json`, `application/msgpack` or `text/plain`.
    pub content_type: RStr<'a>,
    /// The body as it is to arrive, byte for byte.
    pub body: RSlice<'a, u8>,
    /// The event's string attributes, in the order in which they were given.
    pub attributes: RSlice<'a, AttributeV1<'a>>,
}

/// Events handed over together; the unit of publishing, of retry and of acknowledgement.
///
/// Owned by whoever holds it. Dropping it, on any thread, gives the events back to the host; a
/// plugin that has answered for a batch may keep it as long as it likes, but its memory counts.
#[repr(C)]
#[derive(StableAbi)]
pub struct BatchV1 {
    owner: *mut c_void,
    events: *const EventV1<'static>,
    len: usize,
    release: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the owner is `Send + Sync` (bound of `BatchV1::new`), the events are read-only views of
// it, and `release` may run on any thread.
unsafe impl Send for BatchV1 {}
// SAFETY: as above; a shared batch gives out shared references only.
unsafe impl Sync for BatchV1 {}

/// The owner and the views that borrow from it, freed together.
struct Owned<O> {
    /// Dropped by `release` before the owner, from which they borrow.
    events: Vec<EventV1<'static>>,
    attributes: Vec<AttributeV1<'static>>,
    /// Not a `Box`: moving a box claims sole access to what it holds, from which the views borrow.
    owner: *mut O,
}

/// The events of a batch that is being made.
#[derive(Debug)]
pub struct ViewsV1<'a> {
    events: Vec<EventV1<'a>>,
    /// The attributes of all events, one after the other.
    attributes: Vec<AttributeV1<'a>>,
    /// The end of each event's attributes.
    ends: Vec<usize>,
}

impl<'a> ViewsV1<'a> {
    /// Adds an event with these attributes; its own are replaced.
    pub fn push(
        &mut self,
        event: EventV1<'a>,
        attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        let views = attributes.into_iter().map(|(key, value)| AttributeV1 {
            key: key.into(),
            value: value.into(),
        });
        self.attributes.extend(views);
        // Last, so that both are complete even if the caller's iterator panics.
        self.events.push(event);
        self.ends.push(self.attributes.len());
    }
}

impl BatchV1 {
    /// Makes a batch that keeps `owner` alive and shows the events that `views` pushes.
    ///
    /// `capacity` is how many events `views` will push. Called by the host.
    pub fn new<O, F>(owner: O, capacity: usize, views: F) -> Self
    where
        O: Send + Sync + 'static,
        F: for<'a> FnOnce(&'a O, &mut ViewsV1<'a>),
    {
        unsafe extern "C" fn release<O>(owned: *mut c_void) {
            // SAFETY: `owned` came from `Box::into_raw` in `new` for this very `O`, and `release`
            // is called once, by the only holder, in `BatchV1::drop`.
            let held = *unsafe { Box::from_raw(owned.cast::<Owned<O>>()) };
            drop((held.events, held.attributes));
            // SAFETY: `owner` came from `Box::into_raw` in `new`; the views that borrowed from it
            // are gone.
            drop(unsafe { Box::from_raw(held.owner) });
        }

        let owner = Box::into_raw(Box::new(owner));
        let mut shown: ViewsV1<'static> = ViewsV1 {
            events: Vec::with_capacity(capacity),
            attributes: Vec::new(),
            ends: Vec::with_capacity(capacity),
        };
        // SAFETY: `owner` stays at this address, unchanged and alive, until `release` drops it after
        // the views; nobody gets a `&mut O` in between. The reference cannot outlive this call, because
        // `views` takes any lifetime, and only this function makes `ViewsV1`.
        views(unsafe { &*owner }, &mut shown);
        let ViewsV1 {
            mut events,
            attributes,
            ends,
        } = shown;
        let mut start = 0;
        for (event, end) in events.iter_mut().zip(ends) {
            let own = &attributes[start..end];
            // SAFETY: the vector is not changed any more, moving it does not move what it holds, and
            // `release` drops it after the events that borrow from it.
            let own = unsafe { std::slice::from_raw_parts(own.as_ptr(), own.len()) };
            event.attributes = RSlice::from_slice(own);
            start = end;
        }
        let boxed = Box::new(Owned {
            events,
            attributes,
            owner,
        });
        Self {
            events: boxed.events.as_ptr(),
            len: boxed.events.len(),
            owner: Box::into_raw(boxed).cast(),
            release: release::<O>,
        }
    }

    /// The events, oldest first.
    pub fn events(&self) -> &[EventV1<'_>] {
        // SAFETY: `events` and `len` describe the vector inside `owner`, which lives as long as
        // `self` and is never changed; shortening the lifetime is sound because it is covariant.
        unsafe { std::slice::from_raw_parts(self.events, self.len) }
    }
}

impl Drop for BatchV1 {
    fn drop(&mut self) {
        // SAFETY: `release` belongs to `owner`, and this is the only call.
        unsafe { (self.release)(self.owner) }
    }
}

impl std::fmt::Debug for BatchV1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchV1")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
