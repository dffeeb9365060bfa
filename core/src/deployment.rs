//! Which destinations are at work: brought in line with the acct file and the plugins at the start, and
//! whenever one of them changes.

mod acct;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use acct::Stamp;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::Bus;
use crate::acct::{AcctFile, AcctSource, WhenFull};
use crate::bus::Routes;
use crate::control::PluginsStatus;
use crate::host::ReloadError;
use crate::internal::{INTERNAL, InternalQueues};
use crate::lane::{Lane, LaneStatus, OnDead, Setup};
use crate::plan::{Plan, Planned};
use crate::plugin::{Catalog, PluginState, Registry};
use crate::store::deadletters::{self, Filter};
use crate::store::{Journal, StateDir, StateError, StoreName};

/// What a deployment is made from, beside plugins.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) acct_file: Option<AcctSource>,
    pub(crate) isolation_program: Option<Arc<Path>>,
    pub(crate) state_dir: Option<StateDir>,
    /// Destinations that ask for a state directory do without.
    pub(crate) without_state: bool,
    /// How long a destination that is taken away may go on delivering.
    pub(crate) retire_within: Duration,
}

/// The numbers of the latest catalog, beside it: the catalog itself is locked during a scan.
#[derive(Debug, Clone, Default)]
pub(crate) struct PluginsSeen(Arc<Mutex<PluginsStatus>>);

impl PluginsSeen {
    /// The numbers at this moment.
    pub(crate) fn status(&self) -> PluginsStatus {
        *self.0.lock()
    }

