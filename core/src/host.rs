//! The host: plugins, acct file, bus and event sockets, put together and kept up.

mod control;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::acct::{self, AcctError, AcctFile};
use crate::bus::Routes;
use crate::event::Serial;
use crate::internal::{InternalQueues, InternalReader};
use crate::lane::{InstanceState, Lane, LaneStatus};
use crate::plan::{Plan, Planned};
use crate::plugin::{
    Catalog, Plugin, PluginReport, PluginState, PluginWatch, Registry, plugin_dirs,
};
use crate::salt::{self, Publisher, Server, SocketDir, SocketError};
use crate::{Bus, Event};

/// What a host is started with.
///
/// ```no_run
/// # async fn example() -> Result<(), evbus::StartError> {
/// use std::time::Duration;
///
/// let host = evbus::Host::builder()
///     .acct_file("/etc/evbus/acct.yml")
///     .plugin_dir("/usr/lib/evbus/plugins")
///     .start()
///     .await?;
/// host.bus().put("idem-status", "FINISHED").await.expect("the bus is open");
/// let left = host.shutdown(Duration::from_secs(10)).await;
/// assert!(left.iter().all(|lane| lane.counts.queued == 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct HostBuilder {
    acct_file: Option<PathBuf>,
    plugin_dirs: Vec<PathBuf>,
    linked: Vec<Arc<Plugin>>,
    socket_dirs: Vec<SocketDir>,
    serial: Serial,
    run_name: String,
}

impl HostBuilder {
    /// Reads destinations from this file; without one there are none.
    pub fn acct_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.acct_file = Some(path.into());
        self
    }

    /// Searches this directory for plugins, before those of the environment and the defaults (see
    /// [`plugin_dirs`]).
    pub fn plugin_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.plugin_dirs.push(path.into());
        self
    }

    /// Uses a plugin that is linked into this program.
    pub fn linked(mut self, plugin: Plugin) -> Self {
        self.linked.push(Arc::new(plugin));
        self
    }

    /// Opens event sockets in a directory.
    pub fn socket_dir(mut self, dir: SocketDir) -> Self {
        self.socket_dirs.push(dir);
        self
    }

    /// The form in which bodies reach destinations; JSON by default.
    pub fn serial(mut self, serial: Serial) -> Self {
        self.serial = serial;
        self
    }

    /// The run name of events that bring none; empty by default.
    pub fn run_name(mut self, run_name: impl Into<String>) -> Self {
        self.run_name = run_name.into();
        self
    }

    /// Starts on the current tokio runtime. Returns when the sockets accept and every served
    /// destination has its lane; connections are made in the background, except those of
    /// destinations that are `required`.
    ///
    /// # Errors
    ///
    /// The acct file cannot be used (every fault is given), a socket cannot be bound, or a required
    /// destination is not reached within its deadline.
    pub async fn start(self) -> Result<Host, StartError> {
        Host::start(self).await
    }
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The acct file cannot be used as it is.
    #[error("{}", lines(.0))]
    Acct(Vec<AcctError>),
    /// An event socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A required destination is not there.
    #[error("destination {destination} is required and not connected: {reason}")]
    Required {
        /// Which one.
        destination: String,
        /// What stands in the way.
        reason: String,
    },
}

