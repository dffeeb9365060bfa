//! The target of the commands that fire events: a running host, or the destinations of an acct file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use evbus::acct::AcctSource;
use evbus::{Event, Host, LaneStatus, Serial, sls};
use evbus_client::{Fired, Sender};
use evbus_report::counted;

use super::acct_options::AcctOptions;
use super::exit::{Exit, error, note};
use super::host_options::duration;
use super::{PluginDirs, THIS_PROGRAM};

/// The flags of commands that fire events.
#[derive(Debug, Args)]
pub(super) struct TargetOptions {
    /// Socket directory of a running host [env: `EVBUS_SOCK_DIR`]
    #[arg(long, value_name = "D", conflicts_with = "acct_file")]
    sock_dir: Option<PathBuf>,
    /// Deliver to the destinations of this acct file, without a running host [env: `ACCT_FILE`]
    #[arg(long, value_name = "F")]
    acct_file: Option<PathBuf>,
    #[command(flatten)]
    acct: AcctOptions,
    #[command(flatten)]
    plugins: PluginDirs,
    /// With --acct-file, the serial form of bodies at destinations: json, msgpack or str
    #[arg(long, value_name = "P", default_value = "json")]
    serial_plugin: Serial,
    /// Maximum wait until the host has kept, or the destinations have acknowledged, all events; while
    /// events are still being sent, until the next one is accepted: seconds, or with units such as
    /// 30s, 5m, 7d
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(super) timeout: Duration,
}

impl TargetOptions {
    /// The target given by the flags, else by the environment.
    pub(super) fn way(&self) -> Result<Way<'_>, Exit> {
        let from = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let place = if let Some(dir) = &self.sock_dir {
            Place::Socket(dir.clone())
        } else if let Some(file) = &self.acct_file {
            Place::Acct(self.acct.source(file))
        } else if let Some(dir) = from("EVBUS_SOCK_DIR") {
            Place::Socket(dir)
        } else if let Some(file) = from("ACCT_FILE") {
            Place::Acct(self.acct.source(file))
        } else {
            return Err(Exit::usage(
                "no target given: use --sock-dir to fire to a running host, or --acct-file to deliver directly",
            ));
        };
        Ok(Way {
            place,
            options: self,
        })
    }
}

/// A target that is not opened yet.
#[derive(Debug)]
pub(super) struct Way<'a> {
    place: Place,
    options: &'a TargetOptions,
}

#[derive(Debug)]
enum Place {
    /// To the running host of this socket directory.
    Socket(PathBuf),
    /// Straight to the destinations of this acct file.
    Acct(AcctSource),
}

impl Way<'_> {
    /// Connects to the host, or starts one for the acct file.
    pub(super) async fn open(self) -> Result<Target, Exit> {
        let connection = match &self.place {
            Place::Socket(dir) => {
                let sender = Sender::connect(dir)
                    .await
                    .map_err(|error| Exit::failed(error.to_string()))?;
                Connection::Socket {
                    sender,
                    dir: dir.clone(),
                }
            }
            Place::Acct(source) => {
                let limit = self.options.timeout;
                let starting = self.start_host(source.clone());
                // It waits for destinations that are required.
                let host = tokio::time::timeout(limit, starting).await.map_err(|_| {
                    Exit::failed(format!(
                        "a required destination is not connected within {} s (see --timeout); no event was fired. {BESIDE_A_HOST}",
                        limit.as_secs_f64()
                    ))
                })?;
                Connection::Destinations {
                    host: Box::new(host?),
                    unmatched: Unmatched::default(),
                }
            }
        };
        Ok(Target {
            connection,
            timeout: self.options.timeout,
        })
    }

    async fn start_host(&self, source: AcctSource) -> Result<Host, Exit> {
        self.options.plugins.check()?;
        let mut host = Host::builder()
            .acct_file(source)
            .without_state()
            .without_internal()
            .isolation_program(THIS_PROGRAM)
            .serial(self.options.serial_plugin);
        for dir in &self.options.plugins.plugin_dirs {
            host = host.plugin_dir(dir);
        }
        Ok(host.start().await?)
    }
}

/// An open target.
pub(super) struct Target {
    connection: Connection,
    /// The limit of each wait for the other side.
    timeout: Duration,
}

enum Connection {
    /// A running host, by its socket directory.
    Socket { sender: Sender, dir: PathBuf },
    /// A host inside this process.
    Destinations {
        host: Box<Host>,
        /// Profiles that have matched no destination so far.
        unmatched: Unmatched,
    },
}

/// Whether an event must have a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Require {
    /// An event without one fails the command.
    Destination,
    /// An event without one causes a note.
    Nothing,
}

/// Profiles that match no destination's pattern.
#[derive(Debug, Default)]
pub(super) struct Unmatched {
    profiles: BTreeSet<String>,
    more: bool,
}

impl Unmatched {
    /// How many are listed.
    const SHOWN: usize = 8;

    fn add(&mut self, profile: &str) {
        if self.profiles.len() < Self::SHOWN {
            self.profiles.insert(profile.to_owned());
        } else if !self.profiles.contains(profile) {
            self.more = true;
        }
    }

