//! `evbus listen`: shows what a running host publishes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use evbus_client::blocking::Client;
use evbus_client::{Error, Event, GetEvent, Incoming, MatchType, TagFilter};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::{Exit, note};
use super::host_options::seconds;
use super::output::{self, Reader};

/// Show the events of a running host, one JSON line per event
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus listen --sock-dir /run/evbus
  evbus listen --sock-dir /run/evbus --tag idem- --tag salt/ --full
  evbus listen --sock-dir /run/evbus --tag 'salt/job/*/ret/*' --match-type fnmatch --count 1 --wait 10

When the host goes, it waits for it and says which time is missing. Ends with 0 after --count events, on
Ctrl-C, and when nobody reads its output; with 1 when --wait is over and no event came.")]
pub(super) struct ListenArgs {
    /// Only events whose tag (profile) matches; may come several times, and one match is enough
    #[arg(long = "tag", value_name = "T")]
    tags: Vec<String>,
    /// How tags are compared; regex matches at the beginning, fnmatch the whole tag
    #[arg(long, value_name = "M", default_value = "startswith", value_parser = match_type())]
    match_type: MatchType,
    /// Seconds to wait for the next event; without it, for ever
    #[arg(long, value_name = "S", value_parser = seconds)]
    wait: Option<Duration>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print {"tag": ..., "data": ...} instead of the data alone
    #[arg(long)]
    full: bool,
    /// Print each event indented, over several lines
    #[arg(long)]
    pretty: bool,
    /// End with 1 when the host goes
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
        .map_err(|error| Exit::failed(format!("no signal can be waited for: {error}")))?;
    // On a thread of its own: while a reader stalls, writing blocks, and Ctrl-C must end it still.
    let listening = tokio::task::spawn_blocking(move || listen(&args, &filter));
    tokio::select! {
        ended = listening => {
            ended.map_err(|error| Exit::failed(format!("listening has failed: {error}")))?
        }
        _ = interrupt.recv() => Ok(()),
    }
}

fn listen(args: &ListenArgs, filter: &TagFilter) -> Result<(), Exit> {
    let failed = |error: Error| Exit::failed(error.to_string());
    let builder = Client::builder(&args.sock_dir).reconnect(!args.no_reconnect);
    let mut client = builder.connect_blocking().map_err(failed)?;
    let (mut shown, mut was_turned_away) = (0, false);
    // The wait counts from event to event, those that do not match excluded. One that is too long
    // for the clock is for ever.
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
            // Once may be a host that ends just then.
            Ok(Some(Incoming::Lost(lost))) if lost.turned_away && was_turned_away => {
                return Err(Exit::failed(lost.to_string()));
            }
            Ok(Some(Incoming::Lost(lost))) if !args.no_reconnect => {
                was_turned_away = lost.turned_away;
                note(&format!("{lost}; waiting for it to come back"));
            }
            Ok(Some(Incoming::Gap(gap))) => note(&format!("connected again; {gap}")),
            Ok(Some(_)) => {}
            Ok(None) if shown == 0 => return Err(Exit::silent()),
            Ok(None) => return Ok(()),
            // That the connection is lost for it comes next.
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
    // What is nested deeper than a reader of JSON goes stays on its line.
    if args.pretty
        && let Ok(value) = serde_json::from_str::<Value>(&line)
    {
        return output::json_pretty(&value);
    }
    line.push('\n');
    output::write(line.as_bytes())
}