fn lines(errors: &[AcctError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// A running host. Dropping it ends everything at once; [`shutdown`](Self::shutdown) ends it in
/// order.
#[derive(Debug)]
pub struct Host {
    bus: Bus,
    internal: InternalQueues,
    server: Option<Server>,
    control: Option<crate::control::Server>,
    state: Arc<Mutex<State>>,
    watching: JoinHandle<()>,
}

/// What a change of the plugins may change.
#[derive(Debug)]
struct State {
    acct: Option<AcctFile>,
    registry: Registry,
    catalog: Catalog,
    plugins: control::PluginsSeen,
    unserved: Vec<String>,
}

impl Host {
    /// Starts to describe a host.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    async fn start(builder: HostBuilder) -> Result<Self, StartError> {
        let acct = match &builder.acct_file {
            Some(path) => Some(acct::load(path).map_err(StartError::Acct)?),
            None => None,
        };
        let registry = Registry::new(plugin_dirs(&builder.plugin_dirs), builder.linked);
        let watch = PluginWatch::new(registry.dirs());
        let (registry, catalog) = scan(registry).await;
        report(&Catalog::default(), &catalog);

        let internal = InternalQueues::default();
        let listeners = Publisher::default();
        let run_name = builder.run_name.clone();
        let bus = Bus::new(listeners.clone(), builder.serial, builder.run_name);
        let mut state = State {
            acct,
            registry,
            catalog,
            plugins: control::PluginsSeen::default(),
            unserved: Vec::new(),
        };
        state.plugins.note(&state.catalog);
        let errors = state.apply(&bus, &internal);
        if !errors.is_empty() {
            return Err(StartError::Acct(errors));
        }
        let intake = bus.clone();
        let publisher = listeners.clone();
        let mut server = salt::serve(builder.socket_dirs, publisher, move |event: Event| {
            let bus = intake.clone();
            async move {
                if let Err(error) = bus.put_event(event).await {
                    tracing::warn!("an event from a socket was not taken: {error}");
                }
            }
        })?;
        let handle = control::Handle {
            bus: bus.clone(),
            run_name,
            plugins: state.plugins.clone(),
            state_dir: None,
            listeners,
            intake: server.counters(),
            started: std::time::Instant::now(),
        };
        let control = crate::control::serve(&mut server, None, handle)?;
        required(&bus).await?;
        let state = Arc::new(Mutex::new(state));
        let watching = tokio::spawn(follow(
            watch,
            Arc::clone(&state),
            bus.clone(),
            internal.clone(),
        ));
        Ok(Self {
            bus,
            internal,
            server: Some(server),
            control: Some(control),
            state,
            watching,
        })
    }

    /// The bus, to fire events with.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Opens the queue that the built-in provider `internal` fills for a routing key.
    pub fn internal(&self, routing_key: &str) -> InternalReader {
        self.internal.reader(routing_key)
    }

    /// What became of every plugin file.
    pub async fn plugins(&self) -> Vec<PluginReport> {
        self.state.lock().await.catalog.reports().to_vec()
    }

    /// Ends in order: takes no more events, waits until all destinations have settled theirs, but
    /// at most `drain`, then lets every instance disconnect. Returns each destination's last
    /// numbers; what they say is queued was not delivered.
    pub async fn shutdown(mut self, drain: Duration) -> Vec<LaneStatus> {
        let until = tokio::time::Instant::now() + drain;
        self.watching.abort();
        if let Some(server) = &mut self.server {
            // What programs have written already is still taken, as long as there is room for it.
            let _ = tokio::time::timeout(drain, server.stop_intake()).await;
        }
        self.bus.close();
        let rest = until.saturating_duration_since(tokio::time::Instant::now());
        self.bus.drain(rest).await;
        let grace = until.saturating_duration_since(tokio::time::Instant::now());
        let routes = self.bus.routes();
        let stopping: Vec<_> = routes
            .lanes
            .iter()
            .map(|lane| {
                let lane = Arc::clone(lane);
                tokio::spawn(async move { lane.stop(grace.max(MIN_GRACE)).await })
            })
            .collect();
        for stopped in stopping {
            let _ = stopped.await;
        }
        if let Some(server) = self.server.take() {
            // Listeners still get what was published before.
            server.close(grace.max(MIN_GRACE)).await;
        }
        if let Some(control) = self.control.take() {
            control.close().await;
        }
        self.bus.status()
    }
}

/// An instance gets at least this long to disconnect, whatever the drain has left.
const MIN_GRACE: Duration = Duration::from_millis(500);

impl Drop for Host {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Scans on a thread that may block.
async fn scan(mut registry: Registry) -> (Registry, Catalog) {
    let scanning = tokio::task::spawn_blocking(move || {
        let catalog = registry.scan();
        (registry, catalog)
    });
    // The task is never cancelled, and `scan` contains what a plugin file can do to it.
    scanning.await.expect("a scan ends")
}

impl State {
    /// Makes the lanes what acct file and plugins ask for. Lanes that are to stay, stay: with their
    /// queues, their numbers, and their instances unless their plugin was replaced.
    fn apply(&mut self, bus: &Bus, internal: &InternalQueues) -> Vec<AcctError> {
        let Some(acct) = &self.acct else {
            return Vec::new();
        };
        let plan = Plan::new(acct, &self.catalog, internal);
        for provider in &plan.unserved {
            if !self.unserved.contains(provider) {
                tracing::info!("provider {provider} of the acct file is served by no plugin");
            }
        }
        let old = bus.routes();
        if let Some(lost) = old
            .lanes
            .iter()
            .find(|lane| !plan.serves(lane.destination()))
        {
            // A plugin that came while the host runs must not take a working destination away.
            tracing::error!(
                "nothing is changed, since destination {} would end with it",
                lost.destination()
            );
            return plan.errors;
        }
        let lanes = plan
            .served
            .iter()
            .map(|planned| lane(planned, &old.lanes))
            .collect();
        bus.set_routes(Routes {
            router: plan.router,
            lanes,
        });
        self.unserved = plan.unserved;
        plan.errors
    }
}

/// The lane of an entry: the one it has, or a new one.
fn lane(planned: &Planned, old: &[Arc<Lane>]) -> Arc<Lane> {
    let destination = planned.destination();
    if let Some(lane) = old.iter().find(|lane| *lane.destination() == destination) {
        if lane.connector() != planned.connector {
            tracing::info!("destination {destination}: moves to the new plugin");
            lane.switch(planned.connector.clone());
        }
        return Arc::clone(lane);
    }
    Arc::new(Lane::start(
        destination,
        planned.entry.policy.clone(),
        planned.config(),
        planned.connector.clone(),
    ))
}

/// Waits for the destinations that the host must not start without.
async fn required(bus: &Bus) -> Result<(), StartError> {
    let routes = bus.routes();
    for lane in routes
        .lanes
        .iter()
        .filter(|lane| lane.shared().policy.required)
    {
        let limit = lane.shared().policy.deadline;
        let connected = lane.shared().wait_for(InstanceState::Connected);
        if tokio::time::timeout(limit, connected).await.is_err() {
            return Err(StartError::Required {
                destination: lane.destination().to_string(),
                reason: lane
                    .status()
                    .last_error
                    .unwrap_or_else(|| "it gave no answer".to_owned()),
            });
        }
    }
    Ok(())
}

/// Follows the plugin directories.
async fn follow(
    mut watch: PluginWatch,
    state: Arc<Mutex<State>>,
    bus: Bus,
    internal: InternalQueues,
) {
    loop {
        watch.changed().await;
        let mut state = state.lock().await;
        let registry =
            std::mem::replace(&mut state.registry, Registry::new(Vec::new(), Vec::new()));
        let (registry, mut catalog) = scan(registry).await;
        state.registry = registry;
        if report(&state.catalog, &catalog) {
            catalog.keep(&state.catalog);
            state.catalog = catalog;
            state.plugins.note(&state.catalog);
            for error in state.apply(&bus, &internal) {
                tracing::error!("{error}");
            }
        }
    }
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
