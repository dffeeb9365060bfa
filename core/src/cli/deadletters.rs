//! `evbus deadletters`: the events that were given up at a destination.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use evbus::EventId;
use evbus::control::Client;
use evbus::store::StateError;
use evbus::store::deadletters::{self, DeadLetter, Filter};
use evbus_report::{counted, system_text};
use serde::Serialize;

use super::exit::{Exit, note};
use super::host_options::duration;
use super::host_place::state_place;
use super::letter::Shown;
use super::output::{Reader, json_line, json_pretty, table, write};
use super::with_runtime;

/// List, show, replay and purge dead letters: events rejected or given up at a destination
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus deadletters list --state-dir /var/lib/evbus
  evbus deadletters list --provider kafka --older-than 1d --json
  evbus deadletters show 01a2068f-b371-7000-8000-0346bc3975c9 --body
  evbus deadletters replay --provider kafka --pattern 'idem-*'
  evbus deadletters purge --older-than 7d
  evbus deadletters list --sock-dir /run/evbus

Works with and without a running host.

Exit codes: 0 success; 1 show or replay matched nothing, or a store cannot be read; 2 wrong usage; 75 the \
disk is full, try again later; 78 the state directory does not exist, or a newer version wrote it.")]
pub(super) struct DeadlettersArgs {
    #[command(subcommand)]
    command: DeadlettersCommand,
    /// State directory of the host [env: `EVBUS_STATE_DIR`] [default: as for `evbus run`]
    #[arg(long, global = true, value_name = "D", conflicts_with = "sock_dir")]
    state_dir: Option<PathBuf>,
    /// Socket directory of a running host; its state directory is used
    #[arg(long, global = true, value_name = "D")]
    sock_dir: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum DeadlettersCommand {
    /// List dead letters, oldest first within each destination
    List {
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Print the dead letters of one event as JSON, with their bodies
    Show {
        /// Id of the event
        #[arg(
            value_name = "ID",
            value_parser = event_id,
            required_unless_present = "id",
            conflicts_with = "id"
        )]
        event_id: Option<String>,
        #[command(flatten)]
        filter: FilterArgs,
        /// Print only the bytes of the body
        #[arg(long, conflicts_with = "json")]
        body: bool,
    },
    /// Put dead letters back into the queues of their destinations and reset their attempt counts
    ///
    /// A running host delivers them at once; otherwise the next host that uses the state directory
    /// does.
    Replay {
        #[command(flatten)]
        filter: FilterArgs,
        /// Replay every dead letter
        #[arg(long, conflicts_with_all = ["provider", "pattern", "profile", "id", "older_than"])]
        all: bool,
    },
    /// Delete dead letters permanently
    Purge {
        #[command(flatten)]
        filter: FilterArgs,
        /// Delete every dead letter
        #[arg(long, conflicts_with_all = ["provider", "pattern", "profile", "id", "older_than"])]
        all: bool,
    },
}

/// An event's id as stores have it.
fn event_id(text: &str) -> Result<String, String> {
    match text.parse::<EventId>() {
        Ok(id) => Ok(id.to_string()),
        Err(_) => Err("expected the id of an event, such as 01a2068f-b371-7000-8000-0346bc3975c9; `evbus deadletters list` shows them".to_owned()),
    }
}

/// The choice of dead letters.
#[derive(Debug, Args)]
struct FilterArgs {
    /// Only dead letters of this provider's destinations
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only dead letters of destinations with exactly this pattern of the acct file
    #[arg(long, value_name = "PATTERN")]
    pattern: Option<String>,
    /// Only events of this profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Only the event with this id
    #[arg(long, value_name = "ID", value_parser = event_id)]
    id: Option<String>,
    /// Only dead letters with a last attempt at least this long ago: seconds, or with units such as
    /// 30s, 5m, 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        let until = self.older_than.map(|age| {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            u64::try_from(now.saturating_sub(age).as_nanos()).unwrap_or(u64::MAX)
        });
        Filter {
            provider: self.provider.clone(),
            pattern: self.pattern.clone(),
            profile: self.profile.clone(),
            id: self.id.as_deref().map(str::to_ascii_lowercase),
            until_unix_ns: until,
        }
    }

    /// The filter of a command that changes something.
    fn chosen(&self, all: bool, command: &str) -> Result<Filter, Exit> {
        let filter = self.filter();
        if !all && filter == Filter::default() {
            return Err(Exit::usage(format!(
                "no dead letters given to {command}: use a filter such as --provider, or --all"
            )));
        }
        Ok(filter)
    }
}

