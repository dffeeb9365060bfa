//! How much the host itself costs: events per second to a destination that accepts at once, through
//! a loaded plugin, through the same code linked in, and through the plugin in a process of its own; and the
//! routing of profile names.
//!
//! `cargo xtask bench bus` runs it. Only ratios of one run mean something on a shared machine, so
//! what is compared alternates, and medians are printed.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use evbus::plugin::{Plugin, inspect};
use evbus::{Bus, Host, Router};
use evbus_testkit::plugin_dir;

const EVENTS: u32 = 2_000_000;
const RUNS: usize = 7;

fn main() -> ExitCode {
    // The host under test starts this program for the plugin's own process.
    if std::env::args().nth(1).as_deref() == Some("plugin-child") {
        return evbus::plugin::child_main();
    }
    // `cargo test --benches` asks for a run that only shows that it works.
    let (events, runs) = if std::env::args().any(|arg| arg == "--bench") {
        (EVENTS, RUNS)
    } else {
        (1000, 1)
    };
    println!(
        "{} threads; medians of {runs} runs",
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    put(events, runs);
    routing(runs);
    ExitCode::SUCCESS
}

/// Fires through `loaded`, `linked` and `isolated` in turn.
fn put(events: u32, runs: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let plugins = plugin_dir(&["plugin-glob", "fixture-null"]);
    let glob = plugin_dir(&["plugin-glob"]);
    let dir = tempfile::tempdir().unwrap();
    let acct = dir.path().join("acct.yml");
    let text = "fixture-null:\n  idem-*:\n    evbus: {queue: {events: 65536}}\n";
    fs::write(&acct, text).unwrap();
    let isolating = dir.path().join("isolating.yml");
    let text = text.replace("{queue", "{isolate: process, queue");
    fs::write(&isolating, text).unwrap();
    let linked = || {
        Plugin::linked(evbus_sdk::provider_plugin::<fixture_null::Null>(
            "fixture-null",
            "0.1.0",
            "",
        ))
    };
    let loaded = runtime
        .block_on(
            Host::builder()
                .acct_file(&acct)
                .plugin_dir(plugins.path())
                .start(),
        )
        .unwrap();
    let isolated = runtime
        .block_on(
            Host::builder()
                .acct_file(&isolating)
                .plugin_dir(plugins.path())
                .isolation_program(std::env::current_exe().unwrap())
                .start(),
        )
        .unwrap();
    let linked = runtime
        .block_on(
            Host::builder()
                .acct_file(&acct)
                .plugin_dir(glob.path())
                .linked(linked())
                .start(),
        )
        .unwrap();
    let (mut through_loaded, mut through_linked) = (Vec::new(), Vec::new());
    let mut through_isolated = Vec::new();
    let mut cpu = Vec::new();
    for _ in 0..runs {
        let before = cpu_time();
        through_loaded.push(runtime.block_on(fire(loaded.bus(), events)));
        cpu.push(cpu_time().saturating_sub(before).as_secs_f64() / f64::from(events));
        through_linked.push(runtime.block_on(fire(linked.bus(), events)));
        through_isolated.push(runtime.block_on(fire(isolated.bus(), events)));
    }
    let rate = |times: &mut Vec<Duration>| f64::from(events) / median(times).as_secs_f64();
    let (loaded, linked) = (rate(&mut through_loaded), rate(&mut through_linked));
    let isolated = rate(&mut through_isolated);
    cpu.sort_by(f64::total_cmp);
    println!("put, null destination, loaded .so   {loaded:>12.0} events/s");
    println!("put, null destination, linked in    {linked:>12.0} events/s");
    println!("put, null destination, isolated     {isolated:>12.0} events/s");
    println!(
        "linked / loaded                     {:>12.3}",
        linked / loaded
    );
    println!(
        "isolated / loaded                   {:>12.3}",
        isolated / loaded
    );
    println!(
        "processor time per event            {:>12.0} ns, so {:.0} events/s per core",
        cpu[cpu.len() / 2] * 1e9,
        1.0 / cpu[cpu.len() / 2]
    );
}

/// Fires events with a small message, envelope and all, and waits until all are acknowledged.
async fn fire(bus: &Bus, events: u32) -> Duration {
    let start = Instant::now();
    let bus = bus.clone();
    // On a worker, as a program's own tasks are.
    tokio::spawn(async move {
        for number in 0..events {
            bus.put("idem-run", &number).await.unwrap();
        }
        assert!(bus.drain(Duration::from_mins(1)).await);
        start.elapsed()
    })
    .await
    .unwrap()
}

fn routing(runs: usize) {
    let glob = inspect(&evbus_testkit::built("plugin-glob"), None).unwrap();
    let regex = inspect(&evbus_testkit::built("plugin-regex"), None).unwrap();
    for (name, plugin, suffix) in [("glob", &glob, "-*"), ("regex", &regex, "-.*")] {
        for count in [10, 1000, 100_000] {
            let patterns: Vec<String> = (0..count)
                .map(|number| format!("idem-{number}{suffix}"))
                .collect();
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let start = Instant::now();
            let router = Router::compile(plugin, &patterns).unwrap();
            let compiled = start.elapsed();
            let (mut seen, mut unseen) = (Vec::new(), Vec::new());
            for run in 0..runs {
                let names: Vec<String> = (0..1000)
                    .map(|n| format!("idem-{}-run{run}-{n}", n % count))
                    .collect();
                unseen.push(each(&names, |name| router.route(name).matches.len()));
                let known = &names[..10];
                let hits: Vec<String> = known.iter().cycle().take(100_000).cloned().collect();
                seen.push(each(&hits, |name| router.route(name).matches.len()));
            }
            println!(
                "route, {name:5} {count:>6} patterns   seen {:>6} ns   unseen {:>9} ns   compiled in {compiled:.1?}",
                median(&mut seen).as_nanos(),
                median(&mut unseen).as_nanos(),
            );
        }
    }
}

/// The mean time of a call.
fn each(names: &[String], mut call: impl FnMut(&str) -> usize) -> Duration {
    let start = Instant::now();
    for name in names {
        assert!(black_box(call(name)) > 0);
    }
    start.elapsed() / u32::try_from(names.len()).unwrap()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// What all threads of this process have used, user and system.
fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap(),
    )
}
