//! Firing from a program's own code: `Bus::put` beside pop-evbus's `broker.put`, a small message in its envelope.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use evbus::{Bus, Host};
use evbus_testkit::plugin_dir;
use xtask::idem;
use xtask::peers::Peers;

use crate::Scale;
use crate::table::{self, Round, Row};

/// pop-evbus gets so many times fewer events.
const POP_EVBUS_SHARE: u64 = 64;
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/pop_evbus.py");

pub(crate) fn in_process(_: &Peers, scale: Scale) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let plugins = plugin_dir(&["plugin-glob", "fixture-null"]);
    let dir = tempfile::tempdir().unwrap();
    let acct = dir.path().join("acct.yml");
    fs::write(
        &acct,
        "fixture-null:\n  idem-*:\n    evbus: {queue: {events: 65536}}\n",
    )
    .unwrap();
    let starting = Host::builder()
        .acct_file(&acct)
        .plugin_dir(plugins.path())
        .start();
    let host = runtime.block_on(starting).unwrap();
    let mut rows = [
        Row::new("evbus", "3,000,000 and 330 ns"),
        Row::new("pop-evbus", "150"),
    ];
    for _ in 0..scale.rounds {
        rows[0].add(runtime.block_on(put(host.bus(), scale.events)));
        rows[1].add(pop_evbus(scale.events / POP_EVBUS_SHARE));
    }
    table::rates(&rows);
}

/// Fires events and waits until all are accepted.
async fn put(bus: &Bus, events: u64) -> Round {
    let before = processor_time();
    let start = Instant::now();
    let bus = bus.clone();
    // On a worker, as a program's own tasks are.
    let firing = tokio::spawn(async move {
        for number in 0..events {
            bus.put("idem-run", &number).await.unwrap();
        }
        assert!(bus.drain(Duration::from_mins(1)).await);
        start.elapsed()
    });
    Round {
        events,
        took: firing.await.unwrap(),
        processor: processor_time() - before,
        peak_memory: None,
        allocations: None,
    }
}

/// The same with pop-evbus and its queue for the program itself, the only destination that it has without a broker.
fn pop_evbus(events: u64) -> Round {
    let python = idem::python().unwrap_or_else(|error| panic!("{error}"));
    // It writes a log where it runs.
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(python)
        .args(["-E", SCRIPT, &events.to_string()])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(|number| number.parse().expect("it prints two numbers of seconds"))
        .collect();
    let [took, processor] = numbers[..] else {
        panic!("it printed {text:?}");
    };
    Round {
        events,
        took: Duration::from_secs_f64(took),
        processor: Duration::from_secs_f64(processor),
        peak_memory: None,
        allocations: None,
    }
}

/// What all threads of this process have used, user and system.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap(),
    )
}
