//! What was fired, what of it was acknowledged, and whether it arrived.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::damage::Report;
use super::random::Random;

/// A destination of the torture.
pub(crate) struct Destination {
    pub(crate) dir: &'static str,
    pub(crate) pattern: &'static str,
    /// How the names of its store's files begin; part of a hash follows.
    pub(crate) store: &'static str,
    pub(crate) policy: &'static str,
    ordered: bool,
}

pub(crate) static DESTINATIONS: [Destination; 3] = [
    Destination {
        dir: "a",
        pattern: "idem-*",
        store: "fixture-good-idem-_-",
        policy: "queue: {events: 500}",
        ordered: false,
    },
    Destination {
        dir: "b",
        pattern: "*",
        store: "fixture-good-_-",
        policy: "ordered: true, queue: {events: 500}",
        ordered: true,
    },
    Destination {
        dir: "c",
        pattern: "*-run",
        store: "fixture-good-_-run-",
        policy: "when_full: spill, queue: {events: 50}",
        ordered: false,
    },
];

const PROFILES: [&str; 4] = ["idem-run", "idem-state", "salt-run", "salt-job"];

impl Destination {
    fn wants(&self, profile: &str) -> bool {
        match self.pattern.split_once('*') {
            Some((start, end)) => profile.starts_with(start) && profile.ends_with(end),
            None => profile == self.pattern,
        }
    }
}

/// The events of one `evbus put`.
pub(crate) struct Put {
    number: usize,
    /// Profiles and bodies.
    events: Vec<(&'static str, String)>,
    pub(crate) acknowledged: bool,
}

impl Put {
    pub(crate) fn new(number: usize, random: &mut Random) -> Self {
        let events = (0..random.within(1..301))
            .map(|event| {
                // 10 bytes to 20 KB, as many small ones as large ones.
                let scale = 10 << random.below(11);
                let size = scale + random.below(scale);
                let fill: String = (0..size / 8).fold(String::new(), |mut fill, _| {
                    let _ = write!(fill, "{:08x}", random.next() >> 32);
                    fill
                });
                let profile = PROFILES[random.index(PROFILES.len())];
                (profile, format!("[{number},{event},\"{fill}\"]"))
            })
            .collect();
        Self {
            number,
            events,
            acknowledged: false,
        }
    }

    /// Lines for `evbus put --events`.
    pub(crate) fn lines(&self) -> String {
        self.events
            .iter()
            .fold(String::new(), |mut lines, (profile, body)| {
                let _ = writeln!(lines, "{{\"profile\": \"{profile}\", \"body\": {body}}}");
                lines
            })
    }
}

/// All puts of a run, by number.
#[derive(Default)]
pub(crate) struct Ledger(BTreeMap<usize, Put>);

/// What was found at the destinations.
#[derive(Default)]
pub(crate) struct Arrived {
    pub(crate) duplicates: usize,
    /// Acknowledged events that are not there.
    pub(crate) missing: usize,
}

impl Ledger {
    pub(crate) fn enter(&mut self, put: Put) {
        self.0.insert(put.number, put);
    }

    pub(crate) fn fired(&self) -> usize {
        self.0.values().map(|put| put.events.len()).sum()
    }

    pub(crate) fn acknowledged(&self) -> usize {
        let acknowledged = self.0.values().filter(|put| put.acknowledged);
        acknowledged.map(|put| put.events.len()).sum()
    }

    /// Compares with what is in the files of the destinations; panics where it is not as it must be.
    pub(crate) fn check(&self, home: &Path, reports: &[Report]) -> Arrived {
        let mut arrived = Arrived::default();
        // An event has one id, wherever and however often it arrives.
        let mut ids = HashMap::new();
        for (destination, report) in DESTINATIONS.iter().zip(reports) {
            let mut seen = HashSet::new();
            let mut last: HashMap<usize, usize> = HashMap::new();
            for line in lines(&home.join(destination.dir).join("out.jsonl")) {
                let (place, profile) = self.find(&line);
                assert!(
                    destination.wants(profile),
                    "{profile} at {}",
                    destination.pattern
                );
                let id = line["id"].as_str().unwrap().to_owned();
                let known = ids.entry(place).or_insert_with(|| id.clone());
                assert_eq!(*known, id, "the id of event {place:?}");
                if !seen.insert(place) {
                    arrived.duplicates += 1;
                } else if destination.ordered {
                    let before = last.insert(place.0, place.1);
                    assert!(before < Some(place.1), "{place:?} came behind {before:?}");
                }
            }
            let missing: Vec<(usize, usize)> = (self.0.values())
                .filter(|put| put.acknowledged)
                .flat_map(|put| {
                    let wanted = put.events.iter().enumerate();
                    wanted
                        .filter(|(_, (profile, _))| destination.wants(profile))
                        .map(|(event, _)| (put.number, event))
                })
                .filter(|place| !seen.contains(place))
                .collect();
            assert!(
                missing.len() as u64 <= report.events,
                "{} acknowledged events are not at {}, and the host told of {}: {missing:?}",
                missing.len(),
                destination.pattern,
                report.events
            );
            arrived.missing += missing.len();
        }
        arrived
    }

    /// Which event it is, and its profile; it must be exactly what was fired.
    fn find(&self, line: &Value) -> ((usize, usize), &'static str) {
        let body = line["body"].as_str().unwrap();
        let mut parts = body.trim_start_matches('[').split(',');
        let mut number = || -> usize { parts.next().unwrap().parse().unwrap() };
        let place = (number(), number());
        let (profile, fired) = &self.0[&place.0].events[place.1];
        assert!(body == fired, "the body of event {place:?} is {body}");
        assert_eq!(line["profile"], *profile);
        (place, profile)
    }
}

/// The whole lines of a file. A plugin that is killed while it writes leaves the beginning of a
/// line, and the next one goes on behind that.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| {
            // Quotes within a line's strings are escaped.
            let begin = line.rfind("{\"").unwrap_or_default();
            serde_json::from_str(&line[begin..]).unwrap_or_else(|_| panic!("no JSON: {line}"))
        })
        .collect()
}
