//! The bus: takes events and passes each one to the listeners and to every matching lane.

mod many;
mod nowait;
mod own_events;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use evbus_destination::Destination;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;

use crate::fired::{EndReason, Fired, FiredCounts, PutError, Receipts, Tally};
use crate::lane::{Lane, LaneStatus, NotQueued, Shared, Verdict, forget_parsed};
use crate::listeners::Listeners;
use crate::router::{Route, Router};
use evbus_event::Serial;
use evbus_event::{Event, EventBuilder, TypedBody};

pub use many::FiredMany;

/// Fires events. Cheap to clone; use it from any number of tasks and threads.
///
/// Events that one task or thread fires reach each destination in the order in which they were
/// fired, as long as none has to be retried there.
#[derive(Debug, Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    routes: ArcSwap<Routes>,
    listeners: Arc<dyn Listeners>,
    serial: Serial,
    run_name: String,
    tally: Tally,
    closed: AtomicBool,
}

/// The routing table, replaced as a whole.
#[derive(Debug)]
pub struct Routes {
    /// Says which patterns match.
    pub router: Router,
    /// By position of their patterns in the router.
    pub lanes: Vec<Arc<Lane>>,
}

/// What has to be waited for until every destination has an event.
struct Waits {
    receipts: Receipts,
    full: Option<Full>,
}

/// Destinations that had no room for an event.
struct Full {
    event: Arc<Event>,
    lanes: Vec<(Arc<Shared>, Verdict)>,
    /// The first fault of the others.
    fault: Option<Box<PutError>>,
}

impl Routes {
    fn shared(&self, position: u32) -> Option<&Arc<Shared>> {
        Some(self.lanes.get(position as usize)?.shared())
    }

    fn lanes_of(&self, positions: &[u32]) -> impl Iterator<Item = &Arc<Shared>> {
        positions
            .iter()
            .filter_map(|position| self.shared(*position))
    }
}

