//! The events of a run of a real Salt master with real minions, as many of them as a test wants.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Value, json};

/// Whose number an event carries that is not about one minion.
const MASTER: &str = "master";

/// An event as Salt fires it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SaltEvent {
    pub tag: String,
    pub data: Value,
}

impl SaltEvent {
    /// The tag's parts, as in `salt/job/JID/ret/MINION`.
    pub fn parts(&self) -> Vec<&str> {
        self.tag.split('/').collect()
    }

    /// The minion that fired the event, else `master`.
    pub fn source(&self) -> &str {
        self.data["id"].as_str().unwrap_or(MASTER)
    }

    /// A job's return by a minion.
    pub fn is_return(&self) -> bool {
        matches!(self.parts()[..], ["salt", "job", _, "ret", _])
    }
}

/// The recorded events, in their order.
pub fn recorded() -> &'static [SaltEvent] {
    static RECORDED: OnceLock<Vec<SaltEvent>> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let path = xtask::salt::recording().expect("Salt runs");
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    })
}

/// So many events: the run again and again, each time with new job ids. Each event has a number in its data, `seq`, which
/// counts from 0 for each [`source`](SaltEvent::source). Apart from that, they are as Salt fired them.
pub fn salt_events(count: usize) -> Vec<SaltEvent> {
    let recorded = recorded();
    let jobs = job_ids(recorded);
    let texts: Vec<String> = (recorded.iter())
        .map(|event| json!({"tag": event.tag, "data": event.data}).to_string())
        .collect();
    let mut numbers: HashMap<String, u64> = HashMap::new();
    (0..count)
        .map(|index| {
            let (run, event) = (index / texts.len(), index % texts.len());
            let mut text = texts[event].clone();
            // Also where they are inside other texts and in data of the event's data.
            for (number, job) in jobs.iter().enumerate() {
                text = text.replace(job, &job_id(run * jobs.len() + number));
            }
            let mut event: SaltEvent = serde_json::from_str(&text).unwrap();
            let next = numbers.entry(event.source().to_owned()).or_default();
            event.data["seq"] = json!(*next);
            *next += 1;
            event
        })
        .collect()
}

/// Lines for `evbus put --events`, which fire the events as a host takes them from a master: the tag is the profile, the data
/// the body.
pub fn lines(events: &[SaltEvent]) -> String {
    events.iter().fold(String::new(), |mut lines, event| {
        let line = json!({"profile": event.tag, "body": event.data});
        writeln!(lines, "{line}").unwrap();
        lines
    })
}

fn job_ids(events: &[SaltEvent]) -> BTreeSet<&str> {
    (events.iter())
        .filter_map(|event| match event.parts()[..] {
            ["salt", "job" | "run", job, ..] => Some(job),
            _ => None,
        })
        .collect()
}

/// A job id as Salt makes them of the time: year to microsecond, without anything between. One job per second, and
/// never one of the recorded ones.
fn job_id(number: usize) -> String {
    let (day, second) = (number / 86_400, number % 86_400);
    let (hours, minutes, seconds) = (second / 3_600, second / 60 % 60, second % 60);
    format!(
        "209901{:02}{hours:02}{minutes:02}{seconds:02}{:06}",
        day + 1,
        number % 1_000_000
    )
}

#[test]
fn many_events_have_the_recorded_shapes_with_new_job_ids_and_numbers() {
    let recorded = recorded();
    let events = salt_events(3 * recorded.len() + 1);
    assert_eq!(events.len(), 3 * recorded.len() + 1);
    let keys = |event: &SaltEvent| -> Vec<String> {
        let data = event.data.as_object().expect("Salt's data is a mapping");
        data.keys().cloned().collect()
    };
    let mut numbers: HashMap<&str, u64> = HashMap::new();
    for (event, model) in events.iter().zip(recorded.iter().cycle()) {
        let mut expected = keys(model);
        expected.push("seq".to_owned());
        assert_eq!(keys(event), expected);
        let (parts, model) = (event.parts(), model.parts());
        let changed = (parts.iter().zip(&model)).filter(|(part, model)| part != model);
        let is_of_a_job = matches!(parts[..], ["salt", "job" | "run", ..]);
        assert_eq!(changed.count(), usize::from(is_of_a_job), "{event:?}");
        let next = numbers.entry(event.source()).or_default();
        assert_eq!(event.data["seq"], *next);
        *next += 1;
    }
    assert_eq!(
        numbers.len(),
        4,
        "three minions and the master: {numbers:?}"
    );
    let jobs = job_ids(&events);
    // The last event begins a fourth run, and is about no job.
    assert_eq!(jobs.len(), 3 * job_ids(recorded).len());
    let text = lines(&events);
    for old in job_ids(recorded) {
        assert!(!text.contains(old), "{old}");
    }
}
