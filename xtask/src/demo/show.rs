//! What the demo prints: a line per event and destination, and the summary.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use super::destination::Destination;
use super::event::Event;
use crate::failure::Failure;

/// Colours that are readable on black and on white, one for each destination.
const COLOURS: [&str; 5] = ["36", "32", "35", "33", "34"];
const GOOD: &str = "32";
const BAD: &str = "31";
const FAINT: &str = "2";

/// How many faults of a destination are shown; the table contains their number.
const SHOWN: usize = 10;
const MESSAGE_WIDTH: usize = 60;

/// Standard output, in colour where it is a terminal and `NO_COLOR` is not set.
#[derive(Debug)]
pub(super) struct Screen {
    colours: bool,
}

impl Screen {
    /// Checks whether colours are wanted.
    pub(super) fn open() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            colours: io::stdout().is_terminal() && !set("NO_COLOR"),
        }
    }

    /// Says what will happen.
    pub(super) fn introduce(
        events: usize,
        destinations: usize,
        events_file: &str,
        acct_file: &str,
    ) -> Result<(), Failure> {
        print(&format!(
            "{events} events of a real Idem run ({events_file}) go to the {destinations} \
             destinations of {acct_file}"
        ))
    }

    /// Says that the host is up, and what the columns of the lines that follow are.
    pub(super) fn ready(&self, took: Duration) -> Result<(), Failure> {
        print(&format!("the host was ready after {} ms", took.as_millis()))?;
        let header = line("received by", "event", "message");
        print(&self.paint(FAINT, header.trim_end()))
    }

    /// Shows an event that a destination received.
    pub(super) fn event(&self, index: usize, pattern: &str, event: &Event) -> Result<(), Failure> {
        let text = line(pattern, &event.profile, &event.brief(MESSAGE_WIDTH));
        print(&self.paint(COLOURS[index % COLOURS.len()], &text))
    }

    /// Shows what every destination should have received and did.
    pub(super) fn summary(
        &self,
        destinations: &[Destination],
        events: usize,
        took: Duration,
    ) -> Result<(), Failure> {
        print("")?;
        print(&format!(
            "{:<14}{:>10}{:>10}",
            "destination", "expected", "received"
        ))?;
        for destination in destinations {
            let verdict = match (destination.missing().len(), destination.unexpected().len()) {
                (0, 0) if destination.is_well() => self.paint(GOOD, "ok"),
                (0, 0) => self.paint(BAD, "a line is incomplete"),
                (missing, unexpected) => {
                    self.paint(BAD, &format!("{missing} missing, {unexpected} unexpected"))
                }
            };
            print(&format!(
                "{:<14}{:>10}{:>10}  {verdict}",
                destination.pattern(),
                destination.expected(),
                destination.received()
            ))?;
        }
        for destination in destinations {
            faults(destination)?;
        }
        let seconds = took.as_secs_f64();
        let all: usize = destinations.iter().map(Destination::expected).sum();
        let verdict = if destinations.iter().all(Destination::is_well) {
            self.paint(
                GOOD,
                &format!(
                    "All {events} events arrived everywhere they should: {all} deliveries in \
                     {seconds:.2} s."
                ),
            )
        } else {
            self.paint(BAD, "Not every event arrived where it should.")
        };
        print(&format!("\n{verdict}"))
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn line(destination: &str, profile: &str, message: &str) -> String {
    format!("{destination:<12}  {profile:<12}  {message}")
}

fn faults(destination: &Destination) -> Result<(), Failure> {
    let pattern = destination.pattern();
    for event in destination.missing().iter().take(SHOWN) {
        let (profile, body) = (&event.profile, &event.body);
        print(&format!("missing at {pattern}: {profile} {body}"))?;
    }
    for line in destination.unexpected().iter().take(SHOWN) {
        print(&format!("unexpected at {pattern}: {line}"))?;
    }
    Ok(())
}

/// Prints a line and flushes, because a pipe would delay it.
fn print(line: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(Failure::io("write to standard output"))
}
