//! Where the commands that fire send their events: a running host, or the destinations of an acct file.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use evbus::acct::AcctSource;
use evbus::{Event, Host, LaneStatus, Serial, sls};
use evbus_client::{Fired, Sender};
use evbus_report::counted;

use super::acct_options::AcctOptions;
use super::exit::{Exit, error, note};
use super::host_options::seconds;
use super::{PluginDirs, THIS_PROGRAM};

/// Where events go, of commands that fire.
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
    /// With --acct-file, the form of bodies for destinations: json, msgpack or str
    #[arg(long, value_name = "P", default_value = "json")]
    serial_plugin: Serial,
    /// Seconds to wait for the host to take, or the destinations to acknowledge, what was fired; while
    /// events are still being sent, seconds for the host to take the next of them
    #[arg(long, value_name = "S", default_value = "30", value_parser = seconds)]
    pub(super) timeout: Duration,
}

impl TargetOptions {
    /// What the flags say, or else the environment.
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
                "nowhere to fire to; give --sock-dir of a running host, or --acct-file",
            ));
        };
        Ok(Way {
            place,
            options: self,
        })
    }
}

/// Where events are to go, before anything is opened for them.
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
                Connection::Socket(sender)
            }
            Place::Acct(source) => Connection::Destinations {
                host: Box::new(self.start_host(source.clone()).await?),
                unmatched: Unmatched::default(),
            },
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

/// Where events go.
pub(super) struct Target {
    connection: Connection,
    /// How long each wait for the other side may take.
    timeout: Duration,
}

enum Connection {
    /// A running host.
    Socket(Sender),
    /// A host of this process alone.
    Destinations {
        host: Box<Host>,
        /// Profiles that had none so far.
        unmatched: Unmatched,
    },
}

/// Whether an event must have a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Require {
    /// One that has none fails the command.
    Destination,
    /// One that has none is worth a note.
    Nothing,
}

/// Profiles that match no destination's pattern.
#[derive(Debug, Default)]
pub(super) struct Unmatched {
    profiles: BTreeSet<String>,
    more: bool,
}

impl Unmatched {
    /// How many are named.
    const SHOWN: usize = 8;

    fn add(&mut self, profile: &str) {
        if self.profiles.len() < Self::SHOWN {
            self.profiles.insert(profile.to_owned());
        } else if !self.profiles.contains(profile) {
            self.more = true;
        }
    }

    /// What there is to say, where there is something.
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
    /// Fires an event; waits for room.
    pub(super) async fn put(&mut self, event: Event) -> Result<(), Exit> {
        self.fire(event, sls::Firing::Put).await
    }

    /// Fires an event. `put_nowait` fails where a destination of the acct file has no room; whether
    /// a running host has any is known from its socket alone, which is waited for.
    pub(super) async fn fire(&mut self, event: Event, firing: sls::Firing) -> Result<(), Exit> {
        let fired = async {
            match &mut self.connection {
                Connection::Socket(sender) => {
                    let fired = Fired {
                        json: event.body(),
                        id: event.id(),
                        time_unix_ns: event.time_unix_ns(),
                    };
                    sender
                        .send(event.profile(), &fired)
                        .await
                        .map_err(|error| Exit::failed(error.to_string()))
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

    /// Writes what is gathered for a running host.
    pub(super) async fn flush(&mut self) -> Result<(), Exit> {
        let Connection::Socket(sender) = &mut self.connection else {
            return Ok(());
        };
        match tokio::time::timeout(self.timeout, sender.flush()).await {
            Ok(flushed) => flushed.map_err(|error| Exit::failed(error.to_string())),
            Err(_) => Err(self.without_room()),
        }
    }

    /// Nothing more was taken for as long as a wait may take.
    fn without_room(&self) -> Exit {
        match &self.connection {
            Connection::Socket(_) => {
                Exit::failed(evbus_client::Error::Slow(self.timeout).to_string())
            }
            Connection::Destinations { host, .. } => {
                // What is not delivered is said, and why.
                let _ = undelivered(&host.bus().status());
                Exit::failed(format!(
                    "a destination's queue was full for {} s (see --timeout), so that the next event was not fired",
                    self.timeout.as_secs_f64()
                ))
            }
        }
    }

    /// Waits until everything is where it was to go: kept by the running host at every destination
    /// that it belongs to, or acknowledged by the far systems. Says where an event had no destination.
    pub(super) async fn finish(self, require: Require) -> Result<(), Exit> {
        let (delivered, unmatched) = match self.connection {
            Connection::Socket(sender) => {
                let kept = sender
                    .finish(self.timeout)
                    .await
                    .map_err(|error| Exit::failed(error.to_string()))?;
                let unmatched = kept.has_unmatched.then(|| {
                    "at least one event matches no destination of the host; only listeners got it"
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
                "{unmatched}, and a destination is required; `evbus route PROFILE` shows what matches"
            ))),
        }
    }
}

/// Says what was not delivered.
fn undelivered(lanes: &[LaneStatus]) -> Result<(), Exit> {
    let mut all_delivered = true;
    for lane in lanes {
        let counts = lane.counts;
        let missing = counts.received.saturating_sub(counts.accepted);
        if missing > 0 {
            all_delivered = false;
            error(&format!(
                "destination {}: {missing} of {} not delivered: {}",
                lane.destination,
                counted(counts.received, "event was", "events were"),
                lane.last_error.as_deref().unwrap_or("no answer in time")
            ));
        }
    }
    if all_delivered {
        Ok(())
    } else {
        Err(Exit::silent())
    }
}
