//! Delivery under torture: random load, kills, restarts, starts that are interrupted, reloads that
//! fail, destinations that are removed while programs wait, far systems that come and go, full
//! disks, torn writes, flipped bits and ruined blocks, all of it from a seed. What was acknowledged
//! must arrive, or the host must have counted that it does not.
//!
//! `cargo xtask torture` makes as many runs as it is asked to; among the other tests there are a few.
#![allow(clippy::unwrap_used)]

#[path = "torture/damage.rs"]
mod damage;
#[path = "torture/destinations.rs"]
mod destinations;
#[path = "torture/disk.rs"]
mod disk;
#[path = "torture/disturb.rs"]
mod disturb;
#[path = "torture/ledger.rs"]
mod ledger;
#[path = "torture/numbers.rs"]
mod numbers;
#[path = "torture/random.rs"]
mod random;
#[path = "torture/starts.rs"]
mod starts;
mod support;
#[path = "torture/tally.rs"]
mod tally;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use destinations::{DESTINATIONS, Waited, acct};
use disk::Disk;
use evbus_testkit::plugin_dir;
use ledger::{Ledger, Life, Put};
use random::Random;
use rustix::process::Signal;
use support::{RunningHost, evbus, run, wait_for};
use tally::Tally;
use tempfile::TempDir;

/// If the environment sets nothing: a few runs, always the same ones.
const RUNS: u64 = 3;
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

/// Seconds that a host may go on delivering when it is asked to end.
const DRAIN_TIMEOUT: &str = "0.3";

