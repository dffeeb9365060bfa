//! `evbus status`: how a running host and its destinations are.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Args;
use evbus::control::{Client, ControlError, DestinationStatus, HostStatus, Status, StatusAnswer};
use evbus::counted;
use evbus::salt::SaltMasterStatus;
use tokio::time::{MissedTickBehavior, interval};

use super::exit::{Exit, note};
use super::host_options::seconds;
use super::host_place::control_dir;
use super::output::{
    Reader, columns, json_line, terminal_size, wants_colour, without_margins, write,
};

/// Show how a running host and its destinations are
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus status --sock-dir /run/evbus
  evbus status --state-dir /var/lib/evbus --watch
  evbus status --sock-dir /run/evbus --json | jq '.destinations[] | select(.state != \"connected\")'

QUEUED counts every event that is not settled; ON DISK, RETRYING and IN FLIGHT are parts of it. OLDEST
is how long ago the oldest of them was fired. NEXT TRY is the time until a destination that pauses is tried
again, `(asked)` where its plugin asked for that long. LAST ERROR is cleared when the destination has recovered;
the reason of a dead letter stays. DEAD DROPPED counts dead letters that were dropped because there were too
many. Exits with status 1 if no host answers.")]
pub(super) struct StatusArgs {
    /// Socket directory of the host [env: `EVBUS_SOCK_DIR`]
    #[arg(long, value_name = "D", conflicts_with = "state_dir")]
    sock_dir: Option<PathBuf>,
    /// State directory of the host [env: `EVBUS_STATE_DIR`] [default: as for `evbus run`]
    #[arg(long, value_name = "D")]
    state_dir: Option<PathBuf>,
    /// Print the host's answer as JSON, one line per answer
    #[arg(long)]
    json: bool,
    /// Ask again every S seconds, until Ctrl-C
    #[arg(long, value_name = "S", num_args = 0..=1, default_missing_value = "2", value_parser = period)]
    watch: Option<Duration>,
}

/// Reads a number of seconds that leaves the host in peace.
fn period(text: &str) -> Result<Duration, String> {
    let period = seconds(text)?;
    if period < Duration::from_millis(100) {
        return Err("expected 0.1 seconds or more".to_owned());
    }
    Ok(period)
}

