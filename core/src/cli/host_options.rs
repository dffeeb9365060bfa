//! What a host is started with: the flags that `evbus run` takes, and `evbus check` with it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use evbus::acct::{byte_size, duration};
use evbus::sockets::{Framing, SaltMaster, SocketDir, SocketGroup};
use evbus::store::{StateError, StateLimits};
use evbus::{Host, HostBuilder, Serial, StartError};
use evbus_client::{MatchType, TagFilter};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::acct_options::AcctOptions;
use super::exit::Exit;
use super::host_place::{NamedBy, StatePlace, state_place};
use super::logging::LogPlugin;
use super::{PluginDirs, THIS_PROGRAM};

/// Everything about a host but its acct file.
#[derive(Debug, Args)]
pub(super) struct HostOptions {
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
    #[arg(long, value_name = "SIZE", default_value = "64 GiB", value_parser = state_limit)]
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
    pub(super) log_plugin: Option<LogPlugin>,
    /// Seconds to deliver what is queued when the host is told to end
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(super) drain_timeout: Duration,
}

/// A host as the flags describe it.
pub(super) struct DescribedHost {
    pub(super) builder: HostBuilder,
    /// Where what waits is kept.
    pub(super) state: Option<StatePlace>,
    /// Every flag that says nothing a host could be started with, and was left out.
    pub(super) faults: Vec<Exit>,
}

impl HostOptions {
    /// The way from the flags to a host.
    pub(super) fn describe(self, acct_file: Option<PathBuf>) -> DescribedHost {
        let mut faults = Vec::new();
        let state = self.state_place(acct_file.is_some());
        let mut host = Host::builder()
            .without_internal()
            .isolation_program(THIS_PROGRAM)
            .serial(self.serial_plugin)
            .run_name(self.run_name)
            .retire_within(self.drain_timeout);
        if let Some(file) = acct_file {
            host = host.acct_file(self.acct.source(file));
        }
        if let Some(place) = &state {
            host = host.state_dir(&place.path).state_limits(StateLimits {
                max_bytes: self.state_limit,
                min_free: self.state_free,
            });
        }
        if let Some(dir) = self.plugin_copies {
            host = host.plugin_copies(dir);
        }
        for dir in self.plugins.plugin_dirs {
            match PluginDirs::fault(&dir) {
                Some(fault) => faults.push(fault),
                None => host = host.plugin_dir(dir),
            }
        }
        let bare = self.sock_dirs.into_iter().map(|path| (path, Framing::Bare));
        let prefixed = self.prefixed_sock_dirs.into_iter();
        for (path, framing) in bare.chain(prefixed.map(|path| (path, Framing::Prefixed))) {
            host = host.socket_dir(SocketDir { path, framing });
        }
        for id in self.minion_ids {
            host = host.minion_id(id);
        }
        match self.sock_group.as_deref().map(SocketGroup::find) {
            Some(Ok(group)) => host = host.socket_group(group),
            Some(Err(error)) => faults.push(Exit::config(format!("--sock-group: {error}"))),
            None => {}
        }
        let tags = match salt_tags(&self.salt_tags) {
            Ok(tags) => tags,
            Err(wrong) => {
                faults.extend(wrong);
                TagFilter::all()
            }
        };
        for dir in self.from_salt {
            let tags = tags.clone();
            host = host.from_salt(SaltMaster { dir, tags });
        }
        DescribedHost {
            builder: host,
            state,
            faults,
        }
    }

    /// Whether anything could ever reach the host: programs that fire, a Salt master, its own log. One
    /// that is given --state-dir delivers at least what is left there; `EVBUS_STATE_DIR` may be set for
    /// every host of a machine, and says nothing about this one.
    pub(super) fn has_way_in(&self) -> bool {
        let from_programs = !self.sock_dirs.is_empty() || !self.prefixed_sock_dirs.is_empty();
        let named = self
            .state_place(true)
            .is_some_and(|place| place.named_by == NamedBy::Flag);
        from_programs || !self.from_salt.is_empty() || self.log_plugin.is_some() || named
    }

    /// Where what waits is kept. A host without an acct file has no destination that anything could
    /// wait for, so that it needs no directory by default.
    fn state_place(&self, has_acct_file: bool) -> Option<StatePlace> {
        if self.no_state_dir {
            return None;
        }
        state_place(self.state_dir.as_ref()).filter(|place| {
            matches!(place.named_by, NamedBy::Flag | NamedBy::Variable) || has_acct_file
        })
    }
}

/// A directory that nobody named cannot be used: what to do is to name one.
pub(super) fn not_started(error: StartError, state: Option<&StatePlace>) -> Exit {
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

/// All tags where none is named.
fn salt_tags(patterns: &[String]) -> Result<TagFilter, Vec<Exit>> {
    if patterns.is_empty() {
        return Ok(TagFilter::all());
    }
    let (mut filters, mut faults) = (Vec::new(), Vec::new());
    for pattern in patterns {
        match TagFilter::new(pattern, MatchType::Fnmatch) {
            Ok(filter) => filters.push(filter),
            Err(error) => faults.push(Exit::usage(format!("--salt-tag: {error}"))),
        }
    }
    if faults.is_empty() {
        Ok(TagFilter::any_of(filters))
    } else {
        Err(faults)
    }
}

/// Reads a duration.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| {
        "expected a number of seconds, 0 or more, or one with a unit such as `500ms` or `5 min`"
            .to_owned()
    })
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

fn state_limit(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 1024 * 1024;
    match size(text)? {
        small if small < LEAST => {
            Err("expected at least 1 MiB; use --no-state-dir to keep nothing on disk".to_owned())
        }
        size => Ok(size),
    }
}

/// Lets this process open as many files as it may: every listener is one, and systems start
/// processes with room for 1024, for the sake of old programs that use `select`.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}
