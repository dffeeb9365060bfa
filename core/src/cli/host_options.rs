//! The flags of a host, which `evbus run` and `evbus check` take.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use evbus::acct::byte_size;
use evbus::sockets::{Framing, SaltMaster, SocketDir, SocketGroup};
use evbus::store::{StateError, StateLimits};
use evbus::{Host, HostBuilder, Serial, StartError};
use evbus_client::{MatchType, TagFilter};
use evbus_duration::WITH_UNITS;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::acct_options::AcctOptions;
use super::exit::Exit;
use super::host_place::{NamedBy, StatePlace, state_place};
use super::logging::LogPlugin;
use super::{PluginDirs, THIS_PROGRAM};

/// All flags of a host except the acct file.
#[derive(Debug, Args)]
pub(super) struct HostOptions {
    #[command(flatten)]
    acct: AcctOptions,
    #[command(flatten)]
    plugins: PluginDirs,
    /// Directory for the event sockets; may be repeated, and all directories serve the same bus
    #[arg(long = "sock-dir", value_name = "D", env = "EVBUS_SOCK_DIR")]
    sock_dirs: Vec<PathBuf>,
    /// Directory for event sockets with the framing of Salt 3006.26 and later 3006; may be repeated
    #[arg(long = "prefixed-sock-dir", value_name = "D")]
    prefixed_sock_dirs: Vec<PathBuf>,
    /// Take events from the Salt master with the socket directory D, without writing to it; may be
    /// repeated
    #[arg(long = "from-salt", value_name = "D")]
    from_salt: Vec<PathBuf>,
    /// Take only those of the Salt master's events whose tag matches this shell pattern, such as
    /// `salt/job/*/ret/*`; may be repeated
    #[arg(long = "salt-tag", value_name = "PATTERN", requires = "from_salt")]
    salt_tags: Vec<String>,
    /// Also allow members of this group, given by name or number, to fire and listen [default: only
    /// this user and root]
    #[arg(long, value_name = "GROUP")]
    sock_group: Option<String>,
    /// Also open the event sockets of every directory under the names of the Salt minion with this
    /// id; may be repeated
    #[arg(long = "minion-id", value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    minion_ids: Vec<String>,
    /// Directory for queued events and dead letters [env: `EVBUS_STATE_DIR`] [default: systemd's
    /// `STATE_DIRECTORY`; for root /var/lib/evbus, for others evbus in `XDG_STATE_HOME` or
    /// ~/.local/state]
    #[arg(long, value_name = "D", conflicts_with = "no_state_dir")]
    state_dir: Option<PathBuf>,
    /// Keep queued events and dead letters in memory only: they are lost when the host ends, and a
    /// destination with a full queue delays the programs that fire
    #[arg(long)]
    no_state_dir: bool,
    /// Maximum size of the events in the state directory, such as `20 GiB`: three quarters for queues,
    /// one quarter for dead letters
    #[arg(long, value_name = "SIZE", default_value = "64 GiB", value_parser = state_limit)]
    state_limit: u64,
    /// Space to leave free on the state directory's file system [default: 256 MiB, or a twentieth of
    /// the file system if that is less]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    state_free: Option<u64>,
    /// Load plugins from copies kept in this directory, for debuggers; it is created with mode 0700
    /// [default: copies in memory]
    #[arg(long, value_name = "DIR")]
    plugin_copies: Option<PathBuf>,
    /// Run name for events that have none
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    run_name: String,
    /// Serial form of bodies at destinations: json, msgpack or str
    #[arg(long, value_name = "P", default_value = "json")]
    serial_plugin: Serial,
    /// Also fire every log line as an idem-logger event
    #[arg(long, value_name = "P")]
    pub(super) log_plugin: Option<LogPlugin>,
    /// Maximum time to deliver queued events when the host shuts down, or a destination is removed:
    /// seconds, or with units such as 30s, 5m, 7d
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(super) drain_timeout: Duration,
}

/// A host as described by the flags.
pub(super) struct DescribedHost {
    pub(super) builder: HostBuilder,
    /// Where queued events and dead letters are kept.
    pub(super) state: Option<StatePlace>,
    /// The faults of flags that no host could be started with; these flags are left out of the builder.
    pub(super) faults: Vec<Exit>,
}