pub(super) async fn run(args: StatusArgs) -> Result<(), Exit> {
    let dir = control_dir(args.sock_dir.as_ref(), args.state_dir.as_ref())?;
    let answer = ask(&dir)
        .await
        .map_err(|error| Exit::failed(error.to_string()))?;
    let Some(period) = args.watch else {
        return Display::Once.show(&answer, args.json).map(|_| ());
    };
    tokio::select! {
        watched = watch(&dir, answer, period, args.json) => watched,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// A connection for each question: a host ends those that are silent.
async fn ask(dir: &std::path::Path) -> Result<StatusAnswer, ControlError> {
    Client::connect(dir).await?.status().await
}

async fn watch(
    dir: &std::path::Path,
    mut answer: StatusAnswer,
    period: Duration,
    json: bool,
) -> Result<(), Exit> {
    let mut display = match terminal_size() {
        Some(_) if !json => Display::Screen { is_clear: false },
        _ => Display::Once,
    };
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        if display.show(&answer, json)? == Reader::Gone {
            return Ok(());
        }
        ticks.tick().await;
        answer = ask(dir)
            .await
            .map_err(|error| Exit::failed(format!("the host is gone: {error}")))?;
    }
}

/// How an answer is shown.
enum Display {
    /// Below what was there.
    Once,
    /// In place of the last one.
    Screen { is_clear: bool },
}

impl Display {
    fn show(&mut self, answer: &StatusAnswer, json: bool) -> Result<Reader, Exit> {
        if json {
            return json_line(&answer.json);
        }
        let size = terminal_size();
        let mut lines = table(&answer.status, size.map(|(width, _)| width), wants_colour());
        match self {
            Self::Once => {
                lines.push(String::new());
                let shown = write(lines.join("\n").as_bytes())?;
                summary(&answer.status, |line| note_line(&line), |line| note(&line));
                Ok(shown)
            }
            Self::Screen { is_clear } => {
                let mut head = Vec::new();
                let mut tail = Vec::new();
                summary(
                    &answer.status,
                    |line| head.push(line),
                    |line| tail.push(format!("note: {line}")),
                );
                head.push(String::new());
                let all = [head, lines, tail].concat();
                let height = size.map_or(usize::MAX, |(_, height)| usize::from(height));
                let clear = if std::mem::replace(is_clear, true) {
                    ""
                } else {
                    "\x1b[2J"
                };
                write(format!("{clear}{}", frame(&all, height)).as_bytes())
            }
        }
    }
}

fn note_line(line: &str) {
    // Whoever closed standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A picture that is drawn over the one before, in one write, so that nothing flickers. Lines that
/// are too long are cut by the terminal.
fn frame(lines: &[String], height: usize) -> String {
    let (shown, hidden) = if lines.len() < height {
        (lines, 0)
    } else {
        let shown = height.saturating_sub(2).min(lines.len());
        (&lines[..shown], lines.len() - shown)
    };
    let mut text = "\x1b[?7l\x1b[H".to_owned();
    for line in shown {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}\x1b[K");
    }
    if hidden > 0 {
        let _ = writeln!(text, "{}\x1b[K", counted(hidden, "more line", "more lines"));
    }
    text.push_str("\x1b[J\x1b[?7h");
    text
}

/// Says how the host itself is, and what is wrong with its stores.
fn summary(status: &Status, mut say: impl FnMut(String), mut warn: impl FnMut(String)) {
    say(host_line(&status.host, status.destinations.len()));
    for master in &status.host.salt_masters {
        say(master_line(master));
    }
    let harmed = |lane: &&DestinationStatus| lane.damaged + lane.lost > 0;
    for lane in status.destinations.iter().filter(harmed) {
        warn(format!(
            "destination {}[{}] {}: events damaged on disk: {}, lost: {}",
            lane.provider, lane.index, lane.pattern, lane.damaged, lane.lost
        ));
    }
}

/// Where a Salt master's events come from, and how many.
fn master_line(master: &SaltMasterStatus) -> String {
    let state = if master.connected {
        "connected"
    } else {
        "not connected"
    };
    format!(
        "Salt master at {}: {state}, {} taken, {} dropped, {} filtered out, connection lost {}",
        master.dir.display(),
        count(master.events, "event"),
        master.dropped,
        master.filtered,
        count(master.gaps, "time"),
    )
}

fn host_line(host: &HostStatus, destinations: usize) -> String {
    let mut line = format!(
        "evbus {}, pid {}, up {}: {}, {}, {}, {} taken from the sockets",
        host.version,
        host.pid,
        age(host.uptime_s),
        count(destinations as u64, "destination"),
        count(host.plugins.loaded as u64, "plugin"),
        count(host.listeners.listeners as u64, "listener"),
        count(host.intake.events, "event"),
    );
    // Writing to a String cannot fail.
    if let Some(dir) = &host.state_dir {
        let mib = dir.bytes.div_ceil(1024 * 1024);
        let _ = write!(line, ", {mib} MiB in {}", dir.path.display());
    }
    let apart = [
        (host.listeners.cut_off, "slow listener", "cut off"),
        (
            host.listeners.refused + host.intake.refused,
            "connection",
            "refused",
        ),
        (host.listeners.turned_away, "listener", "turned away"),
        (
            host.intake.lost_sync + host.intake.unfinished,
            "connection",
            "closed for bad frames",
        ),
        (host.events.unmatched, "event", "unmatched"),
        (host.events.undecided, "event", "undecided"),
        (host.intake.not_kept, "event", "not kept"),
        (host.intake.faults, "frame", "skipped without an event"),
        (
            host.listeners.unencodable,
            "event",
            "not published to listeners",
        ),
    ];
    for (number, of, what) in apart {
        if number > 0 {
            let _ = write!(line, ", {} {what}", count(number, of));
        }
    }
    if !host.run_name.is_empty() {
        let _ = write!(line, ", run name {}", host.run_name);
    }
    line
}

fn count(number: u64, of: &str) -> String {
    counted(number, of, &format!("{of}s"))
}

/// Seconds as one word: `1h2m3s`.
fn age(seconds: f64) -> String {
    let Ok(age) = Duration::try_from_secs_f64(seconds) else {
        return "-".to_owned();
    };
    if age < Duration::from_secs(10) {
        return format!("{seconds:.1}s");
    }
    let whole = humantime::format_duration(Duration::from_secs(age.as_secs()));
    whole.to_string().replace(' ', "")
}

/// The table: on a terminal the last error is cut to its width.
fn table(status: &Status, width: Option<u16>, colour: bool) -> Vec<String> {
    let all = &status.destinations;
    let part = |header: &[&str], right: &[usize], row: fn(&DestinationStatus) -> Vec<String>| {
        columns(header, right, all.iter().map(row).collect(), None)
    };
    let names = part(&["provider", "index", "pattern"], &[1], names);
    let condition = part(&["state"], &[], |lane| vec![lane.state.clone()]);
    let shown: Vec<&Column> = (NUMBERS.iter())
        .filter(|column| column.always || all.iter().any(|lane| (column.of)(lane).is_some()))
        .collect();
    let header: Vec<&str> = shown.iter().map(|column| column.name).collect();
    let right: Vec<usize> = (0..shown.len()).collect();
    let rows = all.iter().map(|lane| {
        let texts = shown.iter().map(|column| (column.of)(lane));
        texts
            .map(|text| text.unwrap_or_else(|| "-".to_owned()))
            .collect()
    });
    let numbers = columns(&header, &right, rows.collect(), None);
    // Every line is as wide as its header, which is ASCII.
    let used: usize = [&names, &condition, &numbers]
        .iter()
        .filter_map(|lines| lines.first())
        .map(String::len)
        .sum();
    let rest = width.map(|width| {
        let used = u16::try_from(used).unwrap_or(u16::MAX);
        // The margin on the left goes.
        (width + 1).saturating_sub(used).max(LEAST_ERROR_WIDTH)
    });
    let errors = (all.iter()).map(|lane| vec![last_error(lane)]).collect();
    let errors = columns(&["last error"], &[], errors, rest);

    let bold = Style::new().bold();
    (0..errors.len())
        .map(|line| {
            let lane = line.checked_sub(1).and_then(|row| all.get(row));
            let (whole, state) = match lane {
                _ if !colour => (Style::new(), Style::new()),
                None => (bold, Style::new()),
                Some(lane) => (Style::new(), style_of(&lane.state)),
            };
            let text = format!(
                "{}{state}{}{state:#}{}{}",
                names[line], condition[line], numbers[line], errors[line]
            );
            format!("{whole}{}{whole:#}", without_margins(&text))
        })
        .collect()
}

fn names(lane: &DestinationStatus) -> Vec<String> {
    vec![
        lane.provider.clone(),
        lane.index.to_string(),
        lane.pattern.clone(),
    ]
}

/// Less of an error says nothing.
const LEAST_ERROR_WIDTH: u16 = 16;

/// What went wrong and how long ago, the latter first, since the end of a long line is cut.
fn last_error(lane: &DestinationStatus) -> String {
    match (&lane.last_error, lane.last_error_age_s) {
        (None, _) => "-".to_owned(),
        (Some(error), None) => error.clone(),
        (Some(error), Some(seconds)) => format!("{} ago: {error}", age(seconds)),
    }
}

/// A column of numbers, or of ages.
struct Column {
    name: &'static str,
    /// Shown though no destination has anything there.
    always: bool,
    of: fn(&DestinationStatus) -> Option<String>,
}

const fn column(
    name: &'static str,
    always: bool,
    of: fn(&DestinationStatus) -> Option<String>,
) -> Column {
    Column { name, always, of }
}

/// What happens seldom has a column only where it did, so that the table stays narrow.
const NUMBERS: [Column; 13] = [
    column("received", true, |lane| Some(lane.received.to_string())),
    column("accepted", true, |lane| Some(lane.accepted.to_string())),
    column("queued", true, |lane| Some(lane.queued.to_string())),
    column("on disk", true, |lane| text(lane.queued_on_disk)),
    column("retrying", true, |lane| text(lane.retrying)),
    column("in flight", true, |lane| text(lane.in_flight)),
    column("dead", true, |lane| Some(lane.dead_lettered.to_string())),
    column("dead dropped", false, |lane| {
        more_than_none(lane.dead_letters_dropped)
    }),
    column("dropped", true, |lane| Some(lane.dropped.to_string())),
    column("damaged", false, |lane| more_than_none(lane.damaged)),
    column("lost", false, |lane| more_than_none(lane.lost)),
    column("oldest", true, |lane| lane.oldest_age_s.map(age)),
    column("next try", false, |lane| {
        let wait = age(lane.next_attempt_s?);
        let asked = lane.paused_by.as_deref() == Some("plugin");
        Some(if asked {
            format!("{wait} (asked)")
        } else {
            wait
        })
    }),
];

fn text(number: Option<u64>) -> Option<String> {
    number.map(|number| number.to_string())
}

fn more_than_none(number: u64) -> Option<String> {
    (number > 0).then(|| number.to_string())
}

fn style_of(state: &str) -> Style {
    let colour = match state {
        "connected" => AnsiColor::Green,
        "connecting" | "disconnected" => AnsiColor::Yellow,
        "failed" => AnsiColor::Red,
        _ => return Style::new(),
    };
    Style::new().fg_color(Some(colour.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        serde_json::from_str(json).expect("it is an answer")
    }

    #[test]
    fn the_table_shows_what_a_host_of_this_version_and_of_others_says() {
        let status = status(
            r#"{"host": {"pid": 7, "new": 1}, "destinations": [
                {"provider": "kafka", "index": 0, "pattern": "idem-*", "state": "connected",
                 "received": 1200, "accepted": 1000, "dead_lettered": 1, "dropped": 0, "queued": 199,
                 "retries": 3, "instances": 1, "last_error": null},
                {"provider": "pika", "index": 1, "pattern": "*", "state": "failed", "received": 1,
                 "queued": 1, "queued_on_disk": 1, "retrying": 1, "in_flight": 0, "oldest_age_s": 3723.4,
                 "generation": 2, "damaged": 0, "last_error": "no route\nto host"}]}"#,
        );
        assert_eq!(
            table(&status, None, false),
            [
                "PROVIDER  INDEX  PATTERN  STATE      RECEIVED  ACCEPTED  QUEUED  ON DISK  RETRYING  IN FLIGHT  DEAD  DROPPED  OLDEST  LAST ERROR",
                "kafka         0  idem-*   connected      1200      1000     199        -         -          -     1        0       -  -",
                r"pika          1  *        failed            1         0       1        1         1          0     0        0  1h2m3s  no route\nto host",
            ]
        );
        let coloured = table(&status, None, true);
        assert!(
            coloured[1].contains("\x1b[32m connected \x1b[0m"),
            "{coloured:?}"
        );
        assert!(
            coloured[2].contains("\x1b[31m failed    \x1b[0m"),
            "{coloured:?}"
        );
    }

    #[test]
    fn what_happens_seldom_has_a_column_only_where_it_did() {
        let status = status(
            r#"{"destinations": [
                {"provider": "kafka", "pattern": "*", "state": "connected", "received": 5, "damaged": 2, "lost": 3},
                {"provider": "pika", "pattern": "*", "state": "failed", "next_attempt_s": 12.4, "paused_by": "host",
                 "last_error": "no route to host", "last_error_age_s": 75.2},
                {"provider": "file", "pattern": "*", "state": "connected", "next_attempt_s": 0.5, "paused_by": "plugin"}]}"#,
        );
        let lines: Vec<String> = (table(&status, None, false).iter())
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "PROVIDER INDEX PATTERN STATE RECEIVED ACCEPTED QUEUED ON DISK RETRYING IN FLIGHT DEAD DROPPED \
                 DAMAGED LOST OLDEST NEXT TRY LAST ERROR",
                "kafka 0 * connected 5 0 0 - - - 0 0 2 3 - - -",
                "pika 0 * failed 0 0 0 - - - 0 0 - - - 12s 1m15s ago: no route to host",
                "file 0 * connected 0 0 0 - - - 0 0 - - - 0.5s (asked) -",
            ]
        );
    }

    #[test]
    fn the_last_error_is_cut_to_the_terminals_width() {
        let status = status(
            r#"{"destinations": [{"provider": "p", "pattern": "*", "state": "failed",
                "last_error": "no route to host, and a long story why that may be so"}]}"#,
        );
        let lines = table(&status, Some(130), false);
        assert_eq!(lines.len(), 2);
        assert!(
            lines.iter().all(|line| line.chars().count() <= 130),
            "{lines:?}"
        );
        assert!(lines[1].contains("no route to"), "{lines:?}");
    }

    #[test]
    fn a_picture_is_no_higher_than_the_terminal() {
        let lines: Vec<String> = (0..10).map(|line| line.to_string()).collect();
        let whole = frame(&lines, 24);
        assert!(whole.contains("9\x1b[K"), "{whole:?}");
        let cut = frame(&lines, 5);
        assert_eq!(cut.matches('\n').count(), 4, "{cut:?}");
        assert!(cut.contains("7 more lines"), "{cut:?}");
    }

    #[test]
    fn ages_are_one_word() {
        for (seconds, expected) in [
            (0.04, "0.0s"),
            (9.96, "10.0s"),
            (75.9, "1m15s"),
            (-1.0, "-"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }
}
