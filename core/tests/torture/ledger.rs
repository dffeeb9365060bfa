//! What was fired, what of it was acknowledged, and whether it arrived.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::destinations::{DESTINATIONS, Destination, PROFILES, WAITING};
use super::random::Random;

/// The events of one `evbus put`.
pub(crate) struct Put {
    number: usize,
    /// The host's life in which it was fired.
    life: usize,
    /// Profiles and bodies.
    events: Vec<(&'static str, String)>,
    pub(crate) acknowledged: bool,
}

impl Put {
    pub(crate) fn new(number: usize, life: usize, random: &mut Random) -> Self {
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
            life,
            events,
            acknowledged: false,
        }
    }

    /// A single event, for the destination at which programs wait.
    pub(crate) fn waiting(number: usize, life: usize) -> Self {
        Self {
            number,
            life,
            events: vec![(WAITING, format!("[{number},0,\"\"]"))],
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

/// What may be lost at the end of a life.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Life {
    /// It ended by `kill -9`, or had no room on disk for the events in memory.
    pub(crate) took_memory_with_it: bool,
    /// How many events `drop_newest` had dropped, if the host was asked after its last answer to a program.
    pub(crate) dropped: Option<u64>,
}

/// All puts of a run, by number.
#[derive(Default)]
pub(crate) struct Ledger(BTreeMap<usize, Put>);

/// What was found at the destinations.
#[derive(Default)]
pub(crate) struct Arrived {
    pub(crate) duplicates: usize,
    /// Acknowledged events that are missing, and that the host has counted.
    pub(crate) counted: usize,
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

    /// Compares with the files of the destinations, and panics if they are wrong. `harmed` is how many events of each
    /// destination the host has counted as damaged or lost.
    pub(crate) fn check(&self, home: &Path, lives: &[Life], harmed: &[u64]) -> Arrived {
        let mut arrived = Arrived::default();
        // An event has the same id wherever and however often it arrives.
        let mut ids = HashMap::new();
        let mut contradictions = String::new();
        for (destination, harmed) in DESTINATIONS.iter().zip(harmed) {
            let seen = self.read(home, destination, &mut ids, &mut arrived);
            let mut missing = Vec::new();
            let mut dropped = vec![0; lives.len()];
            for put in self.0.values().filter(|put| put.acknowledged) {
                let life = lives[put.life];
                for (event, (profile, _)) in put.events.iter().enumerate() {
                    let position = (put.number, event);
                    if !destination.wants(profile)
                        || seen.contains(&position)
                        || (!destination.durable && life.took_memory_with_it)
                    {
                        continue;
                    }
                    if destination.drops {
                        dropped[put.life] += 1;
                    } else {
                        missing.push(position);
                    }
                }
            }
            arrived.counted += missing.len();
            if missing.len() as u64 > *harmed {
                let _ = writeln!(
                    contradictions,
                    "{} acknowledged events are not at {}, and the host counts {harmed} as damaged or lost: {:?} ...",
                    missing.len(),
                    destination.pattern,
                    &missing[..missing.len().min(10)]
                );
            }
            for (number, (life, missing)) in lives.iter().zip(dropped).enumerate() {
                if life
                    .dropped
                    .is_some_and(|dropped| missing > dropped + harmed)
                {
                    let _ = writeln!(
                        contradictions,
                        "{missing} acknowledged events of life {number} are not at {}, and the host counted {:?} as dropped, {harmed} as damaged or lost",
                        destination.pattern, life.dropped
                    );
                }
            }
        }
        assert!(contradictions.is_empty(), "{contradictions}");
        arrived
    }

    /// The positions of all events at a destination.
    fn read(
        &self,
        home: &Path,
        destination: &Destination,
        ids: &mut HashMap<(usize, usize), String>,
        arrived: &mut Arrived,
    ) -> HashSet<(usize, usize)> {
        let mut seen = HashSet::new();
        let mut last: HashMap<usize, usize> = HashMap::new();
        let files = destination.files().into_iter();
        for line in files.flat_map(|file| lines(&home.join(file))) {
            let (position, profile) = self.find(&line);
            assert!(
                destination.wants(profile),
                "{profile} at {}",
                destination.pattern
            );
            let id = line["id"].as_str().unwrap().to_owned();
            let known = ids.entry(position).or_insert_with(|| id.clone());
            assert_eq!(*known, id, "the id of event {position:?}");
            if !seen.insert(position) {
                arrived.duplicates += 1;
            } else if destination.ordered {
                let before = last.insert(position.0, position.1);
                assert!(
                    before < Some(position.1),
                    "{position:?} came behind {before:?}"
                );
            }
        }
        seen
    }

    /// Identifies an event, which must be exactly what was fired.
    fn find(&self, line: &Value) -> ((usize, usize), &'static str) {
        let body = line["body"].as_str().unwrap();
        let mut parts = body.trim_start_matches('[').split(',');
        let mut number = || -> usize { parts.next().unwrap().parse().unwrap() };
        let position = (number(), number());
        let (profile, fired) = &self.0[&position.0].events[position.1];
        assert!(body == fired, "the body of event {position:?} is {body}");
        assert_eq!(line["profile"], *profile);
        (position, profile)
    }
}

/// The whole lines of a file. A plugin that is killed while it writes leaves the beginning of a line, and the next
/// line follows directly.
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
