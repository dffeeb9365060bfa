//! `evbus put`: fires events.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use evbus::acct::AcctSource;
use evbus::{Event, Host, LaneStatus, Serial};
use evbus_client::{Fired, Sender};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::acct_options::AcctOptions;
use super::exit::{Exit, error, note};
use super::run::seconds;
use super::{PluginDirs, THIS_PROGRAM};

/// Fire events: to a running host, or straight to the destinations of an acct file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus put --sock-dir /run/evbus idem-status '\"FINISHED\"' --tag type=state-status
  evbus put --acct-file acct.yml idem-run '{\"name\": \"web\", \"result\": true}'
  tail -f results.jsonl | evbus put --sock-dir /run/evbus idem-run -
  evbus put --acct-file acct.yml --events < recorded-events.jsonl

With --sock-dir it ends when the host has taken every event; with --acct-file when the destinations
have acknowledged every event.")]
pub(super) struct PutArgs {
    /// The profile to fire under
    #[arg(value_name = "PROFILE", required_unless_present = "events")]
    profile: Option<String>,
    /// The message as JSON; - reads one message per line from standard input
    #[arg(
        value_name = "BODY|-",
        allow_hyphen_values = true,
        required_unless_present = "events"
    )]
    body: Option<String>,
    /// Add a tag; may come several times
    #[arg(long = "tag", value_name = "K=V", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// The run name in the envelope
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    run_name: String,
    /// Send the body as it is, without the envelope
    #[arg(long, conflicts_with_all = ["tags", "run_name"])]
    raw: bool,
    /// Read lines {"profile": ..., "body": ...} from standard input; bodies are sent as they are
    #[arg(long, conflicts_with_all = ["raw", "tags", "run_name"])]
    events: bool,
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
    /// Seconds to wait for the host to take, or the destinations to acknowledge, what was fired
    #[arg(long, value_name = "S", default_value = "30", value_parser = seconds)]
    timeout: Duration,
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Where events are to go.
#[derive(Debug)]
pub(super) enum Way {
    /// To the running host of this socket directory.
    Socket(PathBuf),
    /// Straight to the destinations of this acct file.
    Acct(AcctSource),
}

impl Way {
    /// What the flags say, or else the environment.
    pub(super) fn of(
        sock_dir: Option<&Path>,
        acct_file: Option<&Path>,
        acct: &AcctOptions,
    ) -> Result<Self, Exit> {
        let from = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(dir) = sock_dir {
            return Ok(Self::Socket(dir.to_owned()));
        }
        if let Some(file) = acct_file {
            return Ok(Self::Acct(acct.source(file)));
        }
        if let Some(dir) = from("EVBUS_SOCK_DIR") {
            return Ok(Self::Socket(dir));
        }
        from("ACCT_FILE")
            .map(|file| Self::Acct(acct.source(file)))
            .ok_or_else(|| {
                Exit::usage("nowhere to fire to; give --sock-dir of a running host, or --acct-file")
            })
    }
}

/// Where events go.
pub(super) enum Target {
    Socket(Sender),
    Destinations(Host),
}

pub(super) async fn run(args: PutArgs) -> Result<(), Exit> {
    // What is wrong with a body is said before anything is started for it.
    let single = match args.body.as_deref() {
        Some("-") | None => None,
        Some(body) => Some(args.event(body).map_err(Exit::failed)?),
    };
    let way = Way::of(
        args.sock_dir.as_deref(),
        args.acct_file.as_deref(),
        &args.acct,
    )?;
    let mut target = Target::open(way, &args.plugins, args.serial_plugin).await?;
    let mut faults = 0;
    match single {
        Some(event) => target.put(event).await?,
        None => faults = pump(&args, &mut target).await?,
    }
    target.finish(args.timeout).await?;
    if faults > 0 {
        return Err(Exit::failed(format!(
            "{faults} lines of standard input were not fired; the others were"
        )));
    }
    Ok(())
}

impl PutArgs {
    /// Makes the event of one BODY or one line.
    fn event(&self, text: &str) -> Result<Event, String> {
        if self.events {
            return recorded(text);
        }
        // clap requires it unless --events is there.
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

/// An event as `--events` reads it.
fn recorded(line: &str) -> Result<Event, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Recorded<'a> {
        profile: String,
        #[serde(borrow)]
        body: &'a RawValue,
    }
    let recorded: Recorded<'_> = serde_json::from_str(line).map_err(|error| {
        format!("expected {{\"profile\": ..., \"body\": ...}} as JSON on one line, but {error}")
    })?;
    Event::builder(recorded.profile)
        .unwrapped_json(recorded.body.get().to_owned())
        .map_err(|error| error.to_string())
}

