//! `evbus put`: fires events.

use clap::Args;
use evbus::Event;
use evbus_report::counted;
use serde_json::Value;
use tokio::io::BufReader;

use super::exit::{Exit, error};
use super::lines::{Line, MAX_EVENT_BYTES, read_line};
use super::recorded;
use super::target::{Require, Target, TargetOptions};

/// Fire events to a running host, or deliver them directly to the destinations of an acct file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus put --sock-dir /run/evbus idem-status '\"FINISHED\"' --tag type=state-status
  evbus put --acct-file acct.yml idem-run '{\"name\": \"web\", \"result\": true}'
  tail -f results.jsonl | evbus put --sock-dir /run/evbus idem-run -
  evbus put --acct-file acct.yml --events < recorded-events.jsonl

With --sock-dir the command exits when the host keeps every event at every matching destination: in its \
queue or, if the destination is `durable`, on disk or acknowledged. With --acct-file it exits when the \
destinations have acknowledged every event.

Exit codes: 0 success; 1 an event was not delivered; 2 wrong usage; 70 a plugin called exit; 78 invalid \
configuration.")]
pub(super) struct PutArgs {
    /// Profile of the event
    #[arg(
        value_name = "PROFILE",
        required_unless_present = "events",
        conflicts_with = "events"
    )]
    profile: Option<String>,
    /// Message as JSON; - reads one message per line from standard input
    #[arg(
        value_name = "BODY|-",
        allow_hyphen_values = true,
        required_unless_present = "events"
    )]
    body: Option<String>,
    /// Add a tag; may be repeated
    #[arg(long = "tag", value_name = "K=V", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Run name in the envelope
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    run_name: String,
    /// Fire the body, which is JSON, as it is, without the envelope
    #[arg(long, conflicts_with_all = ["tags", "run_name"])]
    raw: bool,
    /// Read lines {"profile": ..., "body": ...} from standard input, such as those written by the
    /// provider `file`; bodies are fired as they are, with the id and time of the line if it has them
    #[arg(long, conflicts_with_all = ["raw", "tags", "run_name"])]
    events: bool,
    /// Fail if an event matches no destination [default: only listeners receive it]
    #[arg(long)]
    require_destination: bool,
    #[command(flatten)]
    target: TargetOptions,
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

pub(super) async fn run(args: PutArgs) -> Result<(), Exit> {
    // A fault of the body is reported before anything is started.
    let single = match args.body.as_deref() {
        Some("-") | None => None,
        Some(body) => Some(args.event(body).map_err(Exit::failed)?),
    };
    let mut target = args.target.way()?.open().await?;
    let mut faults = 0;
    match single {
        Some(event) => {
            target.put(event).await?;
        }
        None => faults = pump(&args, &mut target).await?,
    }
    let require = if args.require_destination {
        Require::Destination
    } else {
        Require::Nothing
    };
    target.finish(require).await?;
    if faults > 0 {
        return Err(Exit::failed(format!(
            "{} not fired; all others were",
            counted(
                faults,
                "line of standard input was",
                "lines of standard input were"
            )
        )));
    }
    Ok(())
}

impl PutArgs {
    /// Builds the event of one BODY or one line.
    fn event(&self, text: &str) -> Result<Event, String> {
        if self.events {
            return recorded::event(text);
        }
        // clap requires it unless --events is given.
        let builder = Event::builder(self.profile.clone().unwrap_or_default());
        let event = if self.raw {
            builder.unwrapped_json(text.to_owned())
        } else {
            let tags = self
                .tags
                .iter()
                .map(|(key, value)| (key.clone(), Value::String(value.clone())));
            builder
                .tags(tags)
                .run_name(&*self.run_name)
                .message_json(text)
        };
        event.map_err(|error| error.to_string())
    }
}

/// Fires every line of standard input. A line that cannot be fired is reported, and the others are fired.
async fn pump(args: &PutArgs, target: &mut Target) -> Result<u64, Exit> {
    let mut input = BufReader::new(tokio::io::stdin());
    let (mut number, mut faults) = (0_u64, 0);
    let mut line = Vec::new();
    loop {
        number += 1;
        let event = match read_line(&mut input, &mut line, MAX_EVENT_BYTES).await {
            Ok(Line::End) => return Ok(faults),
            Ok(Line::Whole) if line.trim_ascii().is_empty() => continue,
            Ok(Line::Whole) => std::str::from_utf8(&line)
                .map_err(|error| format!("not UTF-8 after byte {}", error.valid_up_to()))
                .and_then(|text| args.event(text.trim())),
            Ok(Line::TooLong) => Err(format!(
                "the line is longer than {MAX_EVENT_BYTES} bytes, the limit for an event"
            )),
            Err(error) => {
                return Err(Exit::failed(format!("cannot read standard input: {error}")));
            }
        };
        match event {
            Ok(event) => {
                target.put(event).await?;
            }
            Err(reason) => {
                faults += 1;
                error(&format!("standard input, line {number}: {reason}"));
            }
        }
        // A followed log needs each event at once, a whole file needs speed.
        if input.buffer().is_empty() {
            target.flush().await?;
        }
    }
}
