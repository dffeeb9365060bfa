//! The bus: takes events and hands each to the listeners and to every lane that it belongs to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;
use serde_json::Value;

use crate::event::{Serial, error_event};
use crate::lane::{Destination, Full, Lane, LaneStatus, OnDead, Place, Shared};
use crate::router::Router;
use crate::salt::Publisher;
use crate::store::Receipt;
use crate::{Event, EventBuilder, EventError, EventId};

/// Fires events. Cheap to clone; use it from any number of tasks and threads.
///
/// Events that one task or thread fires reach each destination in the order in which they were
/// fired, as long as none has to be tried again there.
#[derive(Debug, Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    routes: ArcSwap<Routes>,
    listeners: Publisher,
    serial: Serial,
    run_name: String,
    closed: AtomicBool,
}

/// The routing table, replaced as a whole.
#[derive(Debug)]
pub(crate) struct Routes {
    pub(crate) router: Router,
    /// By position of their patterns in the router.
    pub(crate) lanes: Vec<Arc<Lane>>,
}

impl Routes {
    fn shared(&self, position: u32) -> Option<&Arc<Shared>> {
        Some(self.lanes.get(position as usize)?.shared())
    }
}

/// An event that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired {
    /// Its id.
    pub id: EventId,
    /// How many destinations it goes to.
    pub destinations: usize,
}

/// Why an event was not taken. Nothing of it was sent anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The event cannot be made.
    #[error(transparent)]
    Event(#[from] EventError),
    /// `put_nowait` found no room at a destination whose policy is to wait.
    #[error(
        "there is no room for the event at destination {destination}; wait, use put, or set when_full: drop_newest"
    )]
    Full {
        /// Which one.
        destination: Destination,
    },
    /// A destination whose policy is `durable` could not write the event to disk. It may still be
    /// delivered; fired again, it may be delivered twice.
    #[error("the event is not on disk for destination {destination}: {reason}")]
    NotStored {
        /// Which one.
        destination: Destination,
        /// Why not.
        reason: String,
    },
    /// The bus takes no more events: the host is shutting down.
    #[error("the bus takes no more events: the host is shutting down")]
    Closed,
}

impl Bus {
    pub(crate) fn new(listeners: Publisher, serial: Serial, run_name: String) -> Self {
        let routes = Routes {
            router: Router::empty(),
            lanes: Vec::new(),
        };
        Self {
            inner: Arc::new(Inner {
                routes: ArcSwap::from_pointee(routes),
                listeners,
                serial,
                run_name,
                closed: AtomicBool::new(false),
            }),
        }
    }

    /// Starts an event with this host's run name.
    pub fn event(&self, profile: &str) -> EventBuilder {
        Event::builder(profile).run_name(&*self.inner.run_name)
    }

    /// Fires a message, in the envelope, under a profile. Waits for room where a destination's
    /// queue is full and its policy is to wait.
    ///
    /// Returns when every matching destination has the event in its queue, not when it is
    /// delivered; for destinations whose policy is `durable`, when it is on disk or acknowledged. A
    /// cancelled call may have reached some destinations and not others.
    ///
    /// # Errors
    ///
    /// The message cannot be written as JSON, or the bus is closed; nothing was sent. Or the event
    /// could not be written to disk for a `durable` destination ([`PutError::NotStored`]).
    pub async fn put<M>(&self, profile: &str, message: &M) -> Result<Fired, PutError>
    where
        M: Serialize + ?Sized,
    {
        self.put_event(self.event(profile).message(message)?).await
    }

    /// As [`put`](Self::put), with tags.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn put_tagged<M>(
        &self,
        profile: &str,
        message: &M,
        tags: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<Fired, PutError>
    where
        M: Serialize + ?Sized,
    {
        self.put_event(self.event(profile).tags(tags).message(message)?)
            .await
    }

    /// Fires a message, in the envelope, under a profile. Never waits, not for the disk either: it
    /// says when there is no room. Callable from any thread, inside or outside of a runtime.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put); and where a destination that waits for room has none, in which case
    /// no destination got the event.
    pub fn put_nowait<M>(&self, profile: &str, message: &M) -> Result<Fired, PutError>
    where
        M: Serialize + ?Sized,
    {
        self.put_event_nowait(self.event(profile).message(message)?)
    }

