//! The destinations of the torture, one for each policy, and the acct file that names them.

use std::fmt::Write as _;

use super::random::Random;

/// A destination of the torture.
pub(crate) struct Destination {
    /// Its far system: a directory, with a file that `fixture-good` writes.
    pub(crate) dir: &'static str,
    pub(crate) pattern: &'static str,
    policy: &'static str,
    /// Whether its acknowledged events survive `kill -9`.
    pub(crate) durable: bool,
    pub(crate) ordered: bool,
    /// Whether it drops events when its queue is full.
    pub(crate) drops: bool,
}

const KEEPS: Destination = Destination {
    dir: "",
    pattern: "",
    policy: "durable: true",
    durable: true,
    ordered: false,
    drops: false,
};

pub(crate) static DESTINATIONS: [Destination; 7] = [
    Destination {
        dir: "a",
        pattern: "idem-*",
        policy: "durable: true, queue: {events: 500}",
        ..KEEPS
    },
    Destination {
        dir: "b",
        pattern: "*",
        policy: "durable: true, ordered: true, queue: {events: 500}",
        ordered: true,
        ..KEEPS
    },
    Destination {
        dir: "c",
        pattern: "*-run",
        policy: "durable: true, when_full: spill, queue: {events: 50}",
        ..KEEPS
    },
    Destination {
        dir: "d",
        pattern: "salt-*",
        policy: "when_full: spill, queue: {events: 50}",
        durable: false,
        ..KEEPS
    },
    Destination {
        dir: "e",
        pattern: "*-job",
        policy: "when_full: drop_newest, queue: {events: 20}",
        durable: false,
        drops: true,
        ..KEEPS
    },
    // Programs have to wait for the first of these two; the other one proves it.
    Destination {
        dir: "f",
        pattern: "wait-*",
        policy: "durable: true, when_full: block, queue: {events: 1}",
        ..KEEPS
    },
    Destination {
        dir: "g",
        pattern: "wait*-a",
        ..KEEPS
    },
];

/// Indices in [`DESTINATIONS`]: where programs wait, and where their waiting shows.
pub(crate) const WAITED_AT: usize = 5;
pub(crate) const WITNESS: usize = 6;

/// The profile of the events that wait.
pub(crate) const WAITING: &str = "wait-a";

/// The profiles of all other events.
pub(crate) const PROFILES: [&str; 4] = ["idem-run", "idem-state", "salt-run", "salt-job"];

/// What `WAITED_AT` matches once it has been renamed, and the file it then writes.
const RENAMED: (&str, &str) = ("wait-[a]", "f/renamed.jsonl");

/// A destination whose store cannot be created, because a directory is in its place.
pub(crate) const BROKEN: &str = "broken-*";

impl Destination {
    pub(crate) fn wants(&self, profile: &str) -> bool {
        match self.pattern.split_once('*') {
            Some((start, end)) => profile.starts_with(start) && profile.ends_with(end),
            None => profile == self.pattern,
        }
    }

    /// The files that it writes, below the host's directory.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = vec![format!("{}/out.jsonl", self.dir)];
        if self.dir == DESTINATIONS[WAITED_AT].dir {
            files.push(RENAMED.1.to_owned());
        }
        files
    }
}

/// The destination at which programs wait, in the acct file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    There,
    Removed,
    Renamed,
    /// Under its old and its new name: events kept under either arrive.
    Both,
}

/// An acct file, its entries in any order.
pub(crate) fn acct(
    delays_ms: &[u64; DESTINATIONS.len()],
    waited: Waited,
    broken: bool,
    random: &mut Random,
) -> String {
    let entry = |pattern: &str, file: &str, delay_ms: u64, policy: &str| {
        format!(
            "  - '{pattern}': {{path: '{{dir}}/{file}', delay_ms: {delay_ms}, evbus: \
             {{retry: {{first_delay: 0.01, max_delay: 0.1}}, {policy}}}}}"
        )
    };
    let mut entries = Vec::new();
    for (number, (destination, delay_ms)) in DESTINATIONS.iter().zip(delays_ms).enumerate() {
        let policy = destination.policy;
        if number != WAITED_AT || matches!(waited, Waited::There | Waited::Both) {
            let file = format!("{}/out.jsonl", destination.dir);
            entries.push(entry(destination.pattern, &file, *delay_ms, policy));
        }
        if number == WAITED_AT && matches!(waited, Waited::Renamed | Waited::Both) {
            entries.push(entry(RENAMED.0, RENAMED.1, *delay_ms, policy));
        }
    }
    if broken {
        entries.push(entry(BROKEN, "broken.jsonl", 0, KEEPS.policy));
    }
    let mut text = "fixture-good:\n".to_owned();
    while !entries.is_empty() {
        let next = entries.swap_remove(random.index(entries.len()));
        let _ = writeln!(text, "{next}");
    }
    text
}
