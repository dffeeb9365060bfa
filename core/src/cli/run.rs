//! `evbus run`: the host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use evbus::acct::byte_size;
use evbus::salt::{Framing, SaltMaster, SocketDir, SocketGroup};
use evbus::store::{StateError, StateLimits};
use evbus::{Host, LaneStatus, LogEvents, Serial, StartError, counted};
use evbus_client::{MatchType, TagFilter};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::acct_options::AcctOptions;
use super::exit::{Exit, error, note};
use super::host_place::{NamedBy, StatePlace, state_place};
use super::logging::{self, LogPlugin};
use super::signals::{Asked, Signals};
use super::{PluginDirs, THIS_PROGRAM};

/// Run the host: deliver events from the event sockets to the destinations of the acct file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus run --acct-file acct.yml --sock-dir /run/evbus
  evbus put --sock-dir /run/evbus idem-status '\"FINISHED\"'
  evbus run --acct-file acct.yml --from-salt /var/run/salt/master --salt-tag 'salt/job/*/ret/*'

Prints the line `ready` on standard error when the sockets accept. On SIGTERM or SIGINT it takes no
more events, delivers what it has within --drain-timeout, and says what remained and where. On
SIGHUP, and when the acct file or a plugin changes, it goes on with what they say then.")]
pub(super) struct RunArgs {
    /// The acct file: destinations, their patterns and connections
    #[arg(long, value_name = "F", env = "ACCT_FILE")]
    acct_file: Option<PathBuf>,
    #[command(flatten)]
    acct: AcctOptions,
    #[command(flatten)]
    plugins: PluginDirs,
    /// Directory for the event sockets; may come several times, all are one bus
    #[arg(long = "sock-dir", value_name = "D", env = "EVBUS_SOCK_DIR")]
    sock_dirs: Vec<PathBuf>,
    /// Directory for event sockets in the framing of Salt 3006.26 and later 3006
    #[arg(long = "prefixed-sock-dir", value_name = "D")]
    prefixed_sock_dirs: Vec<PathBuf>,
    /// Take the events of the Salt master with the socket directory D; nothing is written to it
    #[arg(long = "from-salt", value_name = "D")]
    from_salt: Vec<PathBuf>,
    /// Take only the Salt master's events whose tag matches this shell pattern, such as
    /// `salt/job/*/ret/*`; may come several times
    #[arg(long = "salt-tag", value_name = "PATTERN", requires = "from_salt")]
    salt_tags: Vec<String>,
    /// Group, by name or number, whose members may fire and listen too [default: only this user and
    /// root may]
    #[arg(long, value_name = "GROUP")]
    sock_group: Option<String>,
    /// Id of a Salt minion, under whose names every directory has event sockets too; may come several
    /// times
    #[arg(long = "minion-id", value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    minion_ids: Vec<String>,
    /// Directory for queued events and dead letters [env: `EVBUS_STATE_DIR`] [default: systemd's
    /// `STATE_DIRECTORY`; for root /var/lib/evbus, for others evbus in `XDG_STATE_HOME` or
    /// ~/.local/state]
    #[arg(long, value_name = "D", conflicts_with = "no_state_dir")]
    state_dir: Option<PathBuf>,
    /// Keep queued events and dead letters in memory only: they are lost when the host ends, and a
    /// destination whose queue is full delays the programs that fire
    #[arg(long)]
    no_state_dir: bool,
    /// The most that events in the state directory may take, such as `20 GiB`: three quarters of it for
    /// queues, a quarter for dead letters
    #[arg(long, value_name = "SIZE", default_value = "64 GiB", value_parser = size)]
    state_limit: u64,
    /// What is left free of the state directory's file system [default: 256 MiB, or a twentieth of
    /// it where that is less]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    state_free: Option<u64>,
    /// Load plugins from copies that are kept in this directory, for debuggers; it is made with mode
    /// 0700 [default: from copies in memory]
    #[arg(long, value_name = "DIR")]
    plugin_copies: Option<PathBuf>,
    /// The run name of events that bring none
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    run_name: String,
    /// The form of bodies for destinations: json, msgpack or str
    #[arg(long, value_name = "P", default_value = "json")]
    serial_plugin: Serial,
    /// Fire every line of the log as an idem-logger event, too
    #[arg(long, value_name = "P")]
    log_plugin: Option<LogPlugin>,
    /// Seconds to deliver what is queued when the host is told to end
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    drain_timeout: Duration,
}

