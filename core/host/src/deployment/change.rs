//! A change of the destinations in two phases: everything that can fail is done first and changes
//! nothing; then everything is changed at once, which cannot fail.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use super::Deployment;
use super::ReloadError;
use super::file_limit::check_file_limit;
use super::retiring::{Held, Retiring};
use crate::control::Reloaded;
use crate::plan::{Plan, Planned};
use evbus_acct::AcctFile;
use evbus_delivery::INTERNAL;
use evbus_delivery::Routes;
use evbus_delivery::{Lane, LaneStatus, OnDead, Setup};
use evbus_report::counted;
use evbus_store::{Journal, StateDir, StateError, StoreName};

/// How many stores are opened at a time.
const OPENED_AT_ONCE: usize = 16;

/// A plan that can be carried out. Dropping it changes nothing.
pub(super) struct Prepared {
    plan: Plan,
    /// By position in the plan: the store's name, and the source of its lane.
    lanes: Vec<(StoreName, Origin)>,
}

enum Origin {
    /// A lane in use.
    AtWork(Arc<Lane>),
    /// A removed lane that has not ended yet.
    Removed(Held),
    /// A new lane, with its store if there is a state directory.
    New(Option<Journal>),
}

impl Deployment {
    /// The first phase: finds or opens what every destination of the plan needs. It changes nothing: if it fails, the
    /// stores that it opened are closed, and removed lanes continue to end.
    pub(super) async fn prepare(&self, plan: Plan) -> Result<Prepared, ReloadError> {
        let names = names(&plan);
        check_file_limit(names.len(), self.sources.state_dir.is_some())?;
        // Most of the time is spent waiting for the disk, which writes for many stores at once.
        let origins: Vec<_> = stream::iter(names)
            .map(async |name| (self.origin(&name).await, name))
            .buffered(OPENED_AT_ONCE)
            .collect()
            .await;
        let mut lanes = Vec::new();
        let mut fault = None;
        for (origin, name) in origins {
            match origin {
                Ok(origin) => lanes.push((name, origin)),
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        let Some(error) = fault else {
            return Ok(Prepared { plan, lanes });
        };
        for (name, origin) in lanes {
            if let Origin::New(Some(journal)) = origin
                && let Err(reason) = journal.close().await
            {
                tracing::warn!("the store of {name:?} was not closed properly: {reason}");
            }
        }
        Err(error.into())
    }

    async fn origin(&self, name: &StoreName) -> Result<Origin, StateError> {
        if let Some(lane) = self.lanes.get(name) {
            return Ok(Origin::AtWork(Arc::clone(lane)));
        }
        if let Some(retiring) = self.retiring.get(name) {
            if let Some(held) = retiring.hold() {
                return Ok(Origin::Removed(held));
            }
            // Its store must be closed before it is opened again.
            retiring.stopped().await;
        }
        match self.sources.state_dir.clone() {
            Some(state) => Ok(Origin::New(Some(open(state, name.clone()).await?))),
            None => Ok(Origin::New(None)),
        }
    }

    /// The second phase: changes the lanes to those of the plan. Those that stay keep their queues and numbers, and
    /// their instances unless their setup changed.
    pub(super) fn commit(&mut self, prepared: Prepared, acct: Option<AcctFile>) -> Reloaded {
        let Prepared { plan, lanes } = prepared;
        let mut reloaded = Reloaded::default();
        let mut order = Vec::new();
        for (planned, (name, origin)) in plan.served.iter().zip(lanes) {
            let (destination, setup) = (planned.destination(), setup(planned));
            let lane = match origin {
                Origin::AtWork(lane) => {
                    if lane.switch(destination.clone(), setup) {
                        tracing::info!(
                            "destination {destination}: configuration changed, reconnecting"
                        );
                        reloaded.changed.push(destination.to_string());
                    } else {
                        reloaded.unchanged += 1;
                    }
                    lane
                }
                Origin::Removed(held) => {
                    self.retiring.remove(&name);
                    let lane = held.revive();
                    lane.switch(destination.clone(), setup);
                    tracing::info!(
                        "destination {destination}: added again, with its undelivered events"
                    );
                    reloaded.added.push(destination.to_string());
                    lane
                }
                Origin::New(journal) => {
                    reloaded.added.push(destination.to_string());
                    Arc::new(Lane::start(destination, setup, journal, self.on_dead()))
                }
            };
            order.push((name, lane));
        }
        for provider in plan.unserved() {
            if self.unserved.contains(provider) {
                continue;
            }
            if provider == INTERNAL {
                tracing::warn!(
                    "provider internal is only for programs that embed the host and read its queues; nothing can read them here, so its destinations get no events; remove its entries"
                );
            } else {
                tracing::info!("no plugin serves provider {provider} of the acct file");
            }
        }
        self.unserved = plan.unserved().to_vec();
        self.bus.set_routes(Routes {
            router: plan.router,
            lanes: order.iter().map(|(_, lane)| Arc::clone(lane)).collect(),
        });
        let before = std::mem::replace(&mut self.lanes, order.into_iter().collect());
        for (name, lane) in before {
            if !self.lanes.contains_key(&name) {
                reloaded.removed.push(lane.destination().to_string());
                self.retire(name, lane);
            }
        }
        reloaded.removed.sort();
        // The file may contain other tools' passwords.
        self.acct = acct.map(|mut acct| {
            acct.let_go(&self.unserved);
            acct
        });
        reloaded
    }

    /// Retires a lane: it delivers its events for a while, and keeps the rest on disk.
    fn retire(&mut self, name: StoreName, lane: Arc<Lane>) {
        let limit = self.sources.retire_within;
        let rest = match &self.sources.state_dir {
            Some(state) => format!("then keeping the rest in {}", state.path().display()),
            None => "then discarding the rest, because there is no state directory".to_owned(),
        };
        tracing::warn!(
            "destination {}: removed; delivering its {} for up to {} s, {rest}",
            lane.destination(),
            counted(lane.status().counts.queued, "queued event", "queued events"),
            limit.as_secs_f64(),
        );
        self.retiring.retain(|_, retiring| !retiring.is_over());
        let losses = Arc::clone(&self.losses);
        let lost_by = name.clone();
        let retiring = Retiring::start(lane, limit, |lane| async move {
            end(&lane, Duration::from_secs(1)).await;
            let left = lane.status();
            tell_left(&left);
            losses.lock().note(lost_by, left);
        });
        self.retiring.insert(name, retiring);
    }

    /// The destinations that a plan does not contain.
    pub(super) fn removed_by(&self, plan: &Plan) -> Vec<String> {
        let names: HashSet<StoreName> = names(plan).into_iter().collect();
        let removed = self.lanes.iter().filter(|(name, _)| !names.contains(name));
        removed
            .map(|(_, lane)| lane.destination().to_string())
            .collect()
    }

    /// No error events for a program that itself waits for the delivery of its events: it reads the numbers.
    fn on_dead(&self) -> OnDead {
        if self.sources.without_state {
            Arc::new(|_, _, _| {})
        } else {
            self.bus.error_events()
        }
    }
}

async fn open(state: StateDir, name: StoreName) -> Result<Journal, StateError> {
    let opening = tokio::task::spawn_blocking(move || Journal::open(&state, &name));
    // The task is never cancelled, and opening does not panic.
    opening.await.expect("a store is opened or not")
}

/// Ends a lane and logs what it could not keep.
pub(super) async fn end(lane: &Lane, grace: Duration) {
    if let Err(reason) = lane.stop(grace).await {
        tracing::error!(
            "destination {}: cannot write the remaining events to disk: {reason}",
            lane.destination()
        );
    }
}

/// Logs what a removed destination did not deliver.
fn tell_left(left: &LaneStatus) {
    let (lost, on_disk) = (left.left_in_memory(), left.counts.queued_on_disk);
    if lost > 0 {
        tracing::error!(
            "destination {}: removed, and {} lost: not delivered in time and held only in memory ({})",
            left.destination,
            counted(lost, "event is", "events are"),
            left.last_error.as_deref().unwrap_or("no answer in time"),
        );
    }
    if on_disk > 0 {
        tracing::warn!(
            "destination {}: removed; {} not delivered in time and will be delivered from disk if the destination is added again",
            left.destination,
            counted(on_disk, "event was", "events were"),
        );
    }
}

fn setup(planned: &Planned) -> Setup {
    Setup {
        connector: planned.connector.clone(),
        config: planned.config(),
        secrets: planned.entry.secrets().clone(),
        policy: Arc::new(planned.policy().clone()),
    }
}

/// The names of a plan's stores, by position.
pub(crate) fn names(plan: &Plan) -> Vec<StoreName> {
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    (plan.served.iter())
        .map(|planned| {
            let (provider, pattern) = (&planned.entry.provider, &planned.entry.pattern);
            let count = seen.entry((provider, pattern)).or_default();
            *count += 1;
            StoreName {
                provider: provider.clone(),
                pattern: pattern.clone(),
                nth: *count - 1,
            }
        })
        .collect()
}
