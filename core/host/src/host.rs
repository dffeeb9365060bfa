//! The host: plugins, acct file, bus and event sockets, put together and kept running.

mod errors;
mod examine;
mod intake;
mod listeners;
mod watching;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::control::{Handle, Reloaded};
use crate::deployment::{Deployment, PluginsSeen, ReloadError, Sources, check_file_limit};
use evbus_acct::AcctSource;
use evbus_delivery::Bus;
use evbus_delivery::{InstanceState, LaneStatus};
use evbus_delivery::{InternalQueues, InternalReader};
use evbus_event::Event;
use evbus_event::Serial;
use evbus_plugin::{Patience, Plugin, PluginReport, PluginWatch, Registry, plugin_dirs};
use evbus_sockets::{
    Follower, Publisher, PullCounters, SaltMaster, Server, SocketDir, SocketGroup, SocketOptions,
};
use evbus_store::deadletters::Filter;
use evbus_store::{StateDir, StateLimits};
use intake::FromSockets;
use listeners::AtSockets;

pub use errors::StartError;
pub use examine::Examination;

/// The options that a host is started with.
///
/// ```no_run
/// # async fn example() -> Result<(), evbus_host::StartError> {
/// use std::time::Duration;
///
/// let host = evbus_host::Host::builder()
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
    acct_file: Option<AcctSource>,
    plugin_dirs: Vec<PathBuf>,
    linked: Vec<Arc<Plugin>>,
    socket_dirs: Vec<SocketDir>,
    salt_masters: Vec<SaltMaster>,
    socket_options: SocketOptions,
    serial: Serial,
    run_name: String,
    isolation_program: Option<Arc<Path>>,
    state_dir: Option<PathBuf>,
    without_state: bool,
    without_internal: bool,
    state_limits: StateLimits,
    plugin_copies: Option<PathBuf>,
    retire_within: Option<Duration>,
}

impl HostBuilder {
    /// Reads destinations from this file: a path, or an [`AcctSource`] with a key. Without a file there
    /// are no destinations.
    pub fn acct_file(mut self, file: impl Into<AcctSource>) -> Self {
        self.acct_file = Some(file.into());
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

    /// Lets a group fire and listen in every socket directory. By default only this user and root may.
    /// The control sockets always belong only to them.
    pub fn socket_group(mut self, group: SocketGroup) -> Self {
        self.socket_options.group = Some(group);
        self
    }

    /// Opens two more sockets in every socket directory, under the names of the Salt minion with this
    /// id: programs that use a minion's sockets find the host there. May be called repeatedly.
    pub fn minion_id(mut self, id: impl Into<String>) -> Self {
        self.socket_options.minion_ids.push(id.into());
        self
    }

    /// Takes events from a running Salt master; nothing is ever written to it. The master may start
    /// later than this host, stop and restart.
    pub fn from_salt(mut self, master: SaltMaster) -> Self {
        self.salt_masters.push(master);
        self
    }

    /// The form in which bodies reach destinations; JSON by default.
    pub fn serial(mut self, serial: Serial) -> Self {
        self.serial = serial;
        self
    }

    /// The run name of events that have none of their own; empty by default.
    pub fn run_name(mut self, run_name: impl Into<String>) -> Self {
        self.run_name = run_name.into();
        self
    }

    /// Runs the plugins of destinations with `isolate: process` in processes of this program: evbus of
    /// exactly this version, or a program that calls [`child_main`](evbus_plugin::child_main) as evbus
    /// does. `/proc/self/exe` is the running program itself. Without it, such destinations are not
    /// connected. A plugin file that was never loaded is first probed in such a process; without a
    /// program it is loaded without a probe.
    pub fn isolation_program(mut self, path: impl Into<PathBuf>) -> Self {
        self.isolation_program = Some(path.into().into());
        self
    }

    /// Keeps queued events and dead letters in this directory. Without one, events are queued only in
    /// memory, and dead letters are not kept. No other process may use it at the same time.
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(path.into());
        self
    }

    /// Loads plugins from copies in this directory, with mode 0700, instead of copies in memory: for
    /// debuggers.
    pub fn plugin_copies(mut self, dir: impl Into<PathBuf>) -> Self {
        self.plugin_copies = Some(dir.into());
        self
    }

    /// Serves destinations that need a queue on disk without a state directory: for a program that
    /// itself waits until the far systems have acknowledged its events. No error events are fired, and
    /// events that match no destination are not logged.
    pub fn without_state(mut self) -> Self {
        self.state_dir = None;
        self.without_state = true;
        self
    }

    /// Leaves entries of the built-in provider `internal` unserved, with a warning: for a program that
    /// never calls [`Host::internal`], where their events would fill memory and never be read.
    pub fn without_internal(mut self) -> Self {
        self.without_internal = true;
        self
    }

