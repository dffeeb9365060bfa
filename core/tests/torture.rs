//! Delivery under torture: random load, kills, restarts, reloads, far systems that come and go, torn
//! writes and flipped bits, all of it from a seed. What was acknowledged must arrive, or the host
//! must have said that it does not.
//!
//! `cargo xtask torture` makes as many runs as it is asked to; among the other tests there are a few.
#![allow(clippy::unwrap_used)]

#[path = "torture/damage.rs"]
mod damage;
#[path = "torture/ledger.rs"]
mod ledger;
#[path = "torture/random.rs"]
mod random;
mod support;

use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evbus_testkit::plugin_dir;
use ledger::{DESTINATIONS, Ledger, Put};
use random::Random;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{RunningHost, evbus, run, stderr, wait_for};
use tempfile::TempDir;

/// Without the environment's word: a few runs, the same ones every time.
const RUNS: u64 = 6;
const SEED: u64 = 1;

#[test]
fn what_was_acknowledged_arrives_whatever_happens() {
    let from_environment = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{name}={text:?}; expected a number")),
        )
    };
    let runs = from_environment("EVBUS_TORTURE_RUNS").unwrap_or(RUNS);
    let first = from_environment("EVBUS_TORTURE_SEED").unwrap_or(SEED);
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let start = Instant::now();
    let mut total = Tally::default();
    for seed in (first..).take(usize::try_from(runs).unwrap()) {
        let begin = Instant::now();
        let tally = Run::new(seed, plugins.path()).torture();
        println!(
            "seed {seed}: {tally}, {:.1} s",
            begin.elapsed().as_secs_f32()
        );
        total.add(&tally);
    }
    println!(
        "{runs} runs: {total}, {:.0} s",
        start.elapsed().as_secs_f32()
    );
}

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    fired: usize,
    acknowledged: usize,
    kills: usize,
    stops: usize,
    torn: usize,
    flips: usize,
    duplicates: usize,
    /// Acknowledged, not delivered, and the host said so.
    reported: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.fired += other.fired;
        self.acknowledged += other.acknowledged;
        self.kills += other.kills;
        self.stops += other.stops;
        self.torn += other.torn;
        self.flips += other.flips;
        self.duplicates += other.duplicates;
        self.reported += other.reported;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events fired, {} acknowledged; {} kills, {} stops, {} torn writes, {} flipped bits; \
             {} duplicates, {} damaged and reported, 0 lost",
            self.fired,
            self.acknowledged,
            self.kills,
            self.stops,
            self.torn,
            self.flips,
            self.duplicates,
            self.reported
        )
    }
}

/// One run: several lives of a host over one state directory.
struct Run<'a> {
    seed: u64,
    random: Random,
    plugins: &'a Path,
    /// Whether bits flip in this run; if not, nothing at all may be lost.
    flips: bool,
    delays_ms: [u64; DESTINATIONS.len()],
    down: [bool; DESTINATIONS.len()],
    ledger: Ledger,
    next_put: usize,
    /// What all lives of the host said.
    log: String,
    tally: Tally,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let said: Vec<&str> = self.log.lines().rev().take(60).collect();
            for line in said.iter().rev() {
                eprintln!("  {line}");
            }
            eprintln!(
                "torture failed; again: cargo xtask torture --runs 1 --seed {}",
                self.seed
            );
        }
    }
}

impl<'a> Run<'a> {
    fn new(seed: u64, plugins: &'a Path) -> Self {
        let mut random = Random::new(seed);
        let flips = random.below(2) == 0;
        Self {
            seed,
            random,
            plugins,
            flips,
            delays_ms: [0; DESTINATIONS.len()],
            down: [false; DESTINATIONS.len()],
            ledger: Ledger::default(),
            next_put: 0,
            log: String::new(),
            tally: Tally::default(),
        }
    }

