//! `evbus run`: the host.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use evbus::salt::{Framing, SocketDir};
use evbus::{Host, LaneStatus, Serial};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::{Exit, note};
use super::{PluginDirs, THIS_PROGRAM};

/// Run the host: deliver events from the event sockets to the destinations of the acct file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus run --acct-file acct.yml --sock-dir /run/evbus
  evbus put --sock-dir /run/evbus idem-status '\"FINISHED\"'

Prints the line `ready` on standard error when the sockets accept. On SIGTERM or SIGINT it takes no
more events, delivers what it has within --drain-timeout, and says what remained.")]
pub(super) struct RunArgs {
    /// The acct file: destinations, their patterns and connections
    #[arg(long, value_name = "F", env = "ACCT_FILE")]
    acct_file: Option<PathBuf>,
    #[command(flatten)]
    plugins: PluginDirs,
    /// Directory for the event sockets; may come several times, all are one bus
    #[arg(long = "sock-dir", value_name = "D", env = "EVBUS_SOCK_DIR")]
    sock_dirs: Vec<PathBuf>,
    /// Directory for event sockets in the framing of Salt 3006.26 and later 3006
    #[arg(long = "prefixed-sock-dir", value_name = "D")]
    prefixed_sock_dirs: Vec<PathBuf>,
    /// The run name of events that bring none
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    run_name: String,
    /// The form of bodies for destinations: json, msgpack or str
    #[arg(long, value_name = "P", default_value = "json")]
    serial_plugin: Serial,
    /// Seconds to deliver what is queued when the host is told to end
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    drain_timeout: Duration,
}

/// Reads a number of seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds, 0 or more".to_owned())
}

pub(super) async fn run(args: RunArgs) -> Result<(), Exit> {
    // Before anything else, so that no signal finds its default action.
    let mut signals = Signals::new()?;
    let mut host = Host::builder()
        .isolation_program(THIS_PROGRAM)
        .serial(args.serial_plugin)
        .run_name(args.run_name);
    if let Some(file) = args.acct_file {
        host = host.acct_file(file);
    }
    for dir in args.plugins.plugin_dirs {
        host = host.plugin_dir(dir);
    }
    let bare = args.sock_dirs.into_iter().map(|path| (path, Framing::Bare));
    let prefixed = args.prefixed_sock_dirs.into_iter();
    for (path, framing) in bare.chain(prefixed.map(|path| (path, Framing::Prefixed))) {
        host = host.socket_dir(SocketDir { path, framing });
    }
    let host = tokio::select! {
        host = host.start() => host?,
        () = signals.next() => return Ok(()),
    };
    // Whoever started the host may have closed its end; that is no reason to stop.
    let _ = writeln!(std::io::stderr(), "ready");

    signals.next().await;
    tracing::info!("ending: delivering what is queued");
    tokio::select! {
        left = host.shutdown(args.drain_timeout) => remaining(&left),
        () = signals.next() => Err(Exit::failed("ended at once by a second signal; what was queued in memory is not delivered")),
    }
}

/// Says what remained.
fn remaining(lanes: &[LaneStatus]) -> Result<(), Exit> {
    let mut all = 0;
    for lane in lanes.iter().filter(|lane| lane.counts.queued > 0) {
        all += lane.counts.queued;
        note(&format!(
            "destination {}: {} events were not delivered in time{}",
            lane.destination,
            lane.counts.queued,
            lane.last_error
                .as_ref()
                .map(|error| format!(" ({error})"))
                .unwrap_or_default()
        ));
    }
    if all == 0 {
        return Ok(());
    }
    Err(Exit::failed(format!(
        "{all} events remained in memory and are lost with this process"
    )))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Exit> {
        let on = |kind| {
            signal(kind)
                .map_err(|error| Exit::failed(format!("signals cannot be received: {error}")))
        };
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => tracing::warn!(
                    "SIGHUP: the acct file is read at start only; restart the host to read it again"
                ),
            }
        }
    }
}