    /// The size limits of the state directory.
    pub fn state_limits(mut self, limits: StateLimits) -> Self {
        self.state_limits = limits;
        self
    }

    /// How long a destination that a reload removes may continue to deliver its queued events; 10 s by
    /// default.
    pub fn retire_within(mut self, limit: Duration) -> Self {
        self.retire_within = Some(limit);
        self
    }

    /// Starts on the current tokio runtime. Returns when the sockets accept connections and every served
    /// destination has its lane; destinations connect in the background, except those that are
    /// `required`.
    ///
    /// # Errors
    ///
    /// The acct file is invalid (every fault is listed), a socket cannot be bound, or a required
    /// destination does not connect within its deadline.
    pub async fn start(self) -> Result<Host, StartError> {
        Host::start(self).await
    }
}

/// A running host. Dropping it ends everything at once; [`shutdown`](Self::shutdown) ends it gracefully.
#[derive(Debug)]
pub struct Host {
    bus: Bus,
    internal: InternalQueues,
    server: Option<Server>,
    followers: Vec<Follower>,
    control: Option<crate::control::Server>,
    deployment: Arc<Mutex<Deployment>>,
    state_dir: Option<StateDir>,
    /// The time limit of plugins that are being loaded.
    loading: Patience,
    watching: JoinHandle<()>,
}

impl Host {
    /// A builder with default options.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    async fn start(builder: HostBuilder) -> Result<Self, StartError> {
        check_file_limit(0, false)?;
        if let Some(fault) = builder.own_faults().into_iter().next() {
            return Err(fault);
        }
        let registry = Registry::new(plugin_dirs(&builder.plugin_dirs), builder.linked)
            .trying(
                builder.isolation_program.clone(),
                builder.state_dir.as_deref(),
            )
            .keeping_copies(builder.plugin_copies);
        let loading = registry.patience();
        let watch = PluginWatch::new(
            registry.dirs(),
            builder.acct_file.as_ref().map(AcctSource::path),
        );
        let internal = if builder.without_internal {
            InternalQueues::unread()
        } else {
            InternalQueues::default()
        };
        let listeners = Publisher::default();
        let run_name = builder.run_name.clone();
        let to_listeners = Arc::new(AtSockets(listeners.clone()));
        let bus = Bus::new(to_listeners, builder.serial, builder.run_name);
        if builder.without_state {
            bus.leave_unmatched_to_program();
        }
        let state_dir = match &builder.state_dir {
            Some(path) => Some(StateDir::open(path, builder.state_limits)?),
            None => None,
        };
        let sources = Sources {
            acct_file: builder.acct_file,
            isolation_program: builder.isolation_program,
            state_dir: state_dir.clone(),
            without_state: builder.without_state,
            retire_within: builder.retire_within.unwrap_or(RETIRE_WITHIN),
        };
        let plugins = PluginsSeen::default();
        let deployment = Deployment::start(
            sources,
            registry,
            bus.clone(),
            internal.clone(),
            plugins.clone(),
        )
        .await?;
        // Before anybody can fire: a host that is told to end in the meantime would lose what it accepted.
        required(&bus).await?;
        let (dirs, options) = (builder.socket_dirs, builder.socket_options);
        let mut server =
            evbus_sockets::serve(dirs, &options, listeners.clone(), &FromSockets(bus.clone()))?;
        let followers: Vec<Follower> = (builder.salt_masters.into_iter())
            .map(|master| follow_master(master, bus.clone()))
            .collect();
        let deployment = Arc::new(Mutex::new(deployment));
        let handle = Handle {
            bus: bus.clone(),
            run_name,
            plugins,
            deployment: Arc::clone(&deployment),
            state_dir: state_dir.clone(),
            listeners,
            intake: server.counters(),
            salt_masters: followers.iter().map(Follower::counters).collect(),
            started: std::time::Instant::now(),
        };
        let control = crate::control::serve(&mut server, state_dir.as_ref(), handle)?;
        let following = watching::follow(watch, Arc::clone(&deployment));
        let looking = state_dir.clone().map(watching::look_after);
        let watching = tokio::spawn(async move {
            match looking {
                Some(looking) => drop(tokio::join!(following, looking)),
                None => following.await,
            }
        });
        Ok(Self {
            bus,
            internal,
            server: Some(server),
            followers,
            control: Some(control),
            deployment,
            state_dir,
            loading,
            watching,
        })
    }

    /// The bus, for firing events.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Opens the queue that the built-in provider `internal` fills for a routing key.
    pub fn internal(&self, routing_key: &str) -> InternalReader {
        self.internal.reader(routing_key)
    }

    /// The state of every plugin file.
    pub async fn plugins(&self) -> Vec<PluginReport> {
        self.deployment.lock().await.catalog().reports()
    }

    /// Scans the plugins, reloads the acct file and applies its changes, even if it no longer contains
    /// any destination. Everything that can fail is done before anything is changed. Unchanged
    /// destinations keep their queues and connections; a removed one delivers its queued events for a
    /// while, and the rest stays on disk until it is added again.
    ///
    /// Returns when the new destinations have their queues; they connect in the background. The reload
    /// continues if the future is dropped.
    ///
    /// # Errors
    ///
    /// The file, or the store of a new destination, cannot be used; nothing was changed.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        reload(&self.deployment).await
    }

    /// Puts dead letters back into the queues of their destinations. Returns their number.
    ///
    /// # Errors
    ///
    /// One sentence: there is no state directory, or a store cannot be read or written.
    pub async fn replay(&self, filter: &Filter) -> Result<u64, String> {
        self.deployment.lock().await.replay(filter).await
    }

    /// Deletes dead letters. Returns their number.
    ///
    /// # Errors
    ///
    /// One sentence: there is no state directory, or a store cannot be read or written.
    pub async fn purge(&self, filter: &Filter) -> Result<u64, String> {
        self.deployment.lock().await.purge(filter).await
    }

    /// The counters of what comes in through the event sockets, to be read after the end, too; `None` without
    /// sockets.
    pub fn intake(&self) -> Option<Arc<PullCounters>> {
        self.server.as_ref().map(evbus_sockets::Server::counters)
    }

    /// Shuts down gracefully: stops accepting events, waits for at most `drain` until all destinations
    /// have settled theirs, lets every instance disconnect, and writes the remaining events to the state
    /// directory. Returns the final status of each destination, in the order of the acct file, followed
    /// by removed ones that had not ended or have lost events. Events that are still queued were not
    /// delivered; [`LaneStatus::gone`] is the number of lost events.
    pub async fn shutdown(mut self, drain: Duration) -> Vec<LaneStatus> {
        let until = tokio::time::Instant::now() + drain;
        self.watching.abort();
        self.loading.end();
        if let Some(server) = &mut self.server {
            // What programs have already written is still accepted, as long as there is room.
            let _ = tokio::time::timeout(drain, server.stop_intake()).await;
        }
        for follower in &mut self.followers {
            let rest = until.saturating_duration_since(tokio::time::Instant::now());
            let _ = tokio::time::timeout(rest, follower.stop()).await;
        }
        self.bus.close();
        let rest = until.saturating_duration_since(tokio::time::Instant::now());
        self.bus.drain(rest).await;
        if let Some(state_dir) = &self.state_dir {
            // The holder of the deployment may be copying a large store.
            state_dir.begin_closing();
        }
        let left = self.deployment.lock().await.stop(until, MIN_GRACE).await;
        if let Some(server) = &mut self.server {
            // By now, programs that waited for room have been refused.
            let _ = tokio::time::timeout(MIN_GRACE, server.stop_intake()).await;
        }
        if let Some(server) = self.server.take() {
            // Listeners still get events published before.
            let grace = until.saturating_duration_since(tokio::time::Instant::now());
            server.close(grace.max(MIN_GRACE)).await;
        }
        if let Some(control) = self.control.take() {
            control.close().await;
        }
        left
    }
}

