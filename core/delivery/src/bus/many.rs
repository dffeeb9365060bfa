//! Firing many events together, as they come from a socket: those of one profile in a row find their route once,
//! and enter each queue together.

use std::collections::BTreeMap;
use std::iter::{Enumerate, Peekable};
use std::sync::Arc;

use futures_util::future::join_all;

use super::{Bus, Routes};
use crate::fired::{PutError, Receipts};
use crate::lane::{NotQueued, Pushed, Shared};
use crate::router::Route;
use evbus_event::Event;

/// What became of events that were fired together.
#[derive(Debug, Default)]
pub struct FiredMany {
    /// What to wait for until all that are kept are on disk where they have to be.
    pub receipts: Receipts,
    /// Whether some match no destination.
    pub has_unmatched: bool,
    /// Why events are not kept at every matching destination, by their positions; of several reasons the first.
    pub faults: BTreeMap<usize, PutError>,
}

impl FiredMany {
    fn fault(&mut self, position: usize, fault: PutError) {
        self.faults.entry(position).or_insert(fault);
    }
}

type Coming = Peekable<Enumerate<std::vec::IntoIter<Event>>>;

/// Events in a row that share a route, and their positions.
#[derive(Default)]
struct Run {
    events: Vec<Arc<Event>>,
    positions: Vec<usize>,
}

impl Bus {
    /// As [`put_unconfirmed`](Self::put_unconfirmed), of many events, which listeners have already. While one
    /// waits for room, later ones wait too.
    pub async fn put_all_published(&self, events: Vec<Event>) -> FiredMany {
        let mut fired = FiredMany::default();
        let mut run = Run::default();
        let mut coming = events.into_iter().enumerate().peekable();
        while let Some((position, next)) = coming.peek() {
            if let Err(closed) = self.check_open() {
                fired.fault(*position, closed);
                coming.next();
                continue;
            }
            let full = {
                let (routes, route) = match self.known_route(next.profile()) {
                    Some(known) => known,
                    None => self.find_route(next.profile()).await,
                };
                self.take_run(&mut coming, &routes, &route, &mut run, &mut fired);
                let mut full = Vec::new();
                for lane in routes.lanes_of(&route.matches) {
                    let pushed = lane.push_all(run.events.iter());
                    if pushed.stop == Some(NotQueued::Full) {
                        full.push((Arc::clone(lane), pushed.events));
                    }
                    self.note(lane, pushed, &run.positions, &mut fired);
                }
                full
            };
            // As for a single event, only the program waits, and for all that are full at once.
            let waiting = full
                .iter()
                .map(|(lane, queued)| lane.push_all_waiting(&run.events[*queued..]));
            for ((lane, queued), pushed) in full.iter().zip(join_all(waiting).await) {
                self.note(lane, pushed, &run.positions[*queued..], &mut fired);
            }
        }
        fired
    }

    /// Takes the next event and those behind it that have the same profile, as `run`; counts them.
    fn take_run(
        &self,
        coming: &mut Coming,
        routes: &Routes,
        route: &Route,
        run: &mut Run,
        fired: &mut FiredMany,
    ) {
        run.events.clear();
        run.positions.clear();
        let mut next = coming.next();
        while let Some((position, mut event)) = next {
            let follows = coming.next_if(|(_, other)| other.profile() == event.profile());
            if route.matches.is_empty() {
                fired.has_unmatched |= route.undecided.is_none();
            } else if let Err(error) = self.inner.serial.apply(&mut event) {
                fired.fault(position, error.into());
                next = follows;
                continue;
            }
            if let Some(undecided) = self.count(routes, route, &event) {
                fired.fault(position, undecided);
            }
            run.events.push(Arc::new(event));
            run.positions.push(position);
            next = follows;
        }
    }

    /// Notes what a lane did with the events at these positions.
    fn note(&self, lane: &Arc<Shared>, pushed: Pushed, positions: &[usize], fired: &mut FiredMany) {
        if let Some(receipt) = pushed.receipt {
            fired.receipts.add(lane, receipt);
        }
        if pushed.stop == Some(NotQueued::Gone) {
            for position in &positions[pushed.events..] {
                fired.fault(*position, self.gone(lane));
            }
        }
    }
}