    fn torture(mut self) -> Tally {
        let mut home = tempfile::tempdir().unwrap();
        for destination in &DESTINATIONS {
            fs::create_dir(home.path().join(destination.dir)).unwrap();
        }
        for _ in 0..self.random.within(3..7) {
            home = self.live(home);
        }
        self.arrive(home);
        std::mem::take(&mut self.tally)
    }

    /// A host from its start to its end, and the damage to its files after it.
    fn live(&mut self, home: TempDir) -> TempDir {
        for number in 0..DESTINATIONS.len() {
            if self.random.below(4) == 0 {
                self.toggle(home.path(), number);
            }
        }
        let host = self.start(home);
        let puts = self.put(&host);
        for _ in 0..self.random.below(5) {
            self.disturb(&host);
            // A random moment, not one that anything waits for.
            thread::sleep(Duration::from_millis(self.random.below(60)));
        }
        let (puts, early) = if self.random.below(3) == 0 {
            (Vec::new(), finished(puts))
        } else {
            (puts, Vec::new())
        };
        assert!(
            self.flips || early.iter().all(|put| put.acknowledged),
            "a host that lives takes what is fired: {}",
            host.log()
        );
        let killed = self.random.below(3) > 0;
        let (status, log, home) = host.end(if killed { Signal::KILL } else { Signal::TERM });
        self.log += &log;
        if killed {
            self.tally.kills += 1;
        } else {
            self.tally.stops += 1;
            assert_eq!(
                status.code(),
                Some(0),
                "the end of a host that was asked to: {log}"
            );
        }
        for put in early.into_iter().chain(finished(puts)) {
            self.ledger.enter(put);
        }
        self.damage(home.path());
        home
    }

    fn start(&mut self, home: TempDir) -> RunningHost {
        let state = home.path().join("state");
        RunningHost::start_in(
            home,
            &self.acct(),
            self.plugins,
            &[
                "--state-dir",
                state.to_str().unwrap(),
                "--drain-timeout",
                "0.3",
            ],
        )
    }

    fn acct(&self) -> String {
        let mut text = "fixture-good:\n".to_owned();
        for (destination, delay_ms) in DESTINATIONS.iter().zip(self.delays_ms) {
            writeln!(
                text,
                "  - '{}': {{path: '{{dir}}/{}/out.jsonl', delay_ms: {delay_ms}, evbus: \
                 {{durable: true, retry: {{first_delay: 0.01, max_delay: 0.1}}, {}}}}}",
                destination.pattern, destination.dir, destination.policy
            )
            .unwrap();
        }
        text
    }

    /// Programs that fire batches of events, several at once.
    fn put(&mut self, host: &RunningHost) -> Vec<JoinHandle<Vec<Put>>> {
        (0..self.random.within(1..5))
            .map(|_| {
                let puts: Vec<Put> = (0..self.random.within(1..4))
                    .map(|_| {
                        self.next_put += 1;
                        Put::new(self.next_put, &mut self.random)
                    })
                    .collect();
                let (home, sockets) = (host.dir.path().to_owned(), host.path("s"));
                thread::spawn(move || {
                    puts.into_iter()
                        .map(|put| fire(put, &home, &sockets))
                        .collect()
                })
            })
            .collect()
    }

    /// Something that happens to a running host.
    fn disturb(&mut self, host: &RunningHost) {
        let number = self.random.index(DESTINATIONS.len());
        match self.random.below(4) {
            0 => drop(self.status(host)),
            1 => self.reload(host, number),
            _ => {
                // An instance that is connected holds its file: only another one fails.
                self.toggle(host.dir.path(), number);
                self.reload(host, number);
            }
        }
    }

    /// Takes a destination's far system down, or up again.
    fn toggle(&mut self, home: &Path, number: usize) {
        let up = home.join(DESTINATIONS[number].dir);
        let away = up.with_extension("away");
        let down = &mut self.down[number];
        let (from, to) = if *down { (away, up) } else { (up, away) };
        fs::rename(from, to).unwrap();
        *down = !*down;
    }

