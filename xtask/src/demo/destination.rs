//! A destination of the demo: what it should receive, and what it did.
//!
//! What it should receive is worked out here from the patterns alone, without the host or its match
//! plugins, which are what the demo puts to the test.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use super::event::Event;
use crate::failure::Failure;

/// One entry of the acct file.
#[derive(Debug)]
pub(super) struct Destination {
    pattern: String,
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end is not written yet.
    pending: Vec<u8>,
    expected: usize,
    received: usize,
    missing: Vec<Event>,
    unexpected: Vec<String>,
}

impl Destination {
    /// Reads the destinations of an acct file, and which of the events each should receive. The file must be as simple
    /// as the demo's: a line `PATTERN:` and, below it, a line `path: FILE`.
    pub(super) fn read_all(acct: &str, events: &[Event]) -> Result<Vec<Self>, String> {
        let mut destinations: Vec<Self> = Vec::new();
        let mut pattern = None;
        for line in acct.lines().map(str::trim) {
            if line.starts_with('#') {
                continue;
            }
            if let Some(key) = line.strip_suffix(':') {
                pattern = Some(unquote(key));
            } else if let Some(path) = line.strip_prefix("path:") {
                let pattern = pattern
                    .take()
                    .ok_or_else(|| format!("expected a pattern above `{line}`"))?;
                destinations.push(Self::new(pattern, unquote(path).into(), events)?);
            }
        }
        if destinations.is_empty() {
            return Err("expected destinations: `PATTERN:`, and below it `path: FILE`".to_owned());
        }
        Ok(destinations)
    }

    fn new(pattern: &str, path: PathBuf, events: &[Event]) -> Result<Self, String> {
        if pattern.contains('[') {
            return Err(format!(
                "found the pattern `{pattern}`, expected none with sets: the demo's own matching \
                 knows only * and ?"
            ));
        }
        let missing: Vec<Event> = events
            .iter()
            .filter(|event| matches(pattern.as_bytes(), event.profile.as_bytes()))
            .cloned()
            .collect();
        Ok(Self {
            pattern: pattern.to_owned(),
            path,
            file: None,
            pending: Vec::new(),
            expected: missing.len(),
            received: 0,
            missing,
            unexpected: Vec::new(),
        })
    }

    /// Reads what was written since the last call; `show` gets the pattern and every event.
    pub(super) fn receive(
        &mut self,
        mut show: impl FnMut(&str, &Event) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(Failure::file("open", &self.path)(error)),
            }
        }
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut self.pending)
                .map_err(Failure::file("read", &self.path))?;
        }
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        let lines: Vec<u8> = self.pending.drain(..=end).collect();
        for line in String::from_utf8_lossy(&lines).lines() {
            self.take(line, &mut show)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        line: &str,
        show: &mut impl FnMut(&str, &Event) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.received += 1;
        let Ok(event) = Event::parse(line) else {
            self.unexpected.push(line.to_owned());
            return Ok(());
        };
        show(&self.pattern, &event)?;
        match self.missing.iter().position(|missing| *missing == event) {
            Some(index) => {
                self.missing.remove(index);
            }
            None => self.unexpected.push(line.to_owned()),
        }
        Ok(())
    }

    /// The pattern of the acct file.
    pub(super) fn pattern(&self) -> &str {
        &self.pattern
    }

    /// How many events it should receive.
    pub(super) fn expected(&self) -> usize {
        self.expected
    }

    /// How many lines it received.
    pub(super) fn received(&self) -> usize {
        self.received
    }

    /// The events that it should have received but has not.
    pub(super) fn missing(&self) -> &[Event] {
        &self.missing
    }

    /// Lines that are not an event it should have received, or that repeat one.
    pub(super) fn unexpected(&self) -> &[String] {
        &self.unexpected
    }

    /// Whether it received exactly what it should.
    pub(super) fn is_well(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.pending.is_empty()
    }
}

fn unquote(text: &str) -> &str {
    text.trim_start_matches("- ").trim().trim_matches('"')
}