pub(super) fn run(args: &DeadlettersArgs) -> Result<(), Exit> {
    // Wrong usage is reported before anything is read.
    let filter = match &args.command {
        DeadlettersCommand::List { filter } => filter.filter(),
        DeadlettersCommand::Show {
            event_id, filter, ..
        } => {
            let mut filter = filter.filter();
            if let Some(id) = event_id {
                filter.id = Some(id.to_ascii_lowercase());
            }
            filter
        }
        DeadlettersCommand::Replay { filter, all } => filter.chosen(*all, "replay")?,
        DeadlettersCommand::Purge { filter, all } => filter.chosen(*all, "purge")?,
    };
    let dir = &state_dir(args)?;
    match &args.command {
        DeadlettersCommand::List { .. } => list(dir, &filter, args.json),
        DeadlettersCommand::Show { body, .. } => show(dir, &filter, *body),
        DeadlettersCommand::Replay { .. } => replay(dir, &filter, args.json),
        DeadlettersCommand::Purge { .. } => purge(dir, &filter, args.json),
    }
}

/// The state directory of the host of a socket directory.
async fn dir_of_host(sock_dir: &Path) -> Result<PathBuf, Exit> {
    let asking = async { Client::connect(sock_dir).await?.status().await };
    let answer = asking
        .await
        .map_err(|error| Exit::failed(error.to_string()))?;
    match answer.status.host.state_dir {
        Some(state_dir) => Ok(state_dir.path),
        None => Err(Exit::failed(format!(
            "the host at {} has no state directory and keeps no dead letters; run it with --state-dir",
            sock_dir.display()
        ))),
    }
}

fn state_dir(args: &DeadlettersArgs) -> Result<PathBuf, Exit> {
    if let Some(sock_dir) = &args.sock_dir {
        return with_runtime(dir_of_host(sock_dir));
    }
    let given = (args.state_dir.as_ref()).filter(|dir| !dir.as_os_str().is_empty());
    let dir = state_place(given)
        .ok_or_else(|| Exit::usage("no state directory given: use --state-dir or EVBUS_STATE_DIR"))?
        .path;
    match fs::metadata(&dir) {
        Ok(found) if found.is_dir() => Ok(dir),
        Ok(_) => Err(Exit::config(format!(
            "the state directory {} is not a directory; use the one that the host runs with",
            dir.display()
        ))),
        Err(error) => Err(Exit::config(format!(
            "cannot use the state directory {}: {}; use the one that the host runs with",
            dir.display(),
            match error.kind() {
                io::ErrorKind::NotFound => "it does not exist".to_owned(),
                _ => system_text(&error),
            }
        ))),
    }
}

/// An unreadable store is a failure; a directory that this program cannot use is an invalid configuration.
fn fault(error: &StateError) -> Exit {
    match error {
        StateError::Full { .. } => Exit::try_again(error.to_string()),
        StateError::Store { .. } | StateError::InUse { .. } => Exit::failed(error.to_string()),
        _ => Exit::config(error.to_string()),
    }
}

/// Passes every dead letter to `see`, until the reader of standard output is gone.
fn each(
    dir: &Path,
    filter: &Filter,
    bodies: bool,
    mut see: impl FnMut(DeadLetter) -> Result<Reader, Exit>,
) -> Result<(), Exit> {
    let mut seen = Ok(Reader::There);
    deadletters::each(dir, filter, bodies, |letter| {
        seen = see(letter);
        matches!(seen, Ok(Reader::There))
    })
    .map_err(|error| fault(&error))?;
    seen.map(|_| ())
}

