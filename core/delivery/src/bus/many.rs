//! Firing many events together, as they come from a socket: those of one profile in a row find their route once,
//! and enter each queue together.

use std::collections::BTreeMap;
use std::iter::{Enumerate, Peekable};
use std::sync::Arc;

use futures_util::future::join_all;

use super::{Bus, Routes};
use crate::fired::{PutError, Receipts};
use crate::lane::{NotQueued, Pushed, Shared, Verdict, forget_parsed};
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

/// Events from a position of a run on that a lane did not take, because it has ended.
struct Refused {
    lane: Arc<Shared>,
    from: usize,
}

/// A lane without room for the events from a position of a run on, and what it says of all of them.
struct Full {
    lane: Arc<Shared>,
    queued: usize,
    verdicts: Vec<Verdict>,
}

/// Takes note of what became of a run at a lane.
fn sort_out(
    lane: &Arc<Shared>,
    pushed: Pushed,
    verdicts: Vec<Verdict>,
    full: &mut Vec<Full>,
    refused: &mut Vec<Refused>,
    fired: &mut FiredMany,
) {
    match pushed.stop {
        None => {}
        Some(NotQueued::Full) => full.push(Full {
            lane: Arc::clone(lane),
            queued: pushed.events,
            verdicts,
        }),
        Some(NotQueued::Gone) => refused.push(Refused {
            lane: Arc::clone(lane),
            from: pushed.events,
        }),
    }
    if let Some(receipt) = pushed.receipt {
        fired.receipts.add(lane, receipt);
    }
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
            let mut refused = Vec::new();
            let mut lanes = Vec::new();
            let mut screened = Vec::new();
            let mut full = Vec::new();
            {
                let (routes, route) = match self.known_route(next.profile()) {
                    Some(known) => known,
                    None => self.find_route(next.profile()).await,
                };
                self.take_run(&mut coming, &routes, &route, &mut run, &mut fired);
                for lane in routes.lanes_of(&route.matches) {
                    if lane.has_screen() {
                        screened.push(Arc::clone(lane));
                        continue;
                    }
                    let pushed = lane.push_all(&run.events, &[]);
                    sort_out(
                        lane,
                        pushed,
                        Vec::new(),
                        &mut full,
                        &mut refused,
                        &mut fired,
                    );
                }
                if !full.is_empty() || !refused.is_empty() || !screened.is_empty() {
                    lanes.extend(routes.lanes_of(&route.matches).map(Arc::clone));
                }
            }
            for lane in screened {
                let verdicts = lane.verdicts(&run.events).await;
                let pushed = lane.push_all(&run.events, &verdicts);
                sort_out(&lane, pushed, verdicts, &mut full, &mut refused, &mut fired);
            }
            if lanes.is_empty() {
                continue;
            }
            for event in &run.events {
                forget_parsed(event, lanes.iter());
            }
            // As for a single event, only the program waits, and for all that are full at once.
            let waiting = full.iter().map(
                |Full {
                     lane,
                     queued,
                     verdicts,
                 }| {
                    let verdicts = verdicts.get(*queued..).unwrap_or_default();
                    lane.push_all_waiting(&run.events[*queued..], verdicts)
                },
            );
            for (Full { lane, queued, .. }, pushed) in full.iter().zip(join_all(waiting).await) {
                if let Some(receipt) = pushed.receipt {
                    fired.receipts.add(lane, receipt);
                }
                if pushed.stop.is_some() {
                    refused.push(Refused {
                        lane: Arc::clone(lane),
                        from: queued + pushed.events,
                    });
                }
            }
            // Who gets later ones must not get them twice, if several lanes have ended.
            refused.sort_by_key(|refused| refused.from);
            for Refused { lane, from } in refused {
                self.route_anew(&lane, from, &mut lanes, &run, &mut fired)
                    .await;
            }
        }
        fired
    }

    /// The first event that an ended lane did not take is lost to it. Those behind it are fired as if they came
    /// now, which is when their turn is: a reload may have put another lane in its place. `lanes` are
    /// those that have been given them, and this one.
    async fn route_anew(
        &self,
        ended: &Arc<Shared>,
        from: usize,
        lanes: &mut Vec<Arc<Shared>>,
        run: &Run,
        fired: &mut FiredMany,
    ) {
        let Some((first, behind)) = run.positions[from..].split_first() else {
            return;
        };
        fired.fault(*first, self.gone(ended));
        let events = &run.events[from + 1..];
        let Some(event) = events.first() else {
            return;
        };
        if let Err(closed) = self.check_open() {
            for position in behind {
                fired.fault(*position, closed.clone());
            }
            return;
        }
        let new: Vec<Arc<Shared>> = {
            let (routes, route) = self.find_route(event.profile()).await;
            (routes.lanes_of(&route.matches))
                .filter(|lane| Arc::ptr_eq(lane, ended) || !has(lanes, lane))
                .map(Arc::clone)
                .collect()
        };
        for lane in new {
            if !has(lanes, &lane) {
                lanes.push(Arc::clone(&lane));
            }
            let verdicts = lane.verdicts(events).await;
            let pushed = lane.push_all_waiting(events, &verdicts).await;
            if let Some(receipt) = pushed.receipt {
                fired.receipts.add(&lane, receipt);
            }
            for position in &behind[pushed.events..] {
                fired.fault(*position, self.gone(&lane));
            }
        }
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
                fired.fault(position, *undecided);
            }
            run.events.push(Arc::new(event));
            run.positions.push(position);
            next = follows;
        }
    }
}

fn has(lanes: &[Arc<Shared>], lane: &Arc<Shared>) -> bool {
    lanes.iter().any(|other| Arc::ptr_eq(other, lane))
}