/// One run: several lives of a host over one state directory.
struct Run<'a> {
    seed: u64,
    random: Random,
    plugins: &'a Path,
    /// Whether files are damaged in this run; if not, nothing may be lost.
    harms: bool,
    disk: Disk,
    delays_ms: [u64; DESTINATIONS.len()],
    down: [bool; DESTINATIONS.len()],
    waited: Waited,
    /// Whether this life's host was sent SIGHUP, which it may not have handled yet.
    has_hung_up: bool,
    /// Programs that wait for room.
    waiting: Vec<JoinHandle<Vec<Put>>>,
    ledger: Ledger,
    next_put: usize,
    /// The finished lives.
    lives: Vec<Life>,
    /// Events that the hosts have counted as damaged or lost so far.
    harmed: [u64; DESTINATIONS.len()],
    /// The output of all lives of the host.
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
        let harms = random.below(2) == 0;
        let disk = Disk::new(random.below(3) == 0);
        Self {
            seed,
            random,
            plugins,
            harms,
            disk,
            delays_ms: [0; DESTINATIONS.len()],
            down: [false; DESTINATIONS.len()],
            waited: Waited::There,
            has_hung_up: false,
            waiting: Vec::new(),
            ledger: Ledger::default(),
            next_put: 0,
            lives: Vec::new(),
            harmed: [0; DESTINATIONS.len()],
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
        self.waited = Waited::There;
        self.has_hung_up = false;
        let host = self.start(home);
        let puts = self.put(&host);
        for _ in 0..self.random.below(6) {
            self.disturb(&host);
            // A random moment, not a wait for a condition.
            thread::sleep(Duration::from_millis(self.random.below(60)));
        }
        let mut life = Life::default();
        let (puts, early) = if self.random.below(3) == 0 {
            let early = finished(puts);
            life.dropped = self.dropped(&host);
            (Vec::new(), early)
        } else {
            (puts, Vec::new())
        };
        assert!(
            self.harms || self.disk.is_small || early.iter().all(|put| put.acknowledged),
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
            assert!(
                status.code() == Some(0) || self.disk.is_small,
                "the end of a host that was asked to is {status}: {log}"
            );
        }
        life.took_memory_with_it = killed || self.disk.is_full;
        self.lives.push(life);
        self.disk.make_room();
        let waited = std::mem::take(&mut self.waiting);
        for put in early
            .into_iter()
            .chain(finished(puts))
            .chain(finished(waited))
        {
            self.ledger.enter(put);
        }
        self.damage();
        let interruptions = if self.random.below(2) == 0 { 4 } else { 1 };
        for _ in 0..self.random.below(interruptions) {
            self.interrupt_start(home.path());
        }
        home
    }

    fn start(&mut self, home: TempDir) -> RunningHost {
        let state = self.disk.state();
        let text = acct(&self.delays_ms, self.waited, false, &mut self.random);
        let directory = ["--state-dir", state.to_str().unwrap()];
        let more = [&directory[..], &["--drain-timeout", DRAIN_TIMEOUT]].concat();
        RunningHost::start_in(home, &text, self.plugins, &more)
    }

    /// Programs that fire batches of events, several at once.
    fn put(&mut self, host: &RunningHost) -> Vec<JoinHandle<Vec<Put>>> {
        (0..self.random.within(1..5))
            .map(|_| {
                let puts: Vec<Put> = (0..self.random.within(1..4))
                    .map(|_| {
                        self.next_put += 1;
                        Put::new(self.next_put, self.lives.len(), &mut self.random)
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

    /// What has been dropped so far.
    fn dropped(&mut self, host: &RunningHost) -> Option<u64> {
        let numbers = self.numbers(host);
        let drops = DESTINATIONS.iter().position(|known| known.drops)?;
        numbers[drops].map(|numbers| numbers.dropped)
    }

    /// Damages files before the next host starts.
    fn damage(&mut self) {
        let stores = self.disk.stores();
        let logs: Vec<&PathBuf> = stores.iter().filter(|path| damage::is_log(path)).collect();
        if self.random.below(2) == 0 && !logs.is_empty() {
            let log = logs[self.random.index(logs.len())];
            damage::tear(log, &mut self.random);
            self.tally.torn += 1;
        }
        if !self.harms || stores.is_empty() {
            return;
        }
        // The larger the store, the more can be lost.
        let two = [0, 1].map(|_| &stores[self.random.index(stores.len())]);
        let size = |store: &&PathBuf| fs::metadata(store).unwrap().len();
        let store = two.into_iter().max_by_key(size).unwrap();
        match self.random.below(3) {
            0 => {
                if let Some(bit) = damage::flip(store, &mut self.random) {
                    writeln!(self.log, "-- bit {bit} of {} flipped", store.display()).unwrap();
                    self.tally.flips += 1;
                }
            }
            1 => {
                if let Some(block) = damage::ruin_block(store, &mut self.random) {
                    writeln!(self.log, "-- block {block} of {} ruined", store.display()).unwrap();
                    self.tally.blocks += 1;
                }
            }
            _ => {}
        }
    }

    /// All far systems are up and all destinations exist: everything arrives.
    fn arrive(&mut self, home: TempDir) {
        for number in 0..DESTINATIONS.len() {
            if self.down[number] {
                self.toggle(home.path(), number);
            }
        }
        self.waited = Waited::Both;
        let host = self.start(home);
        wait_for("all queues to be empty", || {
            let numbers = self.numbers(&host);
            let is_empty = |one: &Option<numbers::Numbers>| one.is_some_and(|one| one.queued == 0);
            numbers.iter().all(is_empty).then_some(())
        });
        let (status, log, home) = host.end(Signal::TERM);
        self.log += &log;
        assert_eq!(status.code(), Some(0), "{log}");
        let arrived = self.ledger.check(home.path(), &self.lives, &self.harmed);
        self.tally.duplicates = arrived.duplicates;
        self.tally.counted = arrived.counted;
        self.tally.fired = self.ledger.fired();
        self.tally.acknowledged = self.ledger.acknowledged();
    }
}

fn finished(puts: Vec<JoinHandle<Vec<Put>>>) -> Vec<Put> {
    puts.into_iter()
        .flat_map(|puts| puts.join().unwrap())
        .collect()
}

/// Fires a batch; the host's answer is recorded.
fn fire(mut put: Put, home: &Path, sockets: &Path) -> Put {
    let mut command = evbus(home);
    command
        .args(["put", "--events", "--timeout", "60", "--sock-dir"])
        .arg(sockets);
    put.acknowledged = run(&mut command, put.lines().as_bytes()).status.success();
    put
}
