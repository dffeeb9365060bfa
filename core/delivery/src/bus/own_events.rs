//! Events that the host itself fires: log events and error events. They never wait.

use std::sync::Arc;

use super::{Bus, Routes};
use crate::fired::PutError;
use crate::lane::{OnDead, Shared};
use crate::router::Route;
use evbus_event::Event;
use evbus_event::error_event;
use evbus_report::OncePerBurst;
use evbus_report::counted;

impl Bus {
    /// Fires a log event without waiting, to the listeners and to every destination that has room for it
    /// now; only to the listeners if `about` is one of its destinations, because a failing destination
    /// would otherwise feed itself. Returns whether all had room.
    ///
    /// # Errors
    ///
    /// The event cannot be made, or the bus is closed.
    pub fn offer(
        &self,
        (routes, route): (&Routes, &Route),
        event: Event,
        about: Option<&Arc<Shared>>,
    ) -> Result<bool, PutError> {
        let is_about = |lane: &&Arc<Shared>| about.is_some_and(|about| Arc::ptr_eq(lane, about));
        let stays = routes.lanes_of(&route.matches).any(|lane| is_about(&lane));
        let lanes = routes.lanes_of(&route.matches).filter(|_| !stays);
        self.offer_to(lanes, event).map(|left_out| left_out == 0)
    }

    /// Gives an event to the listeners and, without waiting, to these destinations. Returns how many
    /// of them had no room for it.
    fn offer_to<'a>(
        &self,
        lanes: impl Iterator<Item = &'a Arc<Shared>>,
        mut event: Event,
    ) -> Result<usize, PutError> {
        self.check_open()?;
        self.inner.listeners.publish(&event);
        let mut lanes = lanes.peekable();
        if lanes.peek().is_some() {
            self.inner.serial.apply(&mut event)?;
        }
        let event = Arc::new(event);
        let left_out = lanes.filter(|lane| {
            let verdict = lane.verdict(&event);
            lane.push(Arc::clone(&event), verdict).is_err()
        });
        let left_out = left_out.count();
        event.parsed().forget();
        Ok(left_out)
    }

    /// Fires the error event of every event that becomes a dead letter: to the listeners, and to the
    /// other destinations of its profile that have room for it. The destination that failed does not get
    /// it: its dead letters show the failure, and it may be unreachable.
    pub fn error_events(&self) -> OnDead {
        // Not the bus itself, which the lanes must not keep alive because they belong to it.
        let bus = self.downgrade();
        let untold = Arc::new(OncePerBurst::default());
        Arc::new(move |failed, event, error| {
            let Some(bus) = bus.upgrade() else { return };
            let provider = &failed.destination().provider;
            let Some(told) = error_event(event, provider, error) else {
                return;
            };
            if let Some((routes, route)) = bus.known_route(told.profile()) {
                bus.tell_others(&routes, &route, failed, told, &untold);
                return;
            }
            let (failed, untold) = (Arc::clone(failed), Arc::clone(&untold));
            tokio::spawn(async move {
                let (routes, route) = bus.find_route(told.profile()).await;
                bus.tell_others(&routes, &route, &failed, told, &untold);
            });
        })
    }

    /// Fires an error event to the other destinations.
    fn tell_others(
        &self,
        routes: &Routes,
        route: &Route,
        failed: &Arc<Shared>,
        told: Event,
        untold: &OncePerBurst,
    ) {
        let id = told.id();
        let others = routes.lanes_of(&route.matches);
        let others = others.filter(|lane| !Arc::ptr_eq(lane, failed));
        let why = match self.offer_to(others, told) {
            Ok(0) => return,
            Ok(left_out) => counted(left_out, "destination is full", "destinations are full"),
            Err(error) => error.to_string(),
        };
        if untold.begins() {
            tracing::warn!(
                event = %id,
                "the error event for an undelivered event did not reach every destination: {why} (logged once per burst)"
            );
        }
    }
}
