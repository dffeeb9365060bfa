//! Firing without waiting.

use std::sync::Arc;

use evbus_destination::Destination;
use serde::Serialize;
use serde_json::Value;

use super::Bus;
use crate::fired::{Fired, PutError};
use crate::lane::{NotQueued, Place, Shared};
use evbus_event::Event;

impl Bus {
    /// Fires a message, in the envelope, under a profile. Never waits, not even for the disk: it fails
    /// if there is no room. It waits only for the match plugin when the profile is new, for at most one
    /// second. May be called from any thread, inside or outside of a runtime.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put); also if a destination whose policy is to wait has no room. Then no
    /// destination gets the event.
    pub fn put_nowait<M>(&self, profile: &str, message: &M) -> Result<Fired, PutError>
    where
        M: Serialize + ?Sized,
    {
        let event = Event::of_message(profile, &self.inner.run_name, message)?;
        self.put_shared_nowait(event)
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

    /// Fires an event that was made before; see [`put_nowait`](Self::put_nowait).
    ///
    /// # Errors
    ///
    /// As [`put_nowait`](Self::put_nowait).
    pub fn put_event_nowait(&self, event: Event) -> Result<Fired, PutError> {
        self.put_shared_nowait(Arc::new(event))
    }

    fn put_shared_nowait(&self, mut event: Arc<Event>) -> Result<Fired, PutError> {
        self.check_open()?;
        let routes = self.inner.routes.load();
        let route = routes.router.route(event.profile());
        // Every destination reserves room before anybody, a listener included, gets the event. The reserved size is
        // the size before serialization, which JSON does not change.
        let bytes = event.size();
        let mut reserved: Vec<(&Arc<Shared>, Place)> = Vec::with_capacity(route.matches.len());
        let release = |reserved: &[(&Arc<Shared>, Place)]| {
            for (lane, place) in reserved {
                lane.queue.release(*place, bytes);
            }
        };
        let mut fault = None;
        for lane in routes.lanes_of(&route.matches) {
            match lane.queue.reserve(bytes) {
                Ok(place) => reserved.push((lane, place)),
                Err(NotQueued::Gone) => fault = fault.or_else(|| Some(self.gone(lane))),
                Err(NotQueued::Full) => {
                    release(&reserved);
                    return Err(PutError::Full {
                        destination: Destination::clone(&lane.destination()),
                    });
                }
            }
        }
        self.inner.listeners.publish(&event);
        if !reserved.is_empty() {
            match self.inner.serial.applied(&event) {
                Ok(None) => {}
                Ok(Some(other)) => event = Arc::new(other),
                Err(error) => {
                    release(&reserved);
                    return Err(error.into());
                }
            }
        }
        let undecided = self.count(&routes, &route, &event).map(|fault| *fault);
        let fired = Fired {
            id: event.id(),
            destinations: route.matches.len(),
        };
        for (lane, place) in reserved {
            match lane.queue.push_reserved(&event, place, bytes) {
                Ok(()) if place == Place::Dropped => lane.tell_dropped(),
                Ok(()) => {}
                // The lane ended in between.
                Err(_) => fault = fault.or_else(|| Some(self.gone(lane))),
            }
        }
        match undecided.or(fault) {
            None => Ok(fired),
            Some(fault) => Err(fault),
        }
    }
}