impl RunArgs {
    pub(super) fn log_plugin(&self) -> Option<LogPlugin> {
        self.log_plugin
    }
}

impl RunArgs {
    /// Where what waits is kept. A host without an acct file has no destination that anything could
    /// wait for, so that it needs no directory by default.
    fn state_place(&self) -> Option<StatePlace> {
        if self.no_state_dir {
            return None;
        }
        state_place(self.state_dir.as_ref()).filter(|place| {
            matches!(place.named_by, NamedBy::Flag | NamedBy::Variable) || self.acct_file.is_some()
        })
    }
}

/// Says where what waits is kept, and what it means where it is not.
fn tell_state(state: Option<&StatePlace>) {
    if let Some(place) = state {
        tracing::info!(
            "queued events and dead letters are kept in {} ({})",
            place.path.display(),
            place.named_by.text()
        );
    } else {
        tracing::info!(
            "no state directory: queued events and dead letters are in memory only and are lost when the host ends, and a destination whose queue is full delays the programs that fire; use --state-dir"
        );
    }
}

/// A directory that nobody named is in use: what to do is to name one.
fn not_started(error: StartError, state: Option<&StatePlace>) -> Exit {
    match (error, state) {
        (StartError::State(error), Some(place))
            if matches!(place.named_by, NamedBy::Systemd | NamedBy::Default)
                && !matches!(error, StateError::Full { .. }) =>
        {
            let reason = match error {
                StateError::InUse { .. } => "another host uses it".to_owned(),
                error => error.to_string(),
            };
            Exit::config(format!(
                "the state directory {} ({}) cannot be used: {reason}; give this host a directory of its own with --state-dir, or keep everything in memory with --no-state-dir",
                place.path.display(),
                place.named_by.text()
            ))
        }
        (error, _) => error.into(),
    }
}

/// Reads a number of seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds, 0 or more".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .or_else(|| byte_size(text))
        .ok_or_else(|| {
            "expected a whole number of bytes, or one with a unit such as `500 MB` or `20 GiB`"
                .to_owned()
        })
}

/// Lets this process open as many files as it may: every listener is one, and systems start
/// processes with room for 1024, for the sake of old programs that use `select`.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

