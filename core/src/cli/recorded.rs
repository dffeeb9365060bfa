//! A recorded event as a line, which `evbus put --events` and `evbus check --events` read and the provider
//! `file` writes.

use std::path::Path;
use std::time::SystemTime;

use evbus::{Event, EventId};
use evbus_files::named_file::open_given;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::fs::File;
use tokio::io::{AsyncBufRead, BufReader};

use super::exit::Exit;
use super::lines::{Line, MAX_EVENT_BYTES, read_line};
use super::output::Reader;

/// The expected form of a line.
pub(super) const EXPECTED: &str = "{\"profile\": ..., \"body\": ...} as JSON on one line";

/// One line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recorded<B> {
    pub(super) profile: String,
    pub(super) body: B,
    id: Option<String>,
    time: Option<String>,
    /// The same as in the body.
    #[serde(rename = "tags")]
    _tags: Option<Map<String, Value>>,
    /// The encoding of a body that is not JSON.
    encoding: Option<String>,
}

/// The event of a line, with the id and time of the line if it has them. A receiver recognizes a repeated event
/// by its id.
pub(super) fn event(line: &str) -> Result<Event, String> {
    let recorded: Recorded<&RawValue> =
        serde_json::from_str(line).map_err(|error| format!("expected {EXPECTED}, but {error}"))?;
    if let Some(encoding) = recorded.encoding {
        return Err(format!(
            "the body is not JSON (encoding {encoding:?}) and cannot be fired; record events with `evbus run --serial-plugin json`"
        ));
    }
    let mut builder = Event::builder(recorded.profile);
    if let Some(id) = recorded.id {
        let id: EventId = id.parse().map_err(|_| {
            format!("the id {id:?} is not an event id; expected one such as 018bcfe5-6800-7000-8000-000000000000")
        })?;
        builder = builder.id(id);
    }
    if let Some(time) = recorded.time {
        builder = builder.time_unix_ns(unix_ns(&time).ok_or_else(|| {
            format!("the time {time:?} is not valid; expected one such as 2026-11-23T00:17:28.301Z")
        })?);
    }
    builder
        .unwrapped_json(recorded.body.get().to_owned())
        .map_err(|error| error.to_string())
}

/// Passes each event of a file of such lines, or of standard input for `-`, to `take`, until that says that nobody reads
/// what becomes of them.
pub(super) async fn each(
    file: &Path,
    mut take: impl FnMut(u64, Event) -> Result<Reader, Exit>,
) -> Result<(), Exit> {
    let (name, input): (String, Box<dyn AsyncBufRead + Unpin>) = if file.as_os_str() == "-" {
        let input = BufReader::new(tokio::io::stdin());
        ("standard input".to_owned(), Box::new(input))
    } else {
        let name = file.display().to_string();
        let opened = open_given(file).map_err(|error| {
            Exit::failed(format!(
                "cannot read {name}: {error}; check the path of the file of events"
            ))
        })?;
        (name, Box::new(BufReader::new(File::from_std(opened))))
    };
    let mut input = input;
    let mut line = Vec::new();
    for number in 1.. {
        let read = (read_line(&mut input, &mut line, MAX_EVENT_BYTES).await)
            .map_err(|error| Exit::failed(format!("{name}: {error}")))?;
        let fault = |fault: &str| Exit::failed(format!("{name}, line {number}: {fault}"));
        match read {
            Line::End => break,
            Line::Whole if line.trim_ascii().is_empty() => {}
            Line::Whole => {
                let text = std::str::from_utf8(&line).map_err(|_| fault("not UTF-8"))?;
                let event = event(text).map_err(|reason| fault(&reason))?;
                if take(number, event)? == Reader::Gone {
                    break;
                }
            }
            Line::TooLong => {
                return Err(fault(&format!(
                    "the line is longer than {MAX_EVENT_BYTES} bytes"
                )));
            }
        }
    }
    Ok(())
}

fn unix_ns(time: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(time).ok()?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}
