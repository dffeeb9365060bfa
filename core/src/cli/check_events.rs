//! `evbus check --events`: validates recorded events against the documented formats.

use std::collections::BTreeMap;
use std::path::Path;

use evbus::idem::{Checked, Checker, Fault};
use evbus_files::named_file::open_given;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, BufReader};

use super::exit::{Exit, error};
use super::lines::{Line, MAX_EVENT_BYTES, read_line};
use super::output::{Reader, json_line, table};
use super::recorded::{self, EXPECTED};

/// An event as it was recorded; the other keys of a line of the provider `file` are ignored.
type Recorded = recorded::Recorded<Value>;

/// One fault, as `--json` prints it.
#[derive(Serialize)]
struct FaultLine<'a> {
    line: u64,
    profile: Option<&'a str>,
    #[serde(flatten)]
    fault: &'a Fault,
}

/// The numbers of one profile.
#[derive(Default)]
struct Tally {
    documented: bool,
    events: u64,
    faults: u64,
}

struct Report<'a> {
    file: &'a str,
    json: bool,
    profiles: BTreeMap<String, Tally>,
    /// Lines that are not events.
    unreadable: u64,
    reader: Reader,
}

/// Checks every line of a file, or of standard input for `-`.
pub(super) async fn run(file: &Path, json: bool) -> Result<(), Exit> {
    if file.as_os_str() == "-" {
        let input = BufReader::new(tokio::io::stdin());
        return check(input, "standard input", json).await;
    }
    let name = file.display().to_string();
    let opened = open_given(file)
        .map(tokio::fs::File::from_std)
        .map_err(|error| {
            Exit::failed(format!(
                "cannot read {name}: {error}; check the path of the file of recorded events"
            ))
        })?;
    check(BufReader::with_capacity(64 * 1024, opened), &name, json).await
}

async fn check(mut input: impl AsyncBufRead + Unpin, file: &str, json: bool) -> Result<(), Exit> {
    let checker = Checker::new();
    let mut report = Report {
        file,
        json,
        profiles: BTreeMap::new(),
        unreadable: 0,
        reader: Reader::There,
    };
    let mut line = Vec::new();
    let mut number = 0;
    while report.reader == Reader::There {
        number += 1;
        match read_line(&mut input, &mut line, MAX_EVENT_BYTES).await {
            Ok(Line::End) => break,
            Ok(Line::Whole) if line.trim_ascii().is_empty() => {}
            Ok(Line::Whole) => match serde_json::from_slice::<Recorded>(&line) {
                Ok(recorded) => report.event(number, &recorded, &checker)?,
                Err(error) => report.unreadable(number, &error.to_string())?,
            },
            Ok(Line::TooLong) => {
                report.unreadable(
                    number,
                    &format!("the line is longer than {MAX_EVENT_BYTES} bytes"),
                )?;
            }
            Err(error) => return Err(Exit::failed(format!("{file}: {error}"))),
        }
    }
    report.finish()
}

impl Report<'_> {
    fn event(&mut self, line: u64, event: &Recorded, checker: &Checker) -> Result<(), Exit> {
        let found = checker.check(&event.profile, &event.body);
        let tally = self.profiles.entry(event.profile.clone()).or_default();
        tally.events += 1;
        let Checked::Documented(faults) = found else {
            return Ok(());
        };
        tally.documented = true;
        tally.faults += faults.len() as u64;
        for fault in &faults {
            self.fault(line, Some(&event.profile), fault)?;
        }
        Ok(())
    }

    fn unreadable(&mut self, line: u64, reason: &str) -> Result<(), Exit> {
        self.unreadable += 1;
        if self.json {
            let fault = json!({
                "line": line, "profile": null, "pointer": "", "found": reason,
                "expected": EXPECTED,
            });
            self.reader = json_line(&fault)?;
        } else {
            error(&format!(
                "{}, line {line}: expected {EXPECTED}, but {reason}",
                self.file
            ));
        }
        Ok(())
    }

    fn fault(&mut self, line: u64, profile: Option<&str>, fault: &Fault) -> Result<(), Exit> {
        if self.json {
            self.reader = json_line(&FaultLine {
                line,
                profile,
                fault,
            })?;
        } else {
            let place = match fault.pointer.as_str() {
                "" => "the body",
                pointer => pointer,
            };
            error(&format!(
                "{}, line {line}: {}: {place}: found {}, expected {}",
                self.file,
                profile.unwrap_or_default(),
                fault.found,
                fault.expected
            ));
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Exit> {
        let sum = |of: fn(&Tally) -> u64| self.profiles.values().map(of).sum::<u64>();
        let faults = sum(|tally| tally.faults) + self.unreadable;
        if self.json {
            let undocumented = sum(|tally| if tally.documented { 0 } else { tally.events });
            json_line(&json!({
                "events": sum(|tally| tally.events),
                "undocumented": undocumented,
                "faults": faults,
            }))?;
        } else {
            let rows = self.profiles.iter().map(|(profile, tally)| {
                let (documented, faults) = if tally.documented {
                    ("yes", tally.faults.to_string())
                } else {
                    ("no", "-".to_owned())
                };
                vec![
                    profile.clone(),
                    documented.to_owned(),
                    tally.events.to_string(),
                    faults,
                ]
            });
            table(
                &["profile", "documented", "events", "faults"],
                rows.collect(),
            )?;
        }
        if faults == 0 {
            Ok(())
        } else {
            Err(Exit::silent())
        }
    }
}