pub(super) async fn run(args: RunArgs, log_events: Option<LogEvents>) -> Result<(), Exit> {
    // Before anything else, so that no signal finds its default action.
    let mut signals = Signals::receive()?;
    raise_file_limit();
    let state = args.state_place();
    let mut host = Host::builder()
        .without_internal()
        .isolation_program(THIS_PROGRAM)
        .serial(args.serial_plugin)
        .run_name(args.run_name);
    if let Some(file) = args.acct_file {
        host = host.acct_file(args.acct.source(file));
    }
    if let Some(place) = &state {
        host = host.state_dir(&place.path).state_limits(StateLimits {
            max_bytes: args.state_limit,
            min_free: args.state_free,
        });
    }
    host = host.retire_within(args.drain_timeout);
    if let Some(dir) = args.plugin_copies {
        host = host.plugin_copies(dir);
    }
    for dir in args.plugins.plugin_dirs {
        host = host.plugin_dir(dir);
    }
    let bare = args.sock_dirs.into_iter().map(|path| (path, Framing::Bare));
    let prefixed = args.prefixed_sock_dirs.into_iter();
    for (path, framing) in bare.chain(prefixed.map(|path| (path, Framing::Prefixed))) {
        host = host.socket_dir(SocketDir { path, framing });
    }
    for id in args.minion_ids {
        host = host.minion_id(id);
    }
    if let Some(name) = &args.sock_group {
        let group = SocketGroup::find(name).map_err(|error| Exit::config(error.to_string()))?;
        host = host.socket_group(group);
    }
    let tags = salt_tags(&args.salt_tags)?;
    for dir in args.from_salt {
        let tags = tags.clone();
        host = host.from_salt(SaltMaster { dir, tags });
    }
    let host = tokio::select! {
        host = host.start() => host.map_err(|error| not_started(error, state.as_ref()))?,
        () = signals.end() => return Ok(()),
    };
    tell_state(state.as_ref());
    if let Some(log_events) = &log_events {
        log_events.attach(host.bus());
    }
    signals.started(args.drain_timeout);
    logging::line("ready");

    while let Asked::Reload = signals.next().await {
        tracing::info!("SIGHUP: reading the acct file again");
        tokio::select! {
            reloaded = host.reload() => if let Err(error) = reloaded {
                tracing::error!("the reload changed nothing: {error}");
            },
            // It may wait for something that hangs; ending the host ends the waiting.
            () = signals.end() => break,
        }
    }
    tracing::info!("ending: delivering what is queued");
    if let Some(log_events) = &log_events {
        // The bus takes nothing more once the host ends.
        log_events.flush().await;
    }
    tokio::select! {
        left = host.shutdown(args.drain_timeout) => remaining(&left, state.as_ref().map(|place| &*place.path)),
        () = signals.end() => Err(Exit::failed("ended at once by a second signal; what was queued in memory alone is not delivered")),
    }
}

/// All tags where none is named.
fn salt_tags(patterns: &[String]) -> Result<TagFilter, Exit> {
    if patterns.is_empty() {
        return Ok(TagFilter::all());
    }
    let filters: Result<Vec<_>, _> = patterns
        .iter()
        .map(|pattern| TagFilter::new(pattern, MatchType::Fnmatch))
        .collect();
    let filters = filters.map_err(|error| Exit::usage(format!("--salt-tag: {error}")))?;
    Ok(TagFilter::any_of(filters))
}

/// Says what remained, and where it is.
fn remaining(lanes: &[LaneStatus], state_dir: Option<&Path>) -> Result<(), Exit> {
    let (mut lost, mut kept) = (0, 0);
    for lane in lanes {
        kept += lane.counts.queued_on_disk;
        lost += lane.gone();
        let reason = lane.disk_fault.as_ref().or(lane.last_error.as_ref());
        let reason = reason.map(|error| format!(" ({error})"));
        let reason = reason.unwrap_or_default();
        if lane.counts.queued > 0 {
            note(&format!(
                "destination {}: {} not delivered in time{reason}",
                lane.destination,
                counted(lane.counts.queued, "event was", "events were"),
            ));
        }
        if lane.gone() > 0 {
            error(&format!(
                "destination {}: {} lost: {}",
                lane.destination,
                counted(lane.gone(), "event is", "events are"),
                how_lost(lane)
            ));
        }
    }
    if let Some(dir) = state_dir.filter(|_| kept > 0) {
        note(&format!(
            "{} kept in {} and delivered after the next start",
            counted(kept, "event is", "events are"),
            dir.display()
        ));
    }
    if lost == 0 {
        return Ok(());
    }
    Err(Exit::failed(format!(
        "{} neither delivered nor kept",
        counted(lost, "event was", "events were")
    )))
}

/// Says of each event that is lost how that came about.
fn how_lost(lane: &LaneStatus) -> String {
    let ways = [
        (lane.left_in_memory(), "remained in memory"),
        (
            lane.dead_letters_unkept,
            "refused or given up, and no disk kept the dead letter",
        ),
        (lane.lost_since_start, "on a disk that was damaged"),
    ];
    let ways = ways.iter().filter(|(number, _)| *number > 0);
    let ways: Vec<String> = ways
        .map(|(number, way)| format!("{number} {way}"))
        .collect();
    ways.join(", ")
}