impl HostOptions {
    /// Describes the host to start.
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

    /// Whether any event could ever reach the host: from programs, a Salt master or its own log. With
    /// --state-dir it at least delivers the events stored there. `EVBUS_STATE_DIR` does not count, because it
    /// may be set for every host of a machine.
    pub(super) fn has_way_in(&self) -> bool {
        let from_programs = !self.sock_dirs.is_empty() || !self.prefixed_sock_dirs.is_empty();
        let named = self
            .state_place(true)
            .is_some_and(|place| place.named_by == NamedBy::Flag);
        from_programs || !self.from_salt.is_empty() || self.log_plugin.is_some() || named
    }

    /// Where queued events and dead letters are kept. A host without an acct file has no destinations and
    /// therefore uses no default directory.
    fn state_place(&self, has_acct_file: bool) -> Option<StatePlace> {
        if self.no_state_dir {
            return None;
        }
        state_place(self.state_dir.as_ref())
            .filter(|place| place.named_by.is_chosen() || has_acct_file)
    }
}

/// Reports why a host did not start. If the state directory was chosen by default, the advice is to name one.
pub(super) async fn not_started(error: StartError, state: Option<&StatePlace>) -> Exit {
    let (error, place) = match (error, state) {
        (StartError::State(error), Some(place)) if !matches!(error, StateError::Full { .. }) => {
            (error, place)
        }
        (error, _) => return error.into(),
    };
    let holder = match &error {
        StateError::InUse { .. } => Some(place.holder().await),
        _ => None,
    };
    let is_chosen = place.named_by.is_chosen();
    let path = place.path.display();
    Exit::config(match holder {
        Some(holder) if is_chosen => format!(
            "the state directory {path} is in use by {holder}; stop it, or give this host its own directory with --state-dir"
        ),
        None if is_chosen => error.to_string(),
        holder => format!(
            "cannot use the state directory {path} ({}): {}; give this host its own directory with --state-dir, or keep everything in memory with --no-state-dir",
            place.named_by.text(),
            holder.map_or_else(
                || error.to_string(),
                |holder| format!("it is in use by {holder}")
            ),
        ),
    })
}

/// As [`not_started`], for all faults.
pub(super) async fn all_not_started(
    errors: Vec<StartError>,
    state: Option<&StatePlace>,
) -> Vec<Exit> {
    let mut exits = Vec::new();
    for error in errors {
        exits.push(not_started(error, state).await);
    }
    exits
}

/// The filter of `--salt-tag`; without that flag, all tags.
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

/// Reads a duration. The help of each flag that takes one says so in the same words, and names the value `DURATION`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    evbus_duration::parse(text)
        .ok_or_else(|| format!("expected a number of seconds, or {WITH_UNITS}"))
}

fn size(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .or_else(|| byte_size(text))
        .ok_or_else(|| {
            "expected a number of bytes, or a number with a unit such as `500 MB` or `20 GiB`"
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

/// Raises the limit on open files to its maximum. Every listener is one file, and the usual limit of 1024 exists
/// only for old programs that use `select`.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the limit on open files: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use clap::{Command, CommandFactory as _};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_flag_that_takes_a_duration_says_so_in_the_same_words() {
        fn look(command: &Command, found: &mut Vec<String>) {
            let takes_duration =
                |arg: &&clap::Arg| arg.get_value_parser().type_id() == TypeId::of::<Duration>();
            for arg in command.get_arguments().filter(takes_duration) {
                let name = format!("{} {arg}", command.get_name());
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let words = "seconds, or with units such as 30s, 5m, 7d";
                assert!(help.contains(words), "{name}: {help}");
                let values = arg.get_value_names().unwrap_or_default();
                assert_eq!(values, ["DURATION"], "{name}");
                found.push(name);
            }
            for command in command.get_subcommands() {
                look(command, found);
            }
        }
        let mut found = Vec::new();
        let mut all = Cli::command();
        all.build();
        look(&all, &mut found);
        assert!(found.len() >= 8, "{found:?}");
    }
}
