//! What the disk queue costs: spilling to a destination that is away, and durable puts, each beside a
//! bare loop over the same store that writes the same bodies with the same settings; durable puts also beside a
//! loop that only appends the bodies to a file and syncs it.
//!
//! `cargo xtask bench store` runs it. Only ratios of one run mean something on a shared machine, so
//! what is compared alternates, and medians are printed.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use evbus::{Bus, Host};
use evbus_testkit::plugin_dir;
use rusqlite::Connection;
use tokio::runtime::Runtime;

const RUNS: usize = 5;
const BODY_BYTES: usize = 223;
const SPILLED: u64 = 500_000;
/// Programs that put at the same time, and events of all of them together.
const DURABLE: [(u64, u64); 3] = [(1, 2_000), (64, 50_000), (1000, 200_000)];

fn main() {
    // `cargo test --benches` asks for a run that only shows that it works.
    let whole = std::env::args().any(|arg| arg == "--bench");
    let (runs, share) = if whole { (RUNS, 1) } else { (1, 1000) };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    println!(
        "{} threads; bodies of {BODY_BYTES} bytes; medians of {runs} runs (range)\n",
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    println!("| | events/s | MB/s | fsyncs/s | the host / it |");
    println!("|---|---|---|---|---|");
    let events = SPILLED / share;
    let mut shown = [
        Shown::new("spill, one program"),
        Shown::new("bare loop on the same store, 1,000 a commit"),
    ];
    for _ in 0..runs {
        shown[0].add(events, spill(&runtime, events), None);
        shown[1].add(events, bare(events, 1000, "NORMAL"), None);
    }
    report(&shown);
    for (programs, events) in DURABLE {
        let events = (events / share).max(programs);
        let commits = events.div_ceil(programs);
        let mut shown = [
            Shown::new(&format!("durable, {programs} programs")),
            Shown::new(&format!("bare loop on the same store, {programs} a commit")),
            Shown::new(&format!("bare synced writes, {programs} at a time")),
        ];
        for _ in 0..runs {
            let (took, flushes) = durable(&runtime, programs, events);
            shown[0].add(events, took, Some(flushes));
            shown[1].add(events, bare(events, programs, "FULL"), Some(commits));
            shown[2].add(events, synced_writes(events, programs), Some(commits));
        }
        report(&shown);
    }
}

/// What the host or a loop showed.
struct Shown {
    name: String,
    /// Events a second.
    rates: Vec<f64>,
    /// A second, if there were any.
    syncs: Vec<f64>,
}

impl Shown {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rates: Vec::new(),
            syncs: Vec::new(),
        }
    }

    fn add(&mut self, events: u64, took: Duration, syncs: Option<u64>) {
        let a_second = |count: u64| count as f64 / took.as_secs_f64();
        self.rates.push(a_second(events));
        self.syncs.extend(syncs.map(a_second));
    }
}

/// Prints rows of the table; the first is what the others are compared with.
fn report(shown: &[Shown]) {
    let median = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let first = median(&shown[0].rates).unwrap();
    for (number, row) in shown.iter().enumerate() {
        let rate = median(&row.rates).unwrap();
        let least = row.rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = row.rates.iter().copied().fold(0.0, f64::max);
        println!(
            "| {} | {rate:.0} ({least:.0} to {most:.0}) | {:.1} | {} | {} |",
            row.name,
            rate * BODY_BYTES as f64 / 1e6,
            median(&row.syncs).map_or_else(|| "-".to_owned(), |syncs| format!("{syncs:.0}")),
            match number {
                0 => String::new(),
                _ => format!("{:.2}", first / rate),
            }
        );
    }
}

/// A host whose destination is away, in a directory of its own.
fn host(runtime: &Runtime, dir: &Path, plugins: &Path, policy: &str) -> Host {
    let acct = dir.join("acct.yml");
    let text = format!("fixture-good:\n  p: {{path: /nowhere/at/all, evbus: {policy}}}\n");
    fs::write(&acct, text).unwrap();
    let host = Host::builder()
        .acct_file(acct)
        .plugin_dir(plugins)
        .state_dir(dir.join("state"));
    runtime.block_on(host.start()).unwrap()
}

/// As JSON, which has quotes around it.
fn body() -> String {
    "x".repeat(BODY_BYTES - 2)
}

fn spill(runtime: &Runtime, events: u64) -> Duration {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let host = host(
        runtime,
        dir.path(),
        plugins.path(),
        "{queue: {events: 1000}}",
    );
    let start = Instant::now();
    runtime.block_on(put(host.bus().clone(), events));
    // Until everything is in the file.
    let left = runtime.block_on(host.shutdown(Duration::ZERO));
    assert_eq!(left[0].counts.queued_on_disk, events);
    start.elapsed()
}

fn durable(runtime: &Runtime, programs: u64, events: u64) -> (Duration, u64) {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let host = host(runtime, dir.path(), plugins.path(), "{durable: true}");
    let start = Instant::now();
    runtime.block_on(async {
        let programs: Vec<_> = (0..programs)
            .map(|_| tokio::spawn(put(host.bus().clone(), events / programs)))
            .collect();
        for program in programs {
            program.await.unwrap();
        }
    });
    let took = start.elapsed();
    let left = runtime.block_on(host.shutdown(Duration::ZERO));
    (took, left[0].flushed_commits)
}

async fn put(bus: Bus, events: u64) {
    let body = body();
    for _ in 0..events {
        let event = evbus::Event::builder("p").unwrapped(&body).unwrap();
        bus.put_event(event).await.unwrap();
    }
}

/// The store alone: one transaction for each group.
fn bare(events: u64, group: u64, synchronous: &str) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Connection::open(dir.path().join("bare.db")).unwrap();
    store
        .execute_batch(&format!(
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; \
             PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -2048; \
             CREATE TABLE queue (seq INTEGER PRIMARY KEY, id BLOB, body BLOB) STRICT;"
        ))
        .unwrap();
    let body = body().into_bytes();
    let start = Instant::now();
    let mut seq = 0;
    while seq < events {
        let transaction = store.transaction().unwrap();
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO queue VALUES (?, ?, ?)")
                .unwrap();
            for _ in 0..group.min(events - seq) {
                insert
                    .execute(rusqlite::params![seq.cast_signed(), [7_u8; 16], body])
                    .unwrap();
                seq += 1;
            }
        }
        transaction.commit().unwrap();
    }
    start.elapsed()
}

/// What the disk can do: each group is appended to a file, which is then synced.
fn synced_writes(events: u64, group: u64) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("bare")).unwrap();
    let body = format!("\"{}\"", body()).into_bytes();
    let start = Instant::now();
    let mut left = events;
    while left > 0 {
        let count = group.min(left);
        file.write_all(&body.repeat(usize::try_from(count).unwrap()))
            .unwrap();
        file.sync_data().unwrap();
        left -= count;
    }
    start.elapsed()
}