    /// Notes a catalog that is now in use.
    pub(crate) fn note(&self, catalog: &Catalog) {
        let refused = |state: &PluginState| matches!(state, PluginState::Refused { .. });
        let reports = catalog.reports().iter();
        let mut seen = self.0.lock();
        seen.generation += 1;
        // Not the files that are in use: what a removed one held may serve on.
        seen.loaded = catalog.in_use();
        seen.refused = reports.filter(|report| refused(&report.state)).count();
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Deployment {
    sources: Sources,
    acct: Option<AcctFile>,
    acct_stamp: Stamp,
    /// The stamp of the file that `acct` is; `acct_stamp` may be of a later one that was refused.
    acct_in_use: Stamp,
    registry: Registry,
    catalog: Catalog,
    seen: PluginsSeen,
    unserved: Vec<String>,
    bus: Bus,
    internal: InternalQueues,
    lanes: HashMap<StoreName, Arc<Lane>>,
    retiring: HashMap<StoreName, Retiring>,
}

/// A lane that was taken away and is still delivering what it has.
#[derive(Debug)]
struct Retiring {
    lane: Arc<Lane>,
    phase: Arc<Mutex<Phase>>,
    task: JoinHandle<()>,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Draining,
    Stopping,
}

impl Deployment {
    /// Finds plugins, reads the acct file and starts its lanes on the current tokio runtime.
    pub(crate) async fn start(
        sources: Sources,
        registry: Registry,
        bus: Bus,
        internal: InternalQueues,
        seen: PluginsSeen,
    ) -> Result<Self, ReloadError> {
        let mut deployment = Self {
            sources,
            acct: None,
            acct_stamp: None,
            acct_in_use: None,
            registry,
            catalog: Catalog::default(),
            seen,
            unserved: Vec::new(),
            bus,
            internal,
            lanes: HashMap::new(),
            retiring: HashMap::new(),
        };
        // First, so that a file that cannot be used is told before plugins are looked at.
        let acct = deployment.read_acct().await?;
        let catalog = deployment.scan().await;
        report(&Catalog::default(), &catalog);
        deployment.seen.note(&catalog);
        deployment.catalog = catalog;
        deployment.apply(acct).await?;
        Ok(deployment)
    }

    /// The plugins as they were last found.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Reads the acct file again; see [`Host::reload`](crate::Host::reload).
    pub(crate) async fn reload(&mut self) -> Result<(), ReloadError> {
        let acct = self.read_acct().await?;
        self.apply(acct).await?;
        tracing::info!("the acct file was read again");
        Ok(())
    }

    /// Looks at the plugin directories again, and brings the lanes in line with what is new there.
    pub(crate) async fn rescan(&mut self) {
        let mut catalog = self.scan().await;
        if !report(&self.catalog, &catalog) {
            return;
        }
        catalog.keep(&self.catalog);
        let before = std::mem::replace(&mut self.catalog, catalog);
        let acct = self.acct_with_new_providers().await;
        let plan = self.plan(acct.as_ref()).await;
        let names = names(plan.as_ref());
        if let Some((_, lost)) = self.lanes.iter().find(|(name, _)| !names.contains(name)) {
            // A plugin that came while the host runs must not take a working destination away.
            tracing::error!(
                "nothing is changed, since destination {} would end with it",
                lost.destination()
            );
            for error in plan.iter().flat_map(Plan::errors) {
                tracing::error!("{error}");
            }
            self.catalog = before;
            return;
        }
        for error in plan.iter().flat_map(Plan::errors) {
            tracing::error!("{error}");
        }
        self.seen.note(&self.catalog);
        if let Some(plan) = plan
            && let Err(error) = self.make(plan, acct).await
        {
            tracing::error!("{error}");
        }
    }

    /// Scans on a thread that may block.
    async fn scan(&mut self) -> Catalog {
        let mut registry =
            std::mem::replace(&mut self.registry, Registry::new(Vec::new(), Vec::new()));
        let scanning = tokio::task::spawn_blocking(move || {
            let catalog = registry.scan();
            (registry, catalog)
        });
        // The task is never cancelled, and `scan` contains what a plugin file can do to it.
        let (registry, catalog) = scanning.await.expect("a scan ends");
        self.registry = registry;
        catalog
    }

    /// Plans on a thread that may block: secrets are read, and plugins asked.
    async fn plan(&self, acct: Option<&AcctFile>) -> Option<Plan> {
        let acct = acct?.clone();
        let (catalog, internal) = (self.catalog.clone(), self.internal.clone());
        let program = self.sources.isolation_program.clone();
        let planning = tokio::task::spawn_blocking(move || {
            Plan::new(&acct, &catalog, &internal, program.as_ref())
        });
        let mut plan = planning.await.expect("a plan is made to its end");
        if self.sources.state_dir.is_none() && !self.sources.without_state {
            plan.refuse(|planned| {
                let policy = planned.policy();
                let key = match policy.when_full {
                    Some(WhenFull::Spill) => "when_full",
                    _ if policy.durable => "durable",
                    _ => return None,
                };
                Some((
                    format!("evbus.{key}"),
                    "found a queue on disk, expected a state directory for it; give --state-dir, or change the key".to_owned(),
                ))
            });
        }
        Some(plan)
    }

    /// Brings the lanes in line with an acct file that has no fault.
    async fn apply(&mut self, acct: Option<AcctFile>) -> Result<(), ReloadError> {
        let Some(plan) = self.plan(acct.as_ref()).await else {
            return Ok(());
        };
        if !plan.errors().is_empty() {
            return Err(ReloadError::Acct(plan.errors().to_vec()));
        }
        self.make(plan, acct).await?;
        self.acct_in_use = self.acct_stamp;
        Ok(())
    }

    /// Makes the lanes what a plan asks for. Lanes that are to stay, stay: with their queues, their
    /// numbers, and their instances unless their setup changed. Whatever may fail is done first.
    async fn make(&mut self, plan: Plan, acct: Option<AcctFile>) -> Result<(), StateError> {
        let names = names(Some(&plan));
        let mut lanes = HashMap::new();
        let mut order = Vec::new();
        let mut fresh = Vec::new();
        for (planned, name) in plan.served.iter().zip(&names) {
            let known = match self.lanes.get(name) {
                Some(lane) => Some(Arc::clone(lane)),
                None => self.revive(name).await,
            };
            if known.is_none() {
                fresh.push((name.clone(), self.journal(name).await?, planned));
            }
            lanes.insert(name.clone(), known);
        }
        let mut started = HashMap::new();
        for (name, journal, planned) in fresh {
            let lane = Lane::start(
                planned.destination(),
                setup(planned),
                journal,
                self.on_dead(),
            );
            started.insert(name, Arc::new(lane));
        }
        for (planned, name) in plan.served.iter().zip(&names) {
            let lane = match lanes.get(name).cloned().flatten() {
                Some(lane) => {
                    if lane.switch(planned.destination(), setup(planned)) {
                        tracing::info!("destination {}: changes over", lane.destination());
                    }
                    lane
                }
                None => match started.remove(name) {
                    Some(lane) => lane,
                    // Every name is in one of the two.
                    None => continue,
                },
            };
            order.push((name.clone(), lane));
        }
        for provider in plan.unserved() {
            if self.unserved.contains(provider) {
                continue;
            }
            if provider == INTERNAL {
                tracing::warn!(
                    "provider internal is for programs that run the host as a library and read its queues; \
                     nobody can read them here, so its destinations get no events; remove its entries"
                );
            } else {
                tracing::info!("provider {provider} of the acct file is served by no plugin");
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
                self.retire(name, lane);
            }
        }
        // It may hold other tools' passwords.
        self.acct = acct.map(|mut acct| {
            acct.let_go(&self.unserved);
            acct
        });
        Ok(())
    }

    /// A program that itself waits for its events' delivery is told by their numbers, and not by
    /// events of their own.
    fn on_dead(&self) -> OnDead {
        if self.sources.without_state {
            Arc::new(|_, _, _| {})
        } else {
            self.bus.error_events()
        }
    }

    async fn journal(&self, name: &StoreName) -> Result<Option<Journal>, StateError> {
        let Some(state) = self.sources.state_dir.clone() else {
            return Ok(None);
        };
        let name = name.clone();
        let opening = tokio::task::spawn_blocking(move || Journal::open(&state, &name));
        // The task is never cancelled; opening does not panic.
        opening.await.expect("a store is opened or not").map(Some)
    }

    /// Takes a lane out of work: it delivers what it has for a while, and keeps the rest on disk.
    fn retire(&mut self, name: StoreName, lane: Arc<Lane>) {
        let phase = Arc::new(Mutex::new(Phase::Draining));
        let (its, its_phase) = (Arc::clone(&lane), Arc::clone(&phase));
        let limit = self.sources.retire_within;
        let destination = lane.destination();
        tracing::info!("destination {destination}: taken away, and delivers what it has");
        let task = tokio::spawn(async move {
            // What is left after that is not lost where there is a disk.
            let _ = tokio::time::timeout(limit, its.shared().queue.empty()).await;
            *its_phase.lock() = Phase::Stopping;
            end(&its, Duration::from_secs(1)).await;
        });
        self.retiring
            .retain(|_, retiring| !retiring.task.is_finished());
        self.retiring.insert(name, Retiring { lane, phase, task });
    }

    /// A lane that was taken away and comes back before it has ended.
    async fn revive(&mut self, name: &StoreName) -> Option<Arc<Lane>> {
        let retiring = self.retiring.remove(name)?;
        {
            let phase = retiring.phase.lock();
            if *phase == Phase::Draining {
                // It cannot get on to stopping while the lock is held.
                retiring.task.abort();
                return Some(retiring.lane);
            }
        }
        // Its store must be closed before it is opened again.
        let _ = retiring.task.await;
        None
    }

    /// Puts dead letters back into their queues.
    pub(crate) async fn replay(&self, filter: &Filter) -> Result<u64, String> {
        let Some(state) = &self.sources.state_dir else {
            return Err("the host has no state directory, so there are no dead letters".to_owned());
        };
        let (path, wanted) = (state.path().to_owned(), filter.clone());
        let selecting = tokio::task::spawn_blocking(move || deadletters::selected(&path, &wanted));
        let selected = selecting
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        let mut replayed = 0;
        for (file, name, numbers) in selected {
            let retiring = self.retiring.get(&name).map(|retiring| &retiring.lane);
            let lane = self.lanes.get(&name).or(retiring);
            if let Some(done) = lane.and_then(|lane| lane.shared().queue.replay(numbers)) {
                replayed += done.await.map_err(|error| error.to_string())??;
            } else {
                // Nobody is at work on that store; its events wait there.
                replayed +=
                    deadletters::replay_file(&file, filter).map_err(|error| error.to_string())?;
            }
        }
        Ok(replayed)
    }

    /// Ends all lanes. Returns their last numbers, in the order of the acct file; then those of lanes
    /// that had been taken away.
    pub(crate) async fn stop(&mut self, grace: Duration) -> Vec<LaneStatus> {
        let mut all = self.bus.routes().lanes.clone();
        for (_, retiring) in self.retiring.drain() {
            let is_draining = *retiring.phase.lock() == Phase::Draining;
            if is_draining {
                retiring.task.abort();
                all.push(retiring.lane);
            } else {
                let _ = retiring.task.await;
            }
        }
        let stopping: Vec<_> = all
            .iter()
            .map(|lane| {
                let lane = Arc::clone(lane);
                tokio::spawn(async move { end(&lane, grace).await })
            })
            .collect();
        for stopped in stopping {
            // A task that panicked has said so.
            let _ = stopped.await;
        }
        all.iter().map(|lane| lane.status()).collect()
    }
}

/// Ends a lane and says what it could not keep.
async fn end(lane: &Lane, grace: Duration) {
    if let Err(reason) = lane.stop(grace).await {
        tracing::error!(
            "destination {}: what is left could not be written to disk: {reason}",
            lane.destination()
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
fn names(plan: Option<&Plan>) -> Vec<StoreName> {
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    plan.iter()
        .flat_map(|plan| &plan.served)
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

/// Writes what changed into the log. Returns whether anything did.
fn report(before: &Catalog, after: &Catalog) -> bool {
    for report in after.reports() {
        let Some(file) = report
            .file
            .as_ref()
            .filter(|_| !before.reports().contains(report))
        else {
            continue;
        };
        match &report.state {
            PluginState::Refused { reason } => {
                tracing::warn!("plugin {}: not used: {reason}", file.display());
            }
            PluginState::Discovered { reason } => {
                tracing::info!("plugin {}: not used: {reason}", file.display());
            }
            _ => tracing::info!(
                "plugin {}: {} {} loaded",
                file.display(),
                report.id.as_deref().unwrap_or_default(),
                report.version.as_deref().unwrap_or_default(),
            ),
        }
    }
    before.reports() != after.reports()
}
