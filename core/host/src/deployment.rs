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
use futures_util::future::join_all;
use losses::Losses;
use parking_lot::Mutex;
use plugins::Scanned;
use retiring::Retiring;
use tokio::time::{Instant, timeout_at};

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

/// What a deployment is made from, besides plugins.
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

/// The numbers of the latest catalog, kept apart because the catalog is locked during a scan.
#[derive(Debug, Clone, Default)]
pub(crate) struct PluginsSeen(Arc<Mutex<PluginsStatus>>);

impl PluginsSeen {
    /// The current numbers.
    pub(crate) fn status(&self) -> PluginsStatus {
        *self.0.lock()
    }

    /// Records a catalog that is now in use.
    pub(crate) fn note(&self, catalog: &Catalog) {
        self.recount(catalog);
        self.0.lock().generation += 1;
    }

    /// Counts again, because an acct file has loaded the plugins that it uses.
    pub(crate) fn recount(&self, catalog: &Catalog) {
        let refused = |state: &PluginState| matches!(state, PluginState::Refused { .. });
        let reports = catalog.reports();
        let mut seen = self.0.lock();
        // Not the files in use: a removed file may still serve.
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
    /// The stamp of the file in `acct`; `acct_stamp` may belong to a later file that was refused.
    acct_in_use: Stamp,
    settling: Option<Settling>,
    registry: Registry,
    /// How long foreign code and files are waited for.
    patience: Patience,
    /// The catalog in use.
    catalog: Catalog,
    /// The latest scan, whether or not it is in use.
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
        // First, so that an invalid acct file is reported before plugins are inspected.
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

    /// Scans the plugins and reads the acct file again on request, so the file may remove every destination; see
    /// [`Host::reload`](crate::Host::reload).
    pub(crate) async fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        // Changes that failed when they were noticed are tried again now.
        self.rescan(true).await?;
        let acct = self.read_acct().await?;
        let reloaded = self.apply(acct).await?;
        tracing::info!("acct file reloaded: {reloaded}");
        Ok(reloaded)
    }

    /// Runs work that reads files or calls plugins, on a thread that may block. The work is abandoned if the host ends
    /// meanwhile: a thread that hangs on a file cannot be stopped.
    async fn unless_ending<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReloadError> {
        tokio::select! {
            biased;
            // A panic in it is a fault of this program and is passed on.
            done = tokio::task::spawn_blocking(work) => Ok(done.expect("it comes to its end")),
            () = self.patience.ended() => Err(ReloadError::Ending),
        }
    }

    /// Makes a plan on a thread that may block: secrets are read, and plugins are called.
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

    /// Applies a valid acct file to the lanes.
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
                // No lane uses that store; the events wait in it.
                None => deadletters::replay_file(&file, filter).map_err(|error| error.to_string()),
            };
            replayed += done.map_err(|error| after(&error, replayed, "put back"))?;
        }
        Ok(replayed)
    }

    /// Deletes dead letters.
    pub(crate) async fn purge(&self, filter: &Filter) -> Result<u64, String> {
        /// Small portions, so that nobody who writes to the same store has to wait.
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

    /// The stores with matching dead letters, and these dead letters.
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

    /// A removed lane that still writes to its store; it is not stopped while it is held. Waits for one that is being
    /// stopped.
    async fn hold(&self, name: &StoreName) -> Option<retiring::Held> {
        let retiring = self.retiring.get(name)?;
        let held = retiring.hold();
        if held.is_none() {
            // Two lanes must not write to one store.
            retiring.stopped().await;
        }
        held
    }

    /// Ends all lanes, those that a reload has removed when they have delivered everything, or at `until`. Each
    /// gets `grace` at least to disconnect. Returns their last numbers in the order of the acct file, then those of
    /// removed lanes that had not ended, then those of removed lanes that had ended and lost events.
    pub(crate) async fn stop(&mut self, until: Instant, grace: Duration) -> Vec<LaneStatus> {
        let mut removed = Vec::new();
        for (_, retiring) in self.retiring.drain() {
            match retiring.hold() {
                Some(held) => removed.push(held.revive()),
                None => retiring.stopped().await,
            }
        }
        let delivering = (removed.iter()).map(|lane| timeout_at(until, lane.shared().empty()));
        join_all(delivering).await;
        let grace = until.saturating_duration_since(Instant::now()).max(grace);
        let mut all = self.bus.routes().lanes.clone();
        all.extend(removed);
        let stopping: Vec<_> = all
            .iter()
            .map(|lane| {
                let lane = Arc::clone(lane);
                tokio::spawn(async move { change::end(&lane, grace).await })
            })
            .collect();
        for stopped in stopping {
            // A task that panicked has logged it.
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

/// Adds to an error what was done before it.
fn after(error: &str, done: u64, what: &str) -> String {
    if done == 0 {
        return error.to_owned();
    }
    format!(
        "{error}; {} of other destinations had already been {what}",
        counted(done, "dead letter", "dead letters")
    )
}