/// Fires every line of standard input. A line that cannot be fired is named and stops nothing.
async fn pump(args: &PutArgs, target: &mut Target) -> Result<u64, Exit> {
    let mut input = BufReader::new(tokio::io::stdin());
    let (mut number, mut faults) = (0_u64, 0);
    let mut line = Vec::new();
    loop {
        number += 1;
        let event = match read_line(&mut input, &mut line).await {
            Ok(Line::End) => return Ok(faults),
            Ok(Line::Whole) if line.trim_ascii().is_empty() => continue,
            Ok(Line::Whole) => std::str::from_utf8(&line)
                .map_err(|error| format!("no UTF-8 after byte {}", error.valid_up_to()))
                .and_then(|text| args.event(text.trim())),
            Ok(Line::TooLong) => Err(format!(
                "the line is longer than {MAX_LINE_BYTES} bytes, the most a body may have"
            )),
            Err(error) => return Err(Exit::failed(format!("standard input: {error}"))),
        };
        match event {
            Ok(event) => target.put(event).await?,
            Err(reason) => {
                faults += 1;
                error(&format!("standard input, line {number}: {reason}"));
            }
        }
        // Whoever follows a log wants each event at once, whoever sends a file wants it fast.
        if input.buffer().is_empty()
            && let Target::Socket(sender) = target
        {
            sender
                .flush()
                .await
                .map_err(|error| Exit::failed(error.to_string()))?;
        }
    }
}

pub(super) const MAX_LINE_BYTES: usize = evbus::event::MAX_BODY_BYTES + 64 * 1024;

pub(super) enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads one line without its end, keeping no more of it than a body may have.
pub(super) async fn read_line(
    input: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<Line> {
    line.clear();
    let limit = MAX_LINE_BYTES as u64 + 1;
    if (&mut *input).take(limit).read_until(b'\n', line).await? == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Line::Whole);
    }
    if line.len() <= MAX_LINE_BYTES {
        return Ok(Line::Whole);
    }
    // The rest of the line goes by unread.
    loop {
        let chunk = input.fill_buf().await?;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(chunk.len(), |end| end + 1);
        let over = end.is_some() || chunk.is_empty();
        input.consume(used);
        if over {
            return Ok(Line::TooLong);
        }
    }
}

impl Target {
    pub(super) async fn open(way: Way, plugins: &PluginDirs, serial: Serial) -> Result<Self, Exit> {
        let source = match way {
            Way::Socket(dir) => {
                let sender = Sender::connect(&dir)
                    .await
                    .map_err(|error| Exit::failed(error.to_string()))?;
                return Ok(Self::Socket(sender));
            }
            Way::Acct(source) => source,
        };
        let mut host = Host::builder()
            .acct_file(source)
            .without_state()
            .isolation_program(THIS_PROGRAM)
            .serial(serial);
        for dir in &plugins.plugin_dirs {
            host = host.plugin_dir(dir);
        }
        Ok(Self::Destinations(host.start().await?))
    }

    pub(super) async fn put(&mut self, event: Event) -> Result<(), Exit> {
        match self {
            Self::Socket(sender) => {
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
            Self::Destinations(host) => {
                let profile = event.profile().to_owned();
                let fired = host
                    .bus()
                    .put_event(event)
                    .await
                    .map_err(|error| Exit::failed(error.to_string()))?;
                if fired.destinations == 0 {
                    note(&format!(
                        "no destination's pattern matches profile {profile:?}"
                    ));
                }
                Ok(())
            }
        }
    }

    /// Waits until everything is where it was to go.
    pub(super) async fn finish(self, limit: Duration) -> Result<(), Exit> {
        match self {
            Self::Socket(sender) => sender
                .finish(limit)
                .await
                .map_err(|error| Exit::failed(error.to_string())),
            Self::Destinations(host) => undelivered(&host.shutdown(limit).await),
        }
    }
}

/// Says what was not delivered.
fn undelivered(lanes: &[LaneStatus]) -> Result<(), Exit> {
    let mut all_delivered = true;
    for lane in lanes {
        let counts = lane.counts;
        let missing = counts.queued + counts.dead_lettered + counts.dropped;
        if missing > 0 {
            all_delivered = false;
            error(&format!(
                "destination {}: {missing} of {} events were not delivered: {}",
                lane.destination,
                counts.received,
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
