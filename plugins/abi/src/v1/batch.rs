//! Events on their way into a plugin.

use std::ffi::c_void;
use std::sync::OnceLock;

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
    events: unsafe extern "C" fn(*const c_void) -> RSlice<'static, EventV1<'static>>,
    release: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: what `owner` points to is `Send + Sync` (bounds of `BatchV1::new`, and what it has of its own), and both
// functions may run on any thread.
unsafe impl Send for BatchV1 {}
// SAFETY: as above; a shared batch gives out shared references only.
unsafe impl Sync for BatchV1 {}

/// The owner and the views that borrow from it, freed together.
struct Owned<O, F> {
    show: F,
    count: usize,
    /// Made when the plugin first looks at the events: until then a batch needs little memory. Dropped
    /// before the owner, from which they borrow.
    shown: OnceLock<Shown>,
    /// Not a `Box`: moving a box claims sole access to what it holds, from which the views borrow.
    owner: *mut O,
}

/// The views, with the attributes that they borrow.
struct Shown {
    events: Vec<EventV1<'static>>,
    _attributes: Vec<AttributeV1<'static>>,
}

impl<O, F> Drop for Owned<O, F> {
    fn drop(&mut self) {
        self.shown.take();
        // SAFETY: `owner` came from `Box::into_raw` in `BatchV1::new`, and this is the only drop; the views that
        // borrowed from it are gone.
        drop(unsafe { Box::from_raw(self.owner) });
    }
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

impl ViewsV1<'static> {
    /// The events, each with its attributes.
    fn finish(self) -> Shown {
        let Self {
            mut events,
            attributes,
            ends,
        } = self;
        let mut start = 0;
        for (event, end) in events.iter_mut().zip(ends) {
            let own = &attributes[start..end];
            // SAFETY: the vector is not changed any more, moving it does not move what it holds, and it is dropped
            // together with the events that borrow from it.
            let own = unsafe { std::slice::from_raw_parts(own.as_ptr(), own.len()) };
            event.attributes = RSlice::from_slice(own);
            start = end;
        }
        Shown {
            events,
            _attributes: attributes,
        }
    }
}

impl BatchV1 {
    /// Makes a batch that keeps `owner` alive and shows the `count` events that `show` pushes.
    ///
    /// Called by the host. `show` is called at most once, when the plugin looks at the events, on a thread of the
    /// plugin; if it panics, the process ends.
    pub fn new<O, F>(owner: O, count: usize, show: F) -> Self
    where
        O: Send + Sync + 'static,
        F: for<'a> Fn(&'a O, &mut ViewsV1<'a>) + Send + Sync + 'static,
    {
        unsafe extern "C" fn events<O, F>(owned: *const c_void) -> RSlice<'static, EventV1<'static>>
        where
            O: 'static,
            F: for<'a> Fn(&'a O, &mut ViewsV1<'a>),
        {
            // SAFETY: `owned` came from `Box::into_raw` in `new` for this very `O` and `F`; it is only shared until
            // `release`.
            let owned = unsafe { &*owned.cast::<Owned<O, F>>() };
            let shown = owned.shown.get_or_init(|| {
                let mut views: ViewsV1<'static> = ViewsV1 {
                    events: Vec::with_capacity(owned.count),
                    attributes: Vec::new(),
                    ends: Vec::with_capacity(owned.count),
                };
                // SAFETY: the owner stays at this address, unchanged and alive, until it is dropped after the views;
                // nobody gets a `&mut O` in between. The reference cannot outlive this call, because `show` takes any
                // lifetime, and only this function makes `ViewsV1`.
                (owned.show)(unsafe { &*owned.owner }, &mut views);
                views.finish()
            });
            RSlice::from_slice(&shown.events)
        }

        unsafe extern "C" fn release<O, F>(owned: *mut c_void) {
            // SAFETY: `owned` came from `Box::into_raw` in `new` for this very `O` and `F`, and `release` is called
            // once, by the only holder, in `BatchV1::drop`.
            drop(unsafe { Box::from_raw(owned.cast::<Owned<O, F>>()) });
        }

        let boxed = Box::new(Owned {
            show,
            count,
            shown: OnceLock::new(),
            owner: Box::into_raw(Box::new(owner)),
        });
        Self {
            owner: Box::into_raw(boxed).cast(),
            events: events::<O, F>,
            release: release::<O, F>,
        }
    }

    /// The events, oldest first.
    pub fn events(&self) -> &[EventV1<'_>] {
        // SAFETY: `events` belongs to `owner`, and what it returns lives as long as `self` and is never changed;
        // shortening the lifetime is sound because it is covariant.
        unsafe { (self.events)(self.owner) }.as_slice()
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
        f.debug_struct("BatchV1").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn events_are_shown_once_when_somebody_looks_and_the_owner_is_freed_in_any_case() {
        for looks in [0, 2] {
            let shown = Arc::new(AtomicUsize::new(0));
            let owner = Arc::new(["one".to_owned(), "two".to_owned()]);
            let kept = Arc::downgrade(&owner);
            let count = Arc::clone(&shown);
            let batch = BatchV1::new(owner, 2, move |texts, views| {
                count.fetch_add(1, Ordering::Relaxed);
                for text in texts.iter() {
                    let event = EventV1 {
                        id: [0; 16],
                        time_unix_ns: 0,
                        attempt: 1,
                        profile: text.as_str().into(),
                        content_type: "text/plain".into(),
                        body: text.as_bytes().into(),
                        attributes: RSlice::EMPTY,
                    };
                    views.push(event, [("tag", text.as_str()), ("other", "x")]);
                }
            });
            for _ in 0..looks {
                let found: Vec<_> = (batch.events().iter())
                    .map(|event| (event.profile.as_str(), event.attributes[0].value.as_str()))
                    .collect();
                assert_eq!(found, [("one", "one"), ("two", "two")]);
            }
            assert_eq!(shown.load(Ordering::Relaxed), looks.min(1));
            drop(batch);
            assert_eq!(kept.strong_count(), 0);
        }
    }
}
