//! Routing beside the real pop-evbus: of the same acct file, each event reaches the same internal queues in both.
//!
//! `EVBUS_ROUTING_SEED` is the seed of the first file, `EVBUS_ROUTING_FILES` their number.
mod case;
mod pattern;
#[allow(dead_code, reason = "the torture test uses more of it")]
mod text;

use std::fs;
use std::path::PathBuf;

use crate::json_server::JsonServer;
use crate::support::{PATIENCE, evbus, json_lines, run, stderr};
use case::Case;
use evbus::{Destination, Host};
use evbus_testkit::plugin_dir;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SEED: u64 = 1;
const FILES: u64 = 200;

/// One of this many files also goes through the command line.
const COMMAND_EVERY: u64 = 50;

const ACCT_FILE: &str = "acct.yml";

/// The queues that each event reached, by the events' numbers.
type Reached = Vec<Vec<String>>;

#[test]
fn every_event_reaches_the_queues_that_it_reaches_in_pop_evbus() {
    compare(|seed| [None, None, Some("glob")][usize::try_from(seed % 3).unwrap()]);
}

#[test]
fn every_event_reaches_the_queues_that_regex_chooses_in_pop_evbus() {
    compare(|_| Some("regex"));
}

fn compare(match_plugin: impl Fn(u64) -> Option<&'static str>) {
    let first = from_environment("EVBUS_ROUTING_SEED").unwrap_or(SEED);
    let files = from_environment("EVBUS_ROUTING_FILES").unwrap_or(FILES);
    let runtime = Runtime::new().unwrap();
    let ours = runtime.block_on(Ours::start());
    let mut pop_evbus = JsonServer::start("idem/pop_evbus/reference.py");
    let mut matches = 0;
    for seed in (first..).take(usize::try_from(files).unwrap()) {
        let plugin = match_plugin(seed);
        let case = Case::new(seed, plugin);
        let told = Told {
            first,
            seed,
            case: &case,
        };
        let (delivered, routed) = runtime.block_on(ours.fire(&told));
        let order = json!({"file": ours.acct_file(), "names": case.names, "match_plugin": plugin});
        let expected: Reached = serde_json::from_value(pop_evbus.ask(&order)).unwrap();
        told.compare("delivers", &delivered, &expected);
        let queues = routed.iter().map(|all| told.queues(all)).collect();
        told.compare("says that it routes", &queues, &expected);
        if seed % COMMAND_EVERY == 0 {
            ours.command(&told, &routed);
        }
        matches += expected.iter().filter(|queues| !queues.is_empty()).count();
    }
    runtime.block_on(ours.host.shutdown(PATIENCE));
    let fired = usize::try_from(files).unwrap() * case::NAMES;
    println!("{matches} of {fired} events reach a queue");
    // The comparison proves little if few names match.
    assert!(
        files < FILES || matches > fired / 3,
        "only {matches} of {fired}"
    );
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text:?}; expected a number")))
}

/// A host that reloads one acct file after another.
struct Ours {
    host: Host,
    dir: TempDir,
    plugins: TempDir,
}

impl Ours {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plugins = plugin_dir(&["plugin-glob", "plugin-regex"]);
        fs::write(dir.path().join(ACCT_FILE), "").unwrap();
        let host = Host::builder()
            .acct_file(dir.path().join(ACCT_FILE))
            .plugin_dir(plugins.path())
            .start()
            .await
            .unwrap();
        Self { host, dir, plugins }
    }

    fn acct_file(&self) -> PathBuf {
        self.dir.path().join(ACCT_FILE)
    }

    /// What the host delivers, and what it says it would deliver.
    async fn fire(&self, told: &Told<'_>) -> (Reached, Vec<Vec<Destination>>) {
        let Case { file, names, .. } = told.case;
        // Atomically, because the host also watches the file.
        let next = self.dir.path().join("next.yml");
        fs::write(&next, file).unwrap();
        fs::rename(&next, self.acct_file()).unwrap();
        let read = self.host.reload().await;
        read.unwrap_or_else(|error| panic!("the host refuses the file: {error}\n{told}"));
        let bus = self.host.bus();
        let mut destinations = 0;
        let mut routed = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let event = bus.event(name).unwrapped(&json!({"event": number}));
            // Both ways in which programs fire events.
            let fired = if number % 2 == 0 {
                bus.put_event_nowait(event.unwrap()).unwrap()
            } else {
                bus.put_event(event.unwrap()).await.unwrap()
            };
            destinations += fired.destinations;
            routed.push(bus.route(name));
        }
        assert!(bus.drain(PATIENCE).await, "{:?}\n{told}", bus.status());
        let delivered = self.read(told);
        let count: usize = delivered.iter().map(Vec::len).sum();
        assert_eq!(count, destinations, "as many as were promised\n{told}");
        (delivered, routed)
    }

    /// Empties the queues of all routing keys, including those of earlier files.
    fn read(&self, told: &Told<'_>) -> Reached {
        let mut delivered = vec![Vec::new(); told.case.names.len()];
        for key in case::ROUTING_KEYS {
            let mut queue = self.host.internal(key);
            while let Some(event) = queue.try_recv() {
                let body: Value = serde_json::from_slice(&event.body).unwrap();
                let number = usize::try_from(body["event"].as_u64().unwrap()).unwrap();
                assert_eq!(event.profile, told.case.names[number], "{told}");
                delivered[number].push((*key).to_owned());
            }
        }
        for queues in &mut delivered {
            queues.sort();
        }
        delivered
    }

    /// Asserts that `evbus route` agrees with the library.
    fn command(&self, told: &Told<'_>, routed: &[Vec<Destination>]) {
        let mut command = evbus(self.dir.path());
        command.args(["route", "--acct-file"]).arg(self.acct_file());
        command
            .arg("--plugin-dir")
            .arg(self.plugins.path())
            .arg("--");
        let expected: Vec<Value> = (told.case.names.iter().zip(routed))
            // `-` means standard input.
            .filter(|(name, _)| *name != "-")
            .map(|(name, destinations)| {
                command.arg(name);
                json!({"profile": name, "destinations": destinations})
            })
            .collect();
        let output = run(&mut command, b"");
        assert!(output.status.success(), "{}\n{told}", stderr(&output));
        assert_eq!(json_lines(&output), expected, "{told}");
    }
}

/// A case, as described by a failed test.
struct Told<'a> {
    first: u64,
    seed: u64,
    case: &'a Case,
}

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first, seed, case } = self;
        write!(
            f,
            "again with EVBUS_ROUTING_SEED={seed} EVBUS_ROUTING_FILES=1; the host has read other files before, from EVBUS_ROUTING_SEED={first} on; acct file:\n{}",
            case.file
        )
    }
}

impl Told<'_> {
    /// The queues of destinations. Their numbers and patterns must be the file's.
    fn queues(&self, destinations: &[Destination]) -> Vec<String> {
        let queue = |destination: &Destination| {
            let (pattern, key) = &self.case.entries[destination.index];
            assert_eq!(
                (&*destination.provider, pattern),
                ("internal", &destination.pattern),
                "{self}"
            );
            key.clone()
        };
        let mut queues: Vec<String> = destinations.iter().map(queue).collect();
        queues.sort();
        queues
    }

    fn compare(&self, does: &str, ours: &Reached, expected: &Reached) {
        for ((name, ours), expected) in self.case.names.iter().zip(ours).zip(expected) {
            assert_eq!(
                ours, expected,
                "under {name:?} the host {does} to the queues on the left, pop-evbus to those on the right\n{self}"
            );
        }
        assert_eq!(ours.len(), expected.len(), "{self}");
    }
}
