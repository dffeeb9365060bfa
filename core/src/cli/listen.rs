//! `evbus listen`: shows what a running host publishes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use evbus_client::{Event, Listener, MatchType, TagFilter};
use tokio::time::Instant;

use super::exit::{Exit, note};
use super::output::{self, Reader};
use super::run::seconds;

/// Show the events of a running host, one JSON line per event
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus listen --sock-dir /run/evbus
  evbus listen --sock-dir /run/evbus --tag idem- --full
  evbus listen --sock-dir /run/evbus --tag 'salt/job/*/ret/*' --match-type fnmatch --count 1 --wait 10

Ends with 1 when --wait is over and no event came.")]
pub(super) struct ListenArgs {
    /// Only events whose tag (profile) matches
    #[arg(long, value_name = "T", default_value = "", hide_default_value = true)]
    tag: String,
    /// How the tag is compared
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
    /// Socket directory of the host
    #[arg(long, value_name = "D", env = "EVBUS_SOCK_DIR")]
    sock_dir: PathBuf,
}

fn match_type() -> impl clap::builder::TypedValueParser<Value = MatchType> {
    PossibleValuesParser::new(MatchType::ALL.map(MatchType::as_str))
        .try_map(|name| name.parse::<MatchType>())
}

pub(super) async fn run(args: ListenArgs) -> Result<(), Exit> {
    let filter = TagFilter::new(&args.tag, args.match_type)
        .map_err(|error| Exit::usage(error.to_string()))?;
    let mut listener = Listener::connect(&args.sock_dir)
        .await
        .map_err(|error| Exit::failed(error.to_string()))?;
    let mut shown = 0;
    loop {
        let received = tokio::select! {
            received = next(&mut listener, &filter, args.wait) => received?,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        match received {
            Next::Event(received) => {
                if show(&received, args.full)? == Reader::Gone {
                    return Ok(());
                }
                shown += 1;
                if args.count == Some(shown) {
                    return Ok(());
                }
            }
            Next::TimeOver if shown == 0 => return Err(Exit::silent()),
            Next::TimeOver => return Ok(()),
            Next::HostGone => {
                note("the host has closed the connection");
                return Err(Exit::silent());
            }
        }
    }
}

enum Next {
    Event(Event),
    TimeOver,
    HostGone,
}

/// The next event that passes. The wait counts from event to event, those that do not pass
/// excluded.
async fn next(
    listener: &mut Listener,
    filter: &TagFilter,
    wait: Option<Duration>,
) -> Result<Next, Exit> {
    // A wait that is too long for the clock is for ever.
    let until = wait.and_then(|wait| Instant::now().checked_add(wait));
    loop {
        let received = match until {
            None => listener.next().await,
            Some(until) => match tokio::time::timeout_at(until, listener.next()).await {
                Ok(received) => received,
                Err(_) => return Ok(Next::TimeOver),
            },
        };
        match received.map_err(|error| Exit::failed(error.to_string()))? {
            Some(received) if filter.passes(received.tag()) => return Ok(Next::Event(received)),
            Some(_) => {}
            None => return Ok(Next::HostGone),
        }
    }
}

fn show(event: &Event, full: bool) -> Result<Reader, Exit> {
    let json = if full {
        event.full_json()
    } else {
        event.data_json()
    };
    let mut line = json.map_err(|error| Exit::failed(error.to_string()))?;
    line.push('\n');
    output::write(line.as_bytes())
}