/// An instance gets at least this long to disconnect, however little of the drain timeout remains.
const MIN_GRACE: Duration = Duration::from_millis(500);

/// See [`HostBuilder::retire_within`].
const RETIRE_WITHIN: Duration = Duration::from_secs(10);

impl Drop for Host {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Takes a Salt master's events into the bus.
fn follow_master(master: SaltMaster, bus: Bus) -> Follower {
    Follower::start(master, move |event: Event| {
        let bus = bus.clone();
        async move {
            match bus.put_unconfirmed(event).await {
                Ok(_) => true,
                Err(error) => {
                    tracing::warn!("an event from a Salt master was not accepted: {error}");
                    false
                }
            }
        }
    })
}

/// Waits for the destinations that the host must not start without.
async fn required(bus: &Bus) -> Result<(), StartError> {
    for lane in &bus.routes().lanes {
        let policy = lane.policy();
        if !policy.required {
            continue;
        }
        let connected = lane.shared().wait_for(InstanceState::Connected);
        if tokio::time::timeout(policy.deadline, connected)
            .await
            .is_err()
        {
            return Err(StartError::Required {
                destination: lane.destination().to_string(),
                reason: lane
                    .status()
                    .last_error
                    .unwrap_or_else(|| "it did not answer".to_owned()),
            });
        }
    }
    Ok(())
}

/// Reloads in a separate task, because the caller may be cancelled.
pub(crate) async fn reload(deployment: &Arc<Mutex<Deployment>>) -> Result<Reloaded, ReloadError> {
    let mut deployment = Arc::clone(deployment).lock_owned().await;
    let reloading = tokio::spawn(async move { deployment.reload().await });
    // It is never cancelled; a panic in it is a fault of this program and is passed on.
    reloading.await.expect("a reload comes to its end")
}