    /// The message about these profiles, if there are any.
    fn sentence(&self) -> Option<String> {
        let names: Vec<String> = self
            .profiles
            .iter()
            .map(|name| format!("{name:?}"))
            .collect();
        let (profiles, more) = match names.len() {
            0 => return None,
            1 => ("profile", ""),
            _ if self.more => ("profiles", " and others"),
            _ => ("profiles", ""),
        };
        let names = names.join(", ");
        Some(format!(
            "no destination's pattern matches {profiles} {names}{more}"
        ))
    }
}

impl Target {
    /// Fires an event; waits until the target has room.
    pub(super) async fn put(&mut self, event: Event) -> Result<(), Exit> {
        self.fire(event, sls::Firing::Put).await
    }

    /// Fires an event. `put_nowait` fails if a destination of the acct file has no room. Only the socket shows
    /// whether a running host has room, so with a host it waits.
    pub(super) async fn fire(&mut self, event: Event, firing: sls::Firing) -> Result<(), Exit> {
        let fired = async {
            match &mut self.connection {
                Connection::Socket { sender, dir } => {
                    let fired = Fired {
                        json: event.body(),
                        id: event.id(),
                        time_unix_ns: event.time_unix_ns(),
                    };
                    sender
                        .send(event.profile(), &fired)
                        .await
                        .map_err(|error| of_host(dir, &error))
                }
                Connection::Destinations { host, unmatched } => {
                    let profile = event.profile().to_owned();
                    let fired = match firing {
                        sls::Firing::Put => host.bus().put_event(event).await,
                        sls::Firing::PutNowait => host.bus().put_event_nowait(event),
                    };
                    let fired = fired.map_err(|error| Exit::failed(error.to_string()))?;
                    if fired.destinations == 0 {
                        unmatched.add(&profile);
                    }
                    Ok(())
                }
            }
        };
        match tokio::time::timeout(self.timeout, fired).await {
            Ok(fired) => fired,
            Err(_) => Err(self.without_room()),
        }
    }

    /// Writes the events that are buffered for a running host.
    pub(super) async fn flush(&mut self) -> Result<(), Exit> {
        let Connection::Socket { sender, dir } = &mut self.connection else {
            return Ok(());
        };
        match tokio::time::timeout(self.timeout, sender.flush()).await {
            Ok(flushed) => flushed.map_err(|error| of_host(dir, &error)),
            Err(_) => Err(self.without_room()),
        }
    }

    /// The error of a target that accepted nothing within the timeout.
    fn without_room(&self) -> Exit {
        match &self.connection {
            Connection::Socket { dir, .. } => {
                of_host(dir, &evbus_client::Error::Slow(self.timeout))
            }
            Connection::Destinations { host, .. } => {
                // This reports what was not delivered, and why.
                let _ = undelivered(&host.bus().status());
                Exit::failed(format!(
                    "the next event was not fired: a destination's queue was full for {} s (see --timeout)",
                    self.timeout.as_secs_f64()
                ))
            }
        }
    }

    /// Waits until every event is kept by the running host at every matching destination, or acknowledged by the
    /// far systems. Reports events without a destination.
    pub(super) async fn finish(self, require: Require) -> Result<(), Exit> {
        let (delivered, unmatched) = match self.connection {
            Connection::Socket { sender, dir } => {
                let kept = sender
                    .finish(self.timeout)
                    .await
                    .map_err(|error| of_host(&dir, &error))?;
                let unmatched = kept.has_unmatched.then(|| {
                    "at least one event matches no destination of the host; only listeners received it"
                        .to_owned()
                });
                (Ok(()), unmatched)
            }
            Connection::Destinations { host, unmatched } => (
                undelivered(&host.shutdown(self.timeout).await),
                unmatched.sentence(),
            ),
        };
        match (unmatched, require) {
            (None, _) => delivered,
            (Some(unmatched), Require::Nothing) => {
                note(&unmatched);
                delivered
            }
            (Some(unmatched), Require::Destination) => Err(Exit::failed(format!(
                "{unmatched}, but a destination is required; `evbus route PROFILE` shows which ones match"
            ))),
        }
    }
}

/// An error of a running host, with its socket directory. A fault of an event is not the host's.
fn of_host(dir: &Path, error: &evbus_client::Error) -> Exit {
    match error {
        evbus_client::Error::Unsendable { .. } => Exit::failed(error.to_string()),
        error => Exit::failed(format!("{}: {error}", dir.display())),
    }
}

/// The advice for destinations that cannot be connected without a host, perhaps because one is running.
const BESIDE_A_HOST: &str = "If a host runs with this acct file, it may hold what a destination can open only once, such as a file: fire to that host with --sock-dir";

/// Reports what was not delivered.
fn undelivered(lanes: &[LaneStatus]) -> Result<(), Exit> {
    let mut all_delivered = true;
    let mut is_unconnected = false;
    for lane in lanes {
        let counts = lane.counts;
        let missing = counts.received.saturating_sub(counts.accepted);
        if missing > 0 {
            all_delivered = false;
            is_unconnected |= lane.instances == 0;
            error(&format!(
                "destination {}: {missing} of {} not delivered: {}",
                lane.destination,
                counted(counts.received, "event was", "events were"),
                lane.last_error.as_deref().unwrap_or("no answer in time")
            ));
        }
    }
    if is_unconnected {
        note(BESIDE_A_HOST);
    }
    if all_delivered {
        Ok(())
    } else {
        Err(Exit::silent())
    }
}