fn list(dir: &Path, filter: &Filter, json: bool) -> Result<(), Exit> {
    if json {
        return each(dir, filter, false, |letter| json_line(&letter));
    }
    let mut rows = Vec::new();
    each(dir, filter, false, |letter| {
        rows.push(row(letter));
        Ok(Reader::There)
    })?;
    table(
        &[
            "last attempt",
            "destination",
            "profile",
            "id",
            "attempts",
            "bytes",
            "error",
        ],
        rows,
    )
}

fn row(letter: DeadLetter) -> Vec<String> {
    let nth = match letter.nth {
        0 => String::new(),
        // Of several entries with one pattern.
        nth => format!(" #{nth}"),
    };
    let last_attempt = SystemTime::UNIX_EPOCH + Duration::from_nanos(letter.last_attempt_unix_ns);
    vec![
        humantime::format_rfc3339_seconds(last_attempt).to_string(),
        format!("{} {}{nth}", letter.provider, letter.pattern),
        letter.profile,
        letter.id.unwrap_or_else(|| "-".to_owned()),
        letter.attempts.to_string(),
        letter.body_bytes.to_string(),
        letter.error,
    ]
}

fn show(dir: &Path, filter: &Filter, body: bool) -> Result<(), Exit> {
    let mut found = false;
    each(dir, filter, true, |letter| {
        found = true;
        if body {
            write(&letter.body)
        } else if std::io::stdout().is_terminal() {
            json_pretty(&Shown::new(&letter))
        } else {
            json_line(&Shown::new(&letter))
        }
    })?;
    if found { Ok(()) } else { Err(no_match()) }
}

fn no_match() -> Exit {
    Exit::failed("no dead letter matches; `evbus deadletters list` lists them")
}

fn replay(dir: &Path, filter: &Filter, json: bool) -> Result<(), Exit> {
    #[derive(Serialize)]
    struct Replayed {
        replayed: u64,
    }
    // A directory without dead letters is not changed, whatever it is.
    let mut found = false;
    deadletters::each(dir, filter, false, |_| {
        found = true;
        false
    })
    .map_err(|error| fault(&error))?;
    if !found {
        return Err(no_match());
    }
    let replayed = if let Some(replayed) = with_runtime(ask_host(dir, Ask::Replay(filter.clone())))?
    {
        replayed
    } else {
        let replayed = deadletters::replay(dir, filter).map_err(|error| fault(&error))?;
        note(
            "no host is using this state directory; the dead letters will be delivered when one starts",
        );
        replayed
    };
    if replayed == 0 {
        return Err(no_match());
    }
    done(
        replayed,
        json.then_some(&Replayed { replayed }),
        "put back into the queue",
    )
}

/// A request to a host about dead letters.
enum Ask {
    Replay(Filter),
    Purge(Filter),
}

/// Asks the host that uses the directory, if there is one.
async fn ask_host(dir: &Path, ask: Ask) -> Result<Option<u64>, Exit> {
    let Ok(mut host) = Client::connect(dir).await else {
        return Ok(None);
    };
    let answer = match ask {
        Ask::Replay(filter) => host.replay(filter).await,
        Ask::Purge(filter) => host.purge(filter).await,
    };
    answer
        .map(Some)
        .map_err(|error| Exit::failed(error.to_string()))
}

fn purge(dir: &Path, filter: &Filter, json: bool) -> Result<(), Exit> {
    #[derive(Serialize)]
    struct Purged {
        purged: u64,
    }
    let purged = match with_runtime(ask_host(dir, Ask::Purge(filter.clone())))? {
        Some(purged) => purged,
        None => deadletters::purge(dir, filter).map_err(|error| fault(&error))?,
    };
    if purged == 0 && !json {
        return write(b"nothing to purge\n").map(|_| ());
    }
    done(purged, json.then_some(&Purged { purged }), "deleted")
}

/// Prints how many there were.
fn done(number: u64, json: Option<&impl Serialize>, what: &str) -> Result<(), Exit> {
    match json {
        Some(json) => json_line(json),
        None => write(
            format!(
                "{} {what}\n",
                counted(number, "dead letter", "dead letters")
            )
            .as_bytes(),
        ),
    }
    .map(|_| ())
}
