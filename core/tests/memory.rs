//! What a destination that is away costs the host in memory.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;
use std::fs;

use evbus_testkit::plugin_dir;
use support::RunningHost;

/// The queue in memory (64 MiB), what waits to be written (8 MiB), and everything else.
const BOUND_KIB: u64 = (64 + 8 + 64) * 1024;

/// The most memory that a process has ever had, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Events that are fired, where the environment's `EVBUS_MEMORY_EVENTS` says no other number.
const EVENTS: u32 = 1_000_000;

#[test]
fn events_for_a_destination_that_is_away_stay_within_the_bound_however_many() {
    const AT_ONCE: u32 = 100_000;
    let events = std::env::var("EVBUS_MEMORY_EVENTS").map_or(EVENTS, |text| text.parse().unwrap());
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let host = RunningHost::start_in(
        home,
        "fixture-good: {'*': {path: '{dir}/missing/out.jsonl'}}",
        plugins.path(),
        &[
            "--state-dir",
            state.to_str().unwrap(),
            "--drain-timeout",
            "0",
        ],
    );
    for first in (0..events).step_by(AT_ONCE as usize) {
        let mut lines = String::new();
        for number in first..first + AT_ONCE {
            writeln!(
                lines,
                "{{\"profile\":\"p\",\"body\":\"event {number:>12}\"}}"
            )
            .unwrap();
        }
        host.put_events(&lines);
    }
    let status = host.status();
    let lane = &status["destinations"][0];
    assert_eq!(lane["queued"], events, "{lane}");
    assert!(
        lane["queued_on_disk"].as_u64().unwrap() > u64::from(events) * 9 / 10,
        "{lane}"
    );
    let peak = peak_kib(host.pid());
    assert!(peak < BOUND_KIB, "{peak} KiB, more than {BOUND_KIB} KiB");
    println!("{events} events, {peak} KiB at most");
}
