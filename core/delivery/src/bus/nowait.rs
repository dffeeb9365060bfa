//! Firing without waiting.

use std::sync::Arc;

use evbus_destination::Destination;
use serde::Serialize;
use serde_json::Value;

use super::Bus;
use crate::fired::{Fired, PutError};
use crate::lane::{NotQueued, Place, Shared, Verdict, forget_parsed};
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
        self.put_shared_nowait(&event)
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
        self.put_shared_nowait(&Arc::new(event))
    }

    fn put_shared_nowait(&self, event: &Arc<Event>) -> Result<Fired, PutError> {
        self.check_open()?;
        let routes = self.inner.routes.load();
        let route = routes.router.route(event.profile());
        // What destinations get; listeners get the event as it was fired.
        let given = match &*route.matches {
            [] => None,
            _ => self.inner.serial.applied(event)?.map(Arc::new),
        };
        let given = given.unwrap_or_else(|| Arc::clone(event));
        // Every destination reserves room before anybody, a listener included, gets the event.
        let bytes = given.size();
        let mut reserved: Vec<(&Arc<Shared>, Place, Verdict)> =
            Vec::with_capacity(route.matches.len());
        let mut fault = None;
        for lane in routes.lanes_of(&route.matches) {
            let verdict = lane.verdict(&given);
            let place = if verdict.filtered {
                Ok(Place::KeptOut)
            } else {
                lane.queue.reserve(bytes)
            };
            match place {
                Ok(place) => reserved.push((lane, place, verdict)),
                Err(NotQueued::Gone) => fault = fault.or_else(|| Some(self.gone(lane))),
                Err(NotQueued::Full) => {
                    for (lane, place, _) in reserved {
                        lane.queue.release(place, bytes);
                    }
                    return Err(PutError::Full {
                        destination: Destination::clone(&lane.destination()),
                    });
                }
            }
        }
        forget_parsed(&given, routes.lanes_of(&route.matches));
        self.inner.listeners.publish(event);
        let undecided = self.count(&routes, &route, event).map(|fault| *fault);
        let filtered = (reserved.iter())
            .filter(|(_, place, _)| *place == Place::KeptOut)
            .count();
        let fired = Fired {
            id: event.id(),
            destinations: route.matches.len() - filtered,
        };
        for (lane, place, verdict) in reserved {
            match lane.queue.push_reserved(&given, place, bytes, verdict) {
                Ok(Place::Dropped) => lane.tell_dropped(),
                Ok(_) => {}
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
