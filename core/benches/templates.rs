//! What expressions about events cost: a template in a key of the plugin, `when`, `body` and `dedup`, each beside the same
//! destination without any, which accepts at once; and the same with ten destinations.
//!
//! `cargo xtask bench templates` runs it; `-- --quick` only shows that it works. Only differences within one run mean
//! something on a shared machine, so what is compared takes turns, and medians are printed.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use evbus::plugin::Plugin;
use evbus::{Bus, Host};
use evbus_testkit::plugin_dir;
use tokio::runtime::Runtime;

const EVENTS: u32 = 300_000;
const RUNS: usize = 7;

const PROFILE: &str = "salt/job/20251201000000123456/ret/web1";

/// What a minion returns: 463 bytes with its envelope.
const MESSAGE: &str = r#"{"cmd":"_return","id":"web1","success":true,"return":{"pkg_|-nginx_|-nginx_|-installed":{"result":true,"changes":{},"duration":812.5,"comment":"All specified packages are already installed","__run_num__":0,"__id__":"nginx"}},"retcode":0,"jid":"20251201000000123456","fun":"state.apply","fun_args":["nginx","test=True"],"_stamp":"2025-12-01T00:00:00.123456"}"#;

/// How many of the destinations have what is measured.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    destinations: usize,
    with: usize,
    /// Keys of the entry.
    keys: &'static str,
}

/// The first of a number of destinations is what the others are compared with.
const CASES: [Case; 12] = [
    case("one destination, no expression", 1, 0, ""),
    case("template on the profile", 1, 1, r#"label: "${ parts[4] }""#),
    case("template on a tag", 1, 1, r#"label: "${ tags.type }""#),
    case(
        "template on the body",
        1,
        1,
        r#"label: "${ message.retcode }""#,
    ),
    case(
        "`when` on the body",
        1,
        1,
        "evbus: {when: message.retcode == 0}",
    ),
    case(
        "`body`, a mapping",
        1,
        1,
        r#"evbus: {body: '{"minion": parts[4], "ok": message.success}'}"#,
    ),
    case(
        "`dedup` by id",
        1,
        1,
        "evbus: {dedup: {key: id, within: 60s, keep: 10000}}",
    ),
    case("ten destinations, no expression", 10, 0, ""),
    case(
        "one of ten: `when` on the body",
        10,
        1,
        "evbus: {when: message.retcode == 0}",
    ),
    case(
        "all ten: `when` on the body",
        10,
        10,
        "evbus: {when: message.retcode == 0}",
    ),
    case(
        "one of ten: template on the body",
        10,
        1,
        r#"label: "${ message.retcode }""#,
    ),
    case(
        "all ten: template on the body",
        10,
        10,
        r#"label: "${ message.retcode }""#,
    ),
];

const fn case(name: &'static str, destinations: usize, with: usize, keys: &'static str) -> Case {
    Case {
        name,
        destinations,
        with,
        keys,
    }
}

impl Case {
    fn acct(&self) -> String {
        let mut text = "fixture-null:\n".to_owned();
        for number in 0..self.destinations {
            // All of them match.
            let pattern = &PROFILE[..=number];
            let keys = if number < self.with { self.keys } else { "" };
            writeln!(text, "  \"{pattern}*\": {{{keys}}}").unwrap();
        }
        text
    }

    fn start(&self, runtime: &Runtime, acct: &Path, plugins: &Path) -> Host {
        fs::write(acct, self.acct()).unwrap();
        let linked = Plugin::linked(evbus_sdk::provider_plugin::<fixture_null::Null>(
            "fixture-null",
            "0.1.0",
            "",
        ));
        let host = Host::builder()
            .acct_file(acct)
            .plugin_dir(plugins)
            .linked(linked);
        runtime.block_on(host.start()).unwrap()
    }
}

fn main() {
    // `cargo test` asks for a run that only shows that it works, too.
    let is_given = |wanted: &str| std::env::args().any(|arg| arg == wanted);
    let (events, runs) = if is_given("--bench") && !is_given("--quick") {
        (EVENTS, RUNS)
    } else {
        (1000, 1)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let plugins = plugin_dir(&["plugin-glob"]);
    let dir = tempfile::tempdir().unwrap();
    let hosts: Vec<Host> = CASES
        .iter()
        .enumerate()
        .map(|(number, case)| {
            // One each, because a host reads its file again when it changes.
            let acct = dir.path().join(format!("{number}.yml"));
            case.start(&runtime, &acct, plugins.path())
        })
        .collect();
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); CASES.len()];
    for _ in 0..runs {
        for ((host, rounds), case) in hosts.iter().zip(&mut rounds).zip(&CASES) {
            // As many deliveries, whatever the number of destinations.
            let events = events / u32::try_from(case.destinations).unwrap();
            rounds.push(runtime.block_on(fire(host.bus(), events)));
        }
    }
    println!(
        "{} threads; messages of {} bytes in their envelopes; medians of {runs} runs\n",
        std::thread::available_parallelism().map_or(1, usize::from),
        MESSAGE.len()
    );
    println!("| | events/s | processor time per event | above the first |");
    println!("|---|---|---|---|");
    let mut first = 0.0;
    for (case, rounds) in CASES.iter().zip(&rounds) {
        let cost = median(rounds, |round| round.cpu_ns);
        if case.with == 0 {
            first = cost;
        }
        println!(
            "| {} | {:.0} | {cost:.0} ns | {:.0} ns |",
            case.name,
            median(rounds, |round| round.rate),
            cost - first
        );
    }
}

/// What one case showed in one round, for each event.
#[derive(Clone, Copy)]
struct Round {
    rate: f64,
    cpu_ns: f64,
}

/// Fires events and waits until all are acknowledged.
async fn fire(bus: &Bus, events: u32) -> Round {
    let (start, before) = (Instant::now(), cpu_time());
    let bus = bus.clone();
    // On a worker, as a program's own tasks are.
    let fired = tokio::spawn(async move {
        for _ in 0..events {
            let event = bus.event(PROFILE).tag("type", "ret");
            bus.put_event(event.message_json(MESSAGE).unwrap())
                .await
                .unwrap();
        }
        assert!(bus.drain(Duration::from_mins(1)).await);
    });
    fired.await.unwrap();
    let each = |time: Duration| time.as_secs_f64() / f64::from(events);
    Round {
        rate: 1.0 / each(start.elapsed()),
        cpu_ns: each(cpu_time().saturating_sub(before)) * 1e9,
    }
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What all threads of this process have used, user and system.
fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap(),
    )
}
