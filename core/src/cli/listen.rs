//! `evbus listen`: prints the events of a running host.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use evbus_client::blocking::Client;
use evbus_client::{Error, Event, GetEvent, Incoming, MatchType, TagFilter};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::exit::{Exit, note};
use super::host_options::duration;
use super::output::{self, Reader};

/// Print the events of a running host, one JSON line per event
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus listen --sock-dir /run/evbus
  evbus listen --sock-dir /run/evbus --tag idem- --tag salt/ --full
  evbus listen --sock-dir /run/evbus --tag 'salt/job/*' --match-type fnmatch --count 1 --wait 10s

If the connection is lost, the command reconnects and reports the gap.

Exit codes: 0 after --count events, on Ctrl-C, or when nobody reads the output; 1 if --wait has passed \
without any event, or the host cannot be reached; 2 wrong usage.")]
pub(super) struct ListenArgs {
    /// Only events whose tag (profile) matches; may be repeated, and one match is enough
    #[arg(long = "tag", value_name = "T")]
    tags: Vec<String>,
    /// How to compare tags; regex matches at the beginning, fnmatch the whole tag
    #[arg(long, value_name = "M", default_value = "startswith", value_parser = match_type())]
    match_type: MatchType,
    /// Exit if no event arrives for this long: seconds, or with units such as 30s, 5m, 7d
    /// [default: wait forever]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// Exit after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print {"tag": ..., "data": ...} instead of only the data
    #[arg(long)]
    full: bool,
    /// Print each event indented, on several lines
    #[arg(long)]
    pretty: bool,
    /// Exit with 1 if the connection to the host is lost
    #[arg(long)]
    no_reconnect: bool,
    /// Socket directory of the host, or of a Salt master
    #[arg(long, value_name = "D", env = "EVBUS_SOCK_DIR")]
    sock_dir: PathBuf,
}

fn match_type() -> impl TypedValueParser<Value = MatchType> {
    PossibleValuesParser::new(MatchType::ALL.map(MatchType::as_str))
        .try_map(|name| name.parse::<MatchType>())
}

pub(super) async fn run(args: ListenArgs) -> Result<(), Exit> {
    let filter = args
        .filter()
        .map_err(|error| Exit::usage(error.to_string()))?;
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Exit::failed(format!("cannot receive signals: {error}")))?;
    // On a separate thread: writing blocks while a reader stalls, and Ctrl-C must still work.
    let wait = args.wait;
    let (connected, is_connected) = oneshot::channel();
    let listening = tokio::task::spawn_blocking(move || listen(&args, &filter, connected));
    tokio::select! {
        ended = listening => {
            ended.map_err(|error| Exit::failed(format!("listening failed: {error}")))?
        }
        _ = interrupt.recv() => Ok(()),
        wait = waited_in_vain(wait, is_connected) => Err(Exit::failed(format!(
            "the host did not accept the connection within {} s",
            wait.as_secs_f64()
        ))),
    }
}

/// Resolves when nothing has been connected for as long as the command may wait. A host that is stopped accepts
/// nobody, and then a connect waits.
async fn waited_in_vain(wait: Option<Duration>, connected: oneshot::Receiver<()>) -> Duration {
    match wait {
        Some(wait) if tokio::time::timeout(wait, connected).await.is_err() => wait,
        _ => std::future::pending().await,
    }
}

fn listen(
    args: &ListenArgs,
    filter: &TagFilter,
    connected: oneshot::Sender<()>,
) -> Result<(), Exit> {
    let failed = |error: Error| Exit::failed(error.to_string());
    let builder = Client::builder(&args.sock_dir).reconnect(!args.no_reconnect);
    let mut client = builder.connect_blocking().map_err(failed)?;
    // Without `--wait` nobody receives this.
    let _ = connected.send(());
    let (mut shown, mut was_turned_away) = (0, false);
    // The wait counts from one matching event to the next. A wait too long for the clock never ends.
    let deadline = || args.wait.and_then(|wait| Instant::now().checked_add(wait));
    let mut until = deadline();
    loop {
        let request = GetEvent::from(filter.clone());
        let request = match until {
            Some(until) => request.wait(until.saturating_duration_since(Instant::now())),
            None => request.wait_forever(),
        };
        match client.get_incoming(request) {
            Ok(Some(Incoming::Event(event))) => {
                if show(&event, args)? == Reader::Gone {
                    return Ok(());
                }
                (shown, was_turned_away) = (shown + 1, false);
                if args.count == Some(shown) {
                    return Ok(());
                }
                until = deadline();
            }
            // Once may be a host that is shutting down.
            Ok(Some(Incoming::Lost(lost))) if lost.turned_away && was_turned_away => {
                return Err(Exit::failed(lost.to_string()));
            }
            Ok(Some(Incoming::Lost(lost))) if !args.no_reconnect => {
                was_turned_away = lost.turned_away;
                note(&format!("{lost}; waiting for it to return"));
            }
            Ok(Some(Incoming::Gap(gap))) => note(&format!("connected again; {gap}")),
            Ok(Some(_)) => {}
            Ok(None) if shown == 0 => return Err(Exit::silent()),
            Ok(None) => return Ok(()),
            // The lost connection is reported next.
            Err(Error::LostSync(_)) if !args.no_reconnect => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

impl ListenArgs {
    fn filter(&self) -> Result<TagFilter, Error> {
        if self.tags.is_empty() {
            return Ok(TagFilter::all());
        }
        let filters = self
            .tags
            .iter()
            .map(|tag| TagFilter::new(tag, self.match_type));
        Ok(TagFilter::any_of(filters.collect::<Result<Vec<_>, _>>()?))
    }
}

fn show(event: &Event, args: &ListenArgs) -> Result<Reader, Exit> {
    let json = if args.full {
        event.full_json()
    } else {
        event.data_json()
    };
    let mut line = json.map_err(|error| Exit::failed(error.to_string()))?;
    // JSON nested too deeply for the parser stays on one line.
    if args.pretty
        && let Ok(value) = serde_json::from_str::<Value>(&line)
    {
        return output::json_pretty(&value);
    }
    line.push('\n');
    output::write(line.as_bytes())
}
