//! `evbus status`: the state of a running host and its destinations.

mod table;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use evbus::control::{ControlError, DestinationStatus, HostStatus, Status, StatusAnswer};
use evbus::sockets::SaltMasterStatus;
use evbus_report::{counted, size};
use tokio::time::{MissedTickBehavior, interval};

use super::exit::{Exit, note};
use super::host_options::duration;
use super::host_place::ControlPlace;
use super::output::{Reader, json_line, terminal_size, wants_colour, write};
use table::table;

/// Show the state of a running host and its destinations
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus status --sock-dir /run/evbus
  evbus status --state-dir /var/lib/evbus --watch
  evbus status --sock-dir /run/evbus --json | jq '.destinations[] | select(.state != \"connected\")'

QUEUED counts every event that is not settled; ON DISK, RETRYING and IN FLIGHT are parts of it. OLDEST \
is the time since the oldest of them was fired. NEXT TRY is the time until a paused destination is tried \
again, with `(asked)` if its plugin asked for the wait. LAST ERROR is cleared when the destination recovers; \
the reason of a dead letter stays. DEAD DROPPED counts dead letters that were dropped because there were too \
many. A narrow terminal shows the last error below its row and leaves out less important columns.

Exit codes: 0 success; 1 if no host answers; 2 wrong usage.")]
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
    /// Repeat at this interval, until Ctrl-C: seconds, or with units such as 30s, 5m, 7d; without a
    /// value every 2 seconds
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "2s", value_parser = period)]
    watch: Option<Duration>,
}

/// Parses a period that is long enough not to burden the host.
fn period(text: &str) -> Result<Duration, String> {
    let period = duration(text)?;
    if period < Duration::from_millis(100) {
        return Err("expected at least 100ms".to_owned());
    }
    Ok(period)
}

pub(super) async fn run(args: StatusArgs) -> Result<(), Exit> {
    let place = ControlPlace::find(args.sock_dir.as_ref(), args.state_dir.as_ref())?;
    let answer = ask(&place).await.map_err(|error| place.exit(&error))?;
    let Some(period) = args.watch else {
        return Display::Once.show(&answer, args.json).map(|_| ());
    };
    tokio::select! {
        watched = watch(&place, answer, period, args.json) => watched,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Asks on a new connection each time, because a host closes idle ones.
async fn ask(place: &ControlPlace) -> Result<StatusAnswer, ControlError> {
    place.connect().await?.status().await
}

async fn watch(
    place: &ControlPlace,
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
        answer = ask(place)
            .await
            .map_err(|error| Exit::failed(format!("the host no longer answers: {error}")))?;
    }
}

/// How an answer is displayed.
enum Display {
    /// Below earlier output.
    Once,
    /// In place of the previous answer.
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
    // If standard error is closed, nobody wants this line.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A screen that is drawn over the previous one in one write, so that nothing flickers. The terminal cuts
/// lines that are too long.
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

/// Reports the state of the host itself and faults of its stores.
fn summary(status: &Status, mut say: impl FnMut(String), mut warn: impl FnMut(String)) {
    say(host_line(&status.host, status.destinations.len()));
    for master in &status.host.salt_masters {
        say(master_line(master));
    }
    let harmed = |lane: &&DestinationStatus| lane.damaged + lane.lost > 0;
    for lane in status.destinations.iter().filter(harmed) {
        warn(format!(
            "destination {}[{}] {}: {} damaged on disk, {} lost",
            lane.provider,
            lane.index,
            lane.pattern,
            count(lane.damaged, "event"),
            lane.lost
        ));
    }
}

/// The line of a Salt master: its directory, its connection and its events.
fn master_line(master: &SaltMasterStatus) -> String {
    let state = if master.connected {
        "connected"
    } else {
        "not connected"
    };
    format!(
        "Salt master at {}: {state}, {} received, {} dropped, {} filtered out, connection lost {}",
        master.dir.display(),
        count(master.events, "event"),
        master.dropped,
        master.filtered,
        count(master.gaps, "time"),
    )
}

fn host_line(host: &HostStatus, destinations: usize) -> String {
    let mut line = format!(
        "evbus {}, pid {}, up {}: {}, {}, {}, {} received on the sockets",
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
        let _ = write!(line, ", {} in {}", size(dir.bytes), dir.path.display());
    }
    let most = host.intake.most_connections;
    if most > 0 && host.intake.connections >= most {
        let _ = write!(line, ", all {most} connections for senders in use");
    }
    let apart = [
        (host.listeners.cut_off, "slow listener", "cut off"),
        (
            host.listeners.refused + host.intake.refused,
            "connection",
            "refused",
        ),
        (host.turned_away(), "connection", "turned away"),
        (
            host.intake.lost_sync + host.intake.unfinished,
            "connection",
            "closed for bad frames",
        ),
        (host.events.unmatched, "event", "unmatched"),
        (host.events.undecided, "event", "undecided"),
        (host.intake.not_kept, "event", "not kept"),
        (host.intake.faults, "invalid frame", "skipped"),
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

/// A duration in seconds as one word, such as `1h2m3s`.
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

#[cfg(test)]
mod tests {
    use super::*;

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