    /// As [`put_nowait`](Self::put_nowait), with tags.
    ///
    /// # Errors
    ///
    /// As [`put_nowait`](Self::put_nowait).
    pub fn put_nowait_tagged<M>(
        &self,
        profile: &str,
        message: &M,
        tags: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<Fired, PutError>
    where
        M: Serialize + ?Sized,
    {
        self.put_event_nowait(self.event(profile).tags(tags).message(message)?)
    }

    /// Fires an event that was made before; see [`put`](Self::put).
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn put_event(&self, event: Event) -> Result<Fired, PutError> {
        let (fired, receipts) = self.put_unconfirmed(event).await?;
        receipts.written().await?;
        Ok(fired)
    }

    /// As [`put_event`](Self::put_event), without waiting for the disk.
    pub(crate) async fn put_unconfirmed(
        &self,
        event: Event,
    ) -> Result<(Fired, Receipts), PutError> {
        self.check_open()?;
        self.inner.listeners.publish(&event);
        self.put_published(event).await
    }

    /// As [`put_event`](Self::put_event), of an event that listeners have been sent, and without
    /// waiting for the disk: for programs that fire many events and wait for the receipts of all
    /// together.
    pub(crate) async fn put_published(
        &self,
        mut event: Event,
    ) -> Result<(Fired, Receipts), PutError> {
        self.check_open()?;
        let mut receipts = Receipts::default();
        let (event, fired, full) = {
            let routes = self.inner.routes.load();
            let matches = routes.router.route(event.profile());
            if !matches.is_empty() {
                self.inner.serial.apply(&mut event)?;
            }
            let event = Arc::new(event);
            let fired = fired(&event, &matches);
            let mut full = Vec::new();
            for lane in matches
                .iter()
                .filter_map(|position| routes.shared(*position))
            {
                match lane.push(&event) {
                    Ok(None) => {}
                    Ok(Some(receipt)) => receipts.add(lane, receipt),
                    Err(Full) => full.push(Arc::clone(lane)),
                }
            }
            (event, fired, full)
        };
        // The other destinations have the event already; only the program that fires waits.
        for lane in full {
            if let Some(receipt) = lane.push_waiting(&event).await {
                receipts.add(&lane, receipt);
            }
        }
        Ok((fired, receipts))
    }

    /// Fires an event that was made before; see [`put_nowait`](Self::put_nowait).
    ///
    /// # Errors
    ///
    /// As [`put_nowait`](Self::put_nowait).
    pub fn put_event_nowait(&self, event: Event) -> Result<Fired, PutError> {
        self.check_open()?;
        let routes = self.inner.routes.load();
        let matches = routes.router.route(event.profile());
        // Room is promised by all before anybody, a listener included, gets the event. It is
        // reckoned with the size before serialization, which JSON keeps.
        let bytes = event.size();
        let mut reserved: Vec<(&Arc<Shared>, Place)> = Vec::with_capacity(matches.len());
        let release = |reserved: &[(&Arc<Shared>, Place)]| {
            for (lane, place) in reserved {
                lane.queue.release(*place, bytes);
            }
        };
        for lane in matches
            .iter()
            .filter_map(|position| routes.shared(*position))
        {
            let Ok(place) = lane.queue.reserve(bytes) else {
                release(&reserved);
                return Err(PutError::Full {
                    destination: Destination::clone(&lane.destination()),
                });
            };
            reserved.push((lane, place));
        }
        let mut event = event;
        self.inner.listeners.publish(&event);
        if !reserved.is_empty()
            && let Err(error) = self.inner.serial.apply(&mut event)
        {
            release(&reserved);
            return Err(error.into());
        }
        let fired = fired(&event, &matches);
        let event = Arc::new(event);
        for (lane, place) in reserved {
            lane.queue.push_reserved(&event, place, bytes);
            if place == Place::Dropped {
                lane.tell_dropped();
            }
        }
        Ok(fired)
    }

    /// Fires an event without waiting, to the listeners and to every destination that has room for
    /// it now; to the listeners alone where `about` is one of its destinations. Returns whether all
    /// had room.
    pub(crate) fn offer(
        &self,
        mut event: Event,
        about: Option<&Arc<Shared>>,
    ) -> Result<bool, PutError> {
        self.check_open()?;
        self.inner.listeners.publish(&event);
        let routes = self.inner.routes.load();
        let matches = routes.router.route(event.profile());
        let lanes = || {
            matches
                .iter()
                .filter_map(|position| routes.shared(*position))
        };
        if about.is_some_and(|about| lanes().any(|lane| Arc::ptr_eq(lane, about))) {
            return Ok(true);
        }
        if !matches.is_empty() {
            self.inner.serial.apply(&mut event)?;
        }
        let event = Arc::new(event);
        let without_room = lanes().filter(|lane| lane.push(&event).is_err()).count();
        Ok(without_room == 0)
    }

    /// Whether the bus still takes events.
    pub(crate) fn is_open(&self) -> bool {
        !self.inner.closed.load(Ordering::Acquire)
    }

    fn check_open(&self) -> Result<(), PutError> {
        if self.is_open() {
            Ok(())
        } else {
            Err(PutError::Closed)
        }
    }

    /// Whether an event fired under `profile` would reach any destination.
    pub(crate) fn has_destination(&self, profile: &str) -> bool {
        let routes = self.inner.routes.load();
        !routes.lanes.is_empty() && !routes.router.route(profile).is_empty()
    }

    /// Which destinations an event fired under `profile` would reach.
    pub fn route(&self, profile: &str) -> Vec<Destination> {
        let routes = self.inner.routes.load();
        routes
            .router
            .route(profile)
            .iter()
            .filter_map(|position| routes.shared(*position))
            .map(|lane| Destination::clone(&lane.destination()))
            .collect()
    }

    /// Each destination's numbers and state, in the order of the acct file.
    pub fn status(&self) -> Vec<LaneStatus> {
        let routes = self.inner.routes.load();
        routes.lanes.iter().map(|lane| lane.status()).collect()
    }

    /// Waits until no destination has an unsettled event, or the time is over. Returns whether all
    /// are settled: accepted, dead-lettered or dropped.
    pub async fn drain(&self, limit: Duration) -> bool {
        let routes = self.inner.routes.load_full();
        let all = async {
            for lane in &routes.lanes {
                lane.shared().queue.empty().await;
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }

    /// Fires the error event of every event that becomes a dead letter, where there is room for it.
    pub(crate) fn error_events(&self) -> OnDead {
        // The lanes belong to the bus, so they must not keep it alive.
        let bus = self.downgrade();
        Arc::new(move |event, provider, error| {
            let Some(bus) = bus.upgrade() else { return };
            let Some(told) = error_event(event, provider, error) else {
                return;
            };
            if let Err(error) = bus.put_event_nowait(told) {
                tracing::warn!(event = %event.id(), "no error event could be fired: {error}");
            }
        })
    }

    /// The same bus, for what must not keep it alive.
    pub(crate) fn downgrade(&self) -> WeakBus {
        WeakBus(Arc::downgrade(&self.inner))
    }

    /// Takes no more events.
    pub(crate) fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
    }

    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.inner.routes.load_full()
    }

    /// Replaces the routing table; calls under way finish on the old one.
    pub(crate) fn set_routes(&self, routes: Routes) {
        self.inner.routes.store(Arc::new(routes));
    }
}

/// A bus that lives as long as others want it to.
#[derive(Debug)]
pub(crate) struct WeakBus(Weak<Inner>);

impl WeakBus {
    pub(crate) fn upgrade(&self) -> Option<Bus> {
        self.0.upgrade().map(|inner| Bus { inner })
    }
}

/// What a program has to wait for until its events are on disk: the last receipt of each
/// destination, since a destination writes its events in order.
#[derive(Debug, Default)]
pub(crate) struct Receipts(Vec<(Arc<Shared>, Receipt)>);

impl Receipts {
    fn add(&mut self, lane: &Arc<Shared>, receipt: Receipt) {
        match self
            .0
            .iter_mut()
            .find(|(other, _)| Arc::ptr_eq(other, lane))
        {
            Some((_, known)) if known.seq() >= receipt.seq() => {}
            Some((_, known)) => *known = receipt,
            None => self.0.push((Arc::clone(lane), receipt)),
        }
    }

    /// Adds those of another event.
    pub(crate) fn extend(&mut self, others: Self) {
        for (lane, receipt) in others.0 {
            self.add(&lane, receipt);
        }
    }

    /// Resolves when all are on disk, or settled.
    pub(crate) async fn written(self) -> Result<(), PutError> {
        for (lane, receipt) in self.0 {
            if let Err(reason) = receipt.written().await {
                return Err(PutError::NotStored {
                    destination: Destination::clone(&lane.destination()),
                    reason,
                });
            }
        }
        Ok(())
    }
}

fn fired(event: &Event, matches: &[u32]) -> Fired {
    Fired {
        id: event.id(),
        destinations: matches.len(),
    }
}
