//! The destinations at work, kept in line with the acct file and the plugins.

mod acct;
mod change;
mod error;
mod file_limit;
mod losses;
mod plugins;
mod retiring;

pub(crate) use change::names;
pub use error::ReloadError;
pub(crate) use error::lines;
pub use file_limit::TooFewOpenFiles;
pub(crate) use file_limit::check_file_limit;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use acct::{Settling, Stamp};
use losses::Losses;
use parking_lot::Mutex;
use plugins::Scanned;
use retiring::Retiring;

use crate::control::{PluginsStatus, Reloaded};
use crate::plan::{Plan, Premises};
use evbus_acct::{AcctFile, AcctSource};
use evbus_delivery::Bus;
use evbus_delivery::InternalQueues;
use evbus_delivery::{Lane, LaneStatus};
use evbus_plugin::{Catalog, Patience, PluginState, Registry};
use evbus_report::counted;
use evbus_store::deadletters::{self, Filter};
use evbus_store::{StateDir, StoreName};

/// What a deployment is made from, beside plugins.
#[derive(Debug)]
pub(crate) struct Sources {
    pub acct_file: Option<AcctSource>,
    pub isolation_program: Option<Arc<Path>>,
    pub state_dir: Option<StateDir>,
    /// Destinations that ask for a state directory do without.
    pub without_state: bool,
    /// How long a removed destination may go on delivering.
    pub retire_within: Duration,
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
        self.recount(catalog);
        self.0.lock().generation += 1;
    }

    /// Counts again: an acct file has plugins loaded that it uses.
    pub(crate) fn recount(&self, catalog: &Catalog) {
        let refused = |state: &PluginState| matches!(state, PluginState::Refused { .. });
        let reports = catalog.reports();
        let mut seen = self.0.lock();
        // Not the files that are in use: what a removed one held may serve on.
        seen.loaded = catalog.in_use();
        seen.refused = (reports.iter().filter(|report| refused(&report.state))).count();
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
    settling: Option<Settling>,
    registry: Registry,
    /// How long what is foreign is waited for.
    patience: Patience,
    /// What is in use.
    catalog: Catalog,
    /// What was found last, in use or not.
    scanned: Scanned,
    scanned_is_in_use: bool,
    seen: PluginsSeen,
    unserved: Vec<String>,
    bus: Bus,
    internal: InternalQueues,
    lanes: HashMap<StoreName, Arc<Lane>>,
    retiring: HashMap<StoreName, Retiring>,
    /// Of removed destinations that have ended.
    losses: Arc<Mutex<Losses>>,
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
            settling: None,
            patience: registry.patience(),
            registry,
            catalog: Catalog::default(),
            scanned: Scanned::default(),
            scanned_is_in_use: true,
            seen,
            unserved: Vec::new(),
            bus,
            internal,
            lanes: HashMap::new(),
            retiring: HashMap::new(),
            losses: Arc::default(),
        };
        // First, so that a file that cannot be used is told before plugins are looked at.
        let acct = deployment.read_acct().await?;
        let catalog = deployment.scan(acct.clone()).await?;
        plugins::report(&Scanned::default(), &catalog);
        deployment.scanned = Scanned::of(&catalog);
        deployment.seen.note(&catalog);
        deployment.catalog = catalog;
        deployment.apply(acct).await?;
        Ok(deployment)
    }

    /// The plugins as they were last found.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Looks at the plugins and reads the acct file again because somebody asked for it, so that
    /// the file may remove every destination; see [`Host::reload`](crate::Host::reload).
    pub(crate) async fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        // What failed when it was noticed has another chance now.
        self.rescan(true).await?;
        let acct = self.read_acct().await?;
        let reloaded = self.apply(acct).await?;
        tracing::info!("acct file reloaded: {reloaded}");
        Ok(reloaded)
    }

    /// Does work that reads foreign files or asks plugins on a thread that may block. It is left behind
    /// where the host ends meanwhile: nobody can take a thread away from a file that hangs.
    async fn unless_ending<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReloadError> {
        tokio::select! {
            biased;
            // A panic in it is a fault of this program and stays one.
            done = tokio::task::spawn_blocking(work) => Ok(done.expect("it comes to its end")),
            () = self.patience.ended() => Err(ReloadError::Ending),
        }
    }

    /// Plans on a thread that may block: secrets are read, and plugins asked.
    async fn plan(
        &self,
        catalog: &Catalog,
        acct: Option<&AcctFile>,
    ) -> Result<Option<Plan>, ReloadError> {
        let Some(acct) = acct.cloned() else {
            return Ok(None);
        };
        let (catalog, internal) = (catalog.clone(), self.internal.clone());
        let program = self.sources.isolation_program.clone();
        let accepts_queues_on_disk = self.sources.state_dir.is_some() || self.sources.without_state;
        let planning = move || {
            let premises = Premises {
                internal: &internal,
                program: program.as_ref(),
                accepts_queues_on_disk,
            };
            Plan::new(&acct, &catalog, premises)
        };
        self.unless_ending(planning).await.map(Some)
    }

    /// Brings the lanes in line with an acct file that has no fault.
    async fn apply(&mut self, acct: Option<AcctFile>) -> Result<Reloaded, ReloadError> {
        let catalog = self.catalog.clone();
        let Some(plan) = self.plan(&catalog, acct.as_ref()).await? else {
            return Ok(Reloaded::default());
        };
        self.apply_plan(plan, acct).await
    }

    async fn apply_plan(
        &mut self,
        plan: Plan,
        acct: Option<AcctFile>,
    ) -> Result<Reloaded, ReloadError> {
        if !plan.errors().is_empty() {
            return Err(ReloadError::Acct(plan.errors().to_vec()));
        }
        let prepared = self.prepare(plan).await?;
        let reloaded = self.commit(prepared, acct);
        self.seen.recount(&self.catalog);
        self.acct_in_use = self.acct_stamp;
        Ok(reloaded)
    }

    /// Puts dead letters back into their queues.
    pub(crate) async fn replay(&self, filter: &Filter) -> Result<u64, String> {
        let mut replayed = 0;
        for (file, name, numbers) in self.dead_letters(filter).await? {
            let held = self.hold(&name).await;
            let lane = (self.lanes.get(&name)).or(held.as_ref().map(retiring::Held::lane));
            let done = match lane {
                Some(lane) => match lane.shared().replay(numbers) {
                    Some(done) => done.await.unwrap_or_else(|_| Err(is_ending(lane))),
                    None => Err(is_ending(lane)),
                },
                // Nobody is at work on that store; its events wait there.
                None => deadletters::replay_file(&file, filter).map_err(|error| error.to_string()),
            };
            replayed += done.map_err(|error| after(&error, replayed, "put back"))?;
        }
        Ok(replayed)
    }

    /// Deletes dead letters.
    pub(crate) async fn purge(&self, filter: &Filter) -> Result<u64, String> {
        /// So many at a time hold up nobody who writes to the same store.
        const AT_ONCE: usize = 1000;
        let mut purged = 0;
        for (file, name, numbers) in self.dead_letters(filter).await? {
            let held = self.hold(&name).await;
            let lane = (self.lanes.get(&name)).or(held.as_ref().map(retiring::Held::lane));
            let Some((lane, journal)) =
                lane.and_then(|lane| Some((lane, lane.shared().journal()?)))
            else {
                purged += deadletters::purge_file(&file, &numbers)
                    .map_err(|error| after(&error.to_string(), purged, "deleted"))?;
                continue;
            };
            for some in numbers.chunks(AT_ONCE) {
                let done = journal.purge(some.to_vec()).await;
                purged += done
                    .unwrap_or_else(|_| Err(is_ending(lane)))
                    .map_err(|error| after(&error, purged, "deleted"))?;
            }
        }
        Ok(purged)
    }

    /// The stores with the dead letters in each that the filter takes.
    async fn dead_letters(
        &self,
        filter: &Filter,
    ) -> Result<Vec<(PathBuf, StoreName, Vec<i64>)>, String> {
        let Some(state) = &self.sources.state_dir else {
            return Err("the host has no state directory, so there are no dead letters".to_owned());
        };
        let (path, wanted) = (state.path().to_owned(), filter.clone());
        let selecting = tokio::task::spawn_blocking(move || deadletters::selected(&path, &wanted));
        let selected = selecting.await.map_err(|error| error.to_string())?;
        selected.map_err(|error| error.to_string())
    }

    /// A removed lane that still writes its store; nobody stops it while it is held. Waits for one that
    /// is being stopped.
    async fn hold(&self, name: &StoreName) -> Option<retiring::Held> {
        let retiring = self.retiring.get(name)?;
        let held = retiring.hold();
        if held.is_none() {
            // Two must not write one store.
            retiring.stopped().await;
        }
        held
    }

    /// Ends all lanes. Returns their last numbers, in the order of the acct file; then those of
    /// removed ones that had not ended, and of removed ones that had and lost events.
    pub(crate) async fn stop(&mut self, grace: Duration) -> Vec<LaneStatus> {
        let mut all = self.bus.routes().lanes.clone();
        for (_, retiring) in self.retiring.drain() {
            match retiring.hold() {
                Some(held) => all.push(held.revive()),
                None => retiring.stopped().await,
            }
        }
        let stopping: Vec<_> = all
            .iter()
            .map(|lane| {
                let lane = Arc::clone(lane);
                tokio::spawn(async move { change::end(&lane, grace).await })
            })
            .collect();
        for stopped in stopping {
            // A task that panicked has said so.
            let _ = stopped.await;
        }
        let mut left: Vec<LaneStatus> = all.iter().map(|lane| lane.status()).collect();
        left.extend(self.losses.lock().take());
        left
    }
}

fn is_ending(lane: &Lane) -> String {
    format!(
        "destination {} is being removed; try again in a moment",
        lane.destination()
    )
}

/// Says what was done before something failed.
fn after(error: &str, done: u64, what: &str) -> String {
    if done == 0 {
        return error.to_owned();
    }
    format!(
        "{error}; {} of other destinations had already been {what}",
        counted(done, "dead letter", "dead letters")
    )
}