/// Whether a pattern with `*` and `?` matches a whole name.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => matches(rest, name),
        (Some((b'*', rest)), Some((_, shorter))) => {
            matches(rest, name) || matches(pattern, shorter)
        }
        (Some((b'?', rest)), Some((_, shorter))) => matches(rest, shorter),
        (Some((wanted, rest)), Some((found, shorter))) => wanted == found && matches(rest, shorter),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    const RUN: &str = r#"{"profile":"idem-run","body":{"n":1}}"#;
    const STATUS: &str = r#"{"profile":"idem-status","body":{"n":2}}"#;

    fn events() -> Vec<Event> {
        [RUN, RUN, STATUS]
            .map(|line| Event::parse(line).expect("is one"))
            .to_vec()
    }

    /// A destination for `idem-run` after it received these lines.
    fn received(lines: &[&str]) -> Destination {
        let dir = tempfile::tempdir().expect("makes");
        let path = dir.path().join("runs.jsonl");
        let mut destination =
            Destination::new("idem-run", path.clone(), &events()).expect("is plain");
        destination
            .receive(|_, _| Ok(()))
            .expect("waits for the file");
        let mut file = fs::File::create(&path).expect("makes");
        for line in lines {
            let (begin, end) = line.split_at(3);
            for part in [begin, end, "\n"] {
                file.write_all(part.as_bytes()).expect("writes");
                destination.receive(|_, _| Ok(())).expect("reads");
            }
        }
        destination
    }

    #[test]
    fn every_event_once_is_well() {
        let destination = received(&[RUN, RUN]);
        assert!(destination.is_well(), "{destination:?}");
        assert_eq!((destination.expected(), destination.received()), (2, 2));
    }

    #[test]
    fn a_missing_event_is_found() {
        let destination = received(&[RUN]);
        assert!(!destination.is_well());
        assert_eq!(destination.missing(), &events()[..1]);
    }

    #[test]
    fn an_event_too_many_is_found() {
        let destination = received(&[RUN, RUN, RUN]);
        assert!(!destination.is_well());
        assert_eq!(destination.unexpected(), [RUN]);
    }

    #[test]
    fn an_event_of_another_profile_or_body_is_found() {
        let changed = RUN.replace('1', "3");
        for line in [STATUS, &changed, "nonsense"] {
            let destination = received(&[RUN, RUN, line]);
            assert_eq!(destination.unexpected(), [line]);
            assert!(!destination.is_well());
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_well() {
        let dir = tempfile::tempdir().expect("makes");
        let path = dir.path().join("x.jsonl");
        fs::write(&path, "{").expect("writes");
        let mut destination = Destination::new("x", path, &events()).expect("is plain");
        destination.receive(|_, _| Ok(())).expect("reads");
        assert!(!destination.is_well());
    }

    #[test]
    fn patterns_match_as_shell_patterns_do() {
        let check = |pattern: &str, name: &str, expected| {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        };
        check("idem-*", "idem-run", true);
        check("idem-*", "idem-", true);
        check("idem-*", "idem", false);
        check("*-run", "idem-run", true);
        check("*-run", "idem-runs", false);
        check("i?em*r*n", "idem-run", true);
        check("", "x", false);
        check("default", "default", true);
    }

    #[test]
    fn the_demos_acct_file_covers_what_the_demo_shows() {
        let events = crate::workspace::root().join(super::super::EVENTS);
        let events = Event::read_all(&events).expect("is there");
        assert_eq!(events.len(), 33);
        let acct = crate::workspace::root().join(super::super::ACCT_FILE);
        let acct = fs::read_to_string(acct).expect("is there");
        let destinations = Destination::read_all(&acct, &events).expect("is plain");
        let counts: Vec<_> = destinations
            .iter()
            .map(|destination| (destination.pattern(), destination.expected()))
            .collect();
        // Counted in the recording by hand.
        assert_eq!(
            counts,
            [
                ("idem-*", 28),
                ("idem-status", 4),
                ("idem-run", 4),
                ("default", 1),
                ("log*", 4)
            ]
        );
    }
}