    /// Changes a destination in the acct file and tells the host.
    fn reload(&mut self, host: &RunningHost, number: usize) {
        self.delays_ms[number] = (self.delays_ms[number] + self.random.within(1..4)) % 5;
        let text = self
            .acct()
            .replace("{dir}", &host.dir.path().to_string_lossy());
        fs::write(host.path("acct.new"), text).unwrap();
        fs::rename(host.path("acct.new"), host.path("acct.yml")).unwrap();
        let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }

    /// Asks the host for its numbers, which must add up.
    fn status(&self, host: &RunningHost) -> Vec<Value> {
        let mut asks = evbus(host.dir.path());
        asks.args(["status", "--json", "--sock-dir"])
            .arg(host.path("s"));
        let output = run(&mut asks, b"");
        assert!(output.status.success(), "{}", stderr(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let lanes = answer["destinations"].as_array().unwrap().clone();
        for lane in &lanes {
            let count = |name: &str| lane[name].as_u64().unwrap();
            let (dead, dropped) = (count("dead_lettered"), count("dropped"));
            let harmed = count("damaged") + count("lost");
            let sum = count("accepted") + dead + dropped + harmed + count("queued");
            assert_eq!(sum, count("received"), "{lane}");
            assert!(self.flips || dead + dropped + harmed == 0, "{lane}");
        }
        lanes
    }

    /// What may be wrong with the files when the next host starts.
    fn damage(&mut self, home: &Path) {
        let stores: Vec<PathBuf> = fs::read_dir(home.join("state/queues"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_none_or(|ending| ending != "db-shm"))
            .collect();
        let logs: Vec<&PathBuf> = stores.iter().filter(|path| damage::is_log(path)).collect();
        if self.random.below(2) == 0 && !logs.is_empty() {
            let log = logs[self.random.index(logs.len())];
            damage::tear(log, &mut self.random);
            self.tally.torn += 1;
        }
        if self.flips && self.random.below(2) == 0 {
            let store = &stores[self.random.index(stores.len())];
            if let Some(bit) = damage::flip(store, &mut self.random) {
                writeln!(self.log, "-- bit {bit} of {} flipped", store.display()).unwrap();
                self.tally.flips += 1;
            }
        }
    }

    /// All far systems are up: everything arrives.
    fn arrive(&mut self, home: TempDir) {
        for number in 0..DESTINATIONS.len() {
            if self.down[number] {
                self.toggle(home.path(), number);
            }
        }
        let host = self.start(home);
        wait_for("all queues to be empty", || {
            self.status(&host)
                .iter()
                .all(|lane| lane["queued"] == 0)
                .then_some(())
        });
        let (status, log, home) = host.end(Signal::TERM);
        self.log += &log;
        assert_eq!(status.code(), Some(0), "{log}");
        let reports = damage::reports(&self.log);
        if !self.flips {
            assert!(!self.log.contains("damaged"), "there was none");
        }
        let arrived = self.ledger.check(home.path(), &reports);
        self.tally.duplicates = arrived.duplicates;
        self.tally.reported = arrived.missing;
        self.tally.fired = self.ledger.fired();
        self.tally.acknowledged = self.ledger.acknowledged();
    }
}

fn finished(puts: Vec<JoinHandle<Vec<Put>>>) -> Vec<Put> {
    puts.into_iter()
        .flat_map(|puts| puts.join().unwrap())
        .collect()
}

/// Fires a batch; what the host says of it is the answer.
fn fire(mut put: Put, home: &Path, sockets: &Path) -> Put {
    let mut command = evbus(home);
    command
        .args(["put", "--events", "--timeout", "60", "--sock-dir"])
        .arg(sockets);
    put.acknowledged = run(&mut command, put.lines().as_bytes()).status.success();
    put
}