impl Bus {
    /// A bus without destinations, whose events get this run name if they have none of their own.
    pub fn new(listeners: Arc<dyn Listeners>, serial: Serial, run_name: String) -> Self {
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
                tally: Tally::default(),
                closed: AtomicBool::new(false),
            }),
        }
    }

    /// Starts an event with this host's run name.
    pub fn event(&self, profile: &str) -> EventBuilder {
        Event::builder(profile).run_name(&*self.inner.run_name)
    }

    /// Fires a message, in the envelope, under a profile. Waits for room if a destination's queue is
    /// full and its policy is to wait.
    ///
    /// Returns when every matching destination has the event in its queue, not when it is delivered; for
    /// `durable` destinations, when it is on disk or acknowledged. Full destinations are waited for at
    /// the same time. A cancelled call may have reached only some of the destinations.
    ///
    /// # Errors
    ///
    /// If the message cannot be written as JSON, or the bus is closed, nothing was sent. If the event is
    /// not kept at one of its destinations (see [`PutError`]), the others have it.
    pub async fn put<M>(&self, profile: &str, message: &M) -> Result<Fired, PutError>
    where
        M: Serialize + ?Sized,
    {
        let event = Event::of_message(profile, &self.inner.run_name, message)?;
        self.put_shared(event).await
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

    /// Fires an event that was made before; see [`put`](Self::put).
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn put_event(&self, event: Event) -> Result<Fired, PutError> {
        self.put_shared(Arc::new(event)).await
    }

    /// As [`put_event`](Self::put_event), without waiting for the disk.
    ///
    /// # Errors
    ///
    /// As [`put_event`](Self::put_event).
    pub async fn put_unconfirmed(&self, event: Event) -> Result<(Fired, Receipts), PutError> {
        let (fired, waits) = self.begin(Arc::new(event)).await?;
        let receipts = match waits {
            None => Receipts::default(),
            Some(waits) => self.queued(*waits).await?,
        };
        Ok((fired, receipts))
    }

    async fn put_shared(&self, event: Arc<Event>) -> Result<Fired, PutError> {
        let (fired, waits) = self.begin(event).await?;
        if let Some(waits) = waits {
            self.queued(*waits).await?.written().await?;
        }
        Ok(fired)
    }

    /// Passes an event to the listeners and its destinations, as far as those have room for it.
    async fn begin(&self, event: Arc<Event>) -> Result<(Fired, Option<Box<Waits>>), PutError> {
        self.check_open()?;
        self.inner.listeners.publish(&event);
        let id = event.id();
        let mut destinations = 0;
        let given = if let Some((routes, route)) = self.known_route(event.profile()) {
            self.give(&routes, &route, event, &mut destinations)
        } else {
            let (routes, route) = self.find_route(event.profile()).await;
            self.give(&routes, &route, event, &mut destinations)
        };
        match given {
            Ok(waits) => Ok((Fired { id, destinations }, waits)),
            Err(fault) => Err(*fault),
        }
    }

    /// Waits until every destination has an event in its queue.
    async fn queued(&self, waits: Waits) -> Result<Receipts, PutError> {
        let Waits { mut receipts, full } = waits;
        if let Some(full) = full {
            self.wait_for_room(full, &mut receipts).await?;
        }
        Ok(receipts)
    }

    /// Passes an event to the destinations of a route, as far as they have room for it, and counts those that are to have
    /// it. What it returns is boxed, because mostly there is nothing to wait for, and then it fits into registers.
    fn give(
        &self,
        routes: &Routes,
        route: &Route,
        mut event: Arc<Event>,
        destinations: &mut usize,
    ) -> Result<Option<Box<Waits>>, Box<PutError>> {
        if !route.matches.is_empty()
            && let Some(other) = (self.inner.serial.applied(&event)).map_err(PutError::from)?
        {
            event = Arc::new(other);
        }
        let mut fault = self.count(routes, route, &event);
        let mut receipts = Receipts::default();
        let mut full: Option<Full> = None;
        *destinations = route.matches.len();
        let screened = (routes
            .lanes_of(&route.matches)
            .any(|lane| lane.has_screen()))
        .then(|| Arc::clone(&event));
        let mut push = |lane: &Arc<Shared>, event| {
            let verdict = lane.verdict(&event);
            *destinations -= usize::from(verdict.filtered);
            match lane.push(event, verdict) {
                Ok(None) => {}
                Ok(Some(receipt)) => receipts.add(lane, *receipt),
                Err((NotQueued::Full, event)) => {
                    let full = full.get_or_insert_with(|| Full {
                        event,
                        lanes: Vec::new(),
                        fault: None,
                    });
                    full.lanes.push((Arc::clone(lane), verdict));
                }
                Err((NotQueued::Gone, _)) => {
                    fault = fault.take().or_else(|| Some(Box::new(self.gone(lane))));
                }
            }
        };
        let mut lanes = routes.lanes_of(&route.matches);
        if let Some(mut lane) = lanes.next() {
            for next in lanes {
                push(lane, Arc::clone(&event));
                lane = next;
            }
            // Most events have one destination, which gets this very reference.
            push(lane, event);
        }
        if let Some(event) = screened {
            forget_parsed(&event, routes.lanes_of(&route.matches));
        }
        if let Some(full) = &mut full {
            full.fault = fault.take();
        }
        match fault {
            Some(fault) => Err(fault),
            None if full.is_none() && receipts.is_empty() => Ok(None),
            None => Ok(Some(Box::new(Waits { receipts, full }))),
        }
    }

    /// The other destinations already have the event. Only the program that fires waits, and for all full
    /// destinations at once, so that a slow one does not keep the event from another.
    async fn wait_for_room(&self, full: Full, receipts: &mut Receipts) -> Result<(), PutError> {
        let waiting =
            (full.lanes.iter()).map(|(lane, verdict)| lane.push_waiting(&full.event, *verdict));
        let mut fault = full.fault;
        for ((lane, _), pushed) in full.lanes.iter().zip(join_all(waiting).await) {
            match pushed {
                Ok(None) => {}
                Ok(Some(receipt)) => receipts.add(lane, receipt),
                Err(_) => fault = fault.or_else(|| Some(Box::new(self.gone(lane)))),
            }
        }
        fault.map_or(Ok(()), |fault| Err(*fault))
    }

    /// The destinations of a known name, and the routing table that they belong to.
    fn known_route(&self, profile: &str) -> Option<(Guard<Arc<Routes>>, Route)> {
        let routes = self.inner.routes.load();
        let route = routes.router.known(profile)?;
        Some((routes, route))
    }

    /// As `known_route`, of any name.
    pub async fn find_route(&self, profile: &str) -> (Guard<Arc<Routes>>, Route) {
        let routes = self.inner.routes.load_full();
        let route = routes.router.find(profile).await;
        (Guard::from_inner(routes), route)
    }

    /// Asks the match plugin about those of these names that are new, so that firing them does not wait.
    pub async fn prepare<'n>(&self, profiles: impl Iterator<Item = &'n str>) {
        self.routes().router.prepare(profiles).await;
    }

    /// Counts an event that is being fired. Returns the error if not every pattern was decided.
    fn count(&self, routes: &Routes, route: &Route, event: &Event) -> Option<Box<PutError>> {
        let tally = &self.inner.tally;
        let Some(undecided) = &route.undecided else {
            if route.matches.is_empty() {
                tally.unmatched(event.profile(), 1, !routes.lanes.is_empty());
            } else {
                tally.matched();
            }
            return None;
        };
        let lane = routes.lanes_of(&undecided.positions).next()?;
        let destination = Destination::clone(&lane.destination());
        let error = PutError::undecided(destination, event.profile(), undecided);
        tally.undecided(&error);
        Some(Box::new(error))
    }

    /// The firing program itself reports which of its events match no destination.
    pub fn leave_unmatched_to_program(&self) {
        self.inner.tally.leave_unmatched_to_others();
    }

    /// Counts so many events of a profile from a socket that match no destination; listeners have them.
    pub fn count_unmatched(&self, profile: &str, count: u64) {
        let has_destinations = !self.inner.routes.load().lanes.is_empty();
        self.inner.tally.unmatched(profile, count, has_destinations);
    }

    /// How many events programs have fired, and how many of them had a destination.
    pub fn fired(&self) -> FiredCounts {
        self.inner.tally.counts()
    }

    /// Whether the bus still takes events.
    pub fn is_open(&self) -> bool {
        !self.inner.closed.load(Ordering::Acquire)
    }

    /// The error for a destination that accepts nothing any more.
    fn gone(&self, lane: &Arc<Shared>) -> PutError {
        let routes = self.inner.routes.load();
        let is_removed = !(routes.lanes.iter()).any(|other| Arc::ptr_eq(other.shared(), lane));
        PutError::Gone {
            destination: Destination::clone(&lane.destination()),
            why: if is_removed {
                EndReason::Removed
            } else {
                EndReason::Shutdown
            },
        }
    }

    fn check_open(&self) -> Result<(), PutError> {
        if self.is_open() {
            Ok(())
        } else {
            Err(PutError::Closed)
        }
    }

    /// Whether an event fired under `profile` would or might reach a destination; `None` if the match
    /// plugin has to be asked.
    pub fn has_destination(&self, profile: &str) -> Option<bool> {
        let routes = self.inner.routes.load();
        if routes.lanes.is_empty() {
            return Some(false);
        }
        Some(!routes.router.known(profile)?.is_nowhere())
    }

    /// Which destinations an event fired under `profile` would reach. Blocks if the match plugin has to
    /// be asked, as [`put_nowait`](Self::put_nowait) does.
    pub fn route(&self, profile: &str) -> Vec<Destination> {
        let routes = self.inner.routes.load();
        let route = routes.router.route(profile);
        let lanes = routes.lanes_of(&route.matches);
        lanes
            .map(|lane| Destination::clone(&lane.destination()))
            .collect()
    }

    /// Each destination's numbers and state, in the order of the acct file.
    pub fn status(&self) -> Vec<LaneStatus> {
        let routes = self.inner.routes.load();
        routes.lanes.iter().map(|lane| lane.status()).collect()
    }

    /// Waits until no destination has an unsettled event, or until the time limit. Returns whether all
    /// events are settled: accepted, dead-lettered or dropped.
    pub async fn drain(&self, limit: Duration) -> bool {
        let routes = self.inner.routes.load_full();
        let all = async {
            for lane in &routes.lanes {
                lane.shared().queue.empty().await;
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }

    /// The same bus, for holders that must not keep it alive.
    pub fn downgrade(&self) -> WeakBus {
        WeakBus(Arc::downgrade(&self.inner))
    }

    /// Fires a typed event under its profile, with this host's run name unless it has one; see
    /// [`put_event`](Self::put_event).
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn put_idem<B: TypedBody>(&self, body: &B) -> Result<Fired, PutError> {
        self.put_event(body.event_with(self.event(B::PROFILE))?)
            .await
    }

    /// As [`put_idem`](Self::put_idem), without waiting; see
    /// [`put_event_nowait`](Self::put_event_nowait).
    ///
    /// # Errors
    ///
    /// As [`put_nowait`](Self::put_nowait).
    pub fn put_idem_nowait<B: TypedBody>(&self, body: &B) -> Result<Fired, PutError> {
        self.put_event_nowait(body.event_with(self.event(B::PROFILE))?)
    }

    /// Stops accepting events.
    pub fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
    }

    /// The current routing table.
    pub fn routes(&self) -> Arc<Routes> {
        self.inner.routes.load_full()
    }

    /// Replaces the routing table; calls under way finish on the old one.
    pub fn set_routes(&self, routes: Routes) {
        self.inner.routes.store(Arc::new(routes));
    }
}

/// A handle that does not keep the bus alive.
#[derive(Debug)]
pub struct WeakBus(Weak<Inner>);

impl WeakBus {
    /// The bus, if it is still in use.
    pub fn upgrade(&self) -> Option<Bus> {
        self.0.upgrade().map(|inner| Bus { inner })
    }
}

#[cfg(test)]
mod tests;
