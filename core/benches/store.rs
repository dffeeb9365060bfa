//! What the disk queue costs: spilling to a destination that is away, and durable puts, each beside a
//! bare loop over the same store that writes the same bodies with the same settings.
//!
//! `cargo xtask bench store` runs it. Only ratios of one run mean something on a shared machine, so
//! what is compared alternates, and medians are printed.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use evbus::{Bus, Host};
use evbus_testkit::plugin_dir;
use rusqlite::Connection;
use tokio::runtime::Runtime;

const RUNS: usize = 3;
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
    println!("bodies of 223 bytes; medians of {runs} runs");
    let events = SPILLED / share;
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..runs {
        times.0.push(spill(&runtime, events));
        times.1.push(bare(events, 1000, "NORMAL"));
    }
    report("spill, one program", events, None, &mut times);
    for (programs, events) in DURABLE {
        let events = (events / share).max(programs);
        let (mut times, mut rates) = ((Vec::new(), Vec::new()), Vec::new());
        for _ in 0..runs {
            let (took, flushes) = durable(&runtime, programs, events);
            times.0.push(took);
            rates.push(flushes as f64 / took.as_secs_f64());
            times.1.push(bare(events, programs, "FULL"));
        }
        rates.sort_by(f64::total_cmp);
        let what = format!("durable, {programs} programs");
        let middle = rates[rates.len() / 2];
        report(&what, events, Some((middle, programs)), &mut times);
    }
}

/// `flushes`: how many commits a second the host flushed, and how many events the bare loop has in one.
fn report(
    what: &str,
    events: u64,
    flushes: Option<(f64, u64)>,
    times: &mut (Vec<Duration>, Vec<Duration>),
) {
    let rate = |times: &mut Vec<Duration>| {
        times.sort();
        events as f64 / times[times.len() / 2].as_secs_f64()
    };
    let (host, bare) = (rate(&mut times.0), rate(&mut times.1));
    let fsyncs = flushes.map_or_else(String::new, |(flushed, group)| {
        format!("; fsyncs/s {flushed:.0} and {:.0}", bare / group as f64)
    });
    println!(
        "{what:<24} {host:>9.0} events/s, {:>6.1} MB/s; bare loop {bare:>9.0} events/s{fsyncs}; host/bare {:.2}",
        host * 223.0 / 1e6,
        host / bare
    );
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

fn body() -> String {
    "x".repeat(221)
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
