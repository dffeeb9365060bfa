//! How much memory a destination that is away costs the host, and what remains after a burst.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::thread;

use evbus_testkit::plugin_dir;
use support::{RunningHost, wait_for};

/// The queue in memory (64 MiB), what waits to be written (8 MiB), and everything else.
const BOUND_KIB: u64 = (64 + 8 + 64) * 1024;

/// A process's memory in KiB: `VmRSS` is the current size, `VmHWM` the largest.
fn memory_kib(pid: u32, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How many events are fired, unless `EVBUS_MEMORY_EVENTS` is set.
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
    let peak = memory_kib(host.pid(), "VmHWM");
    assert!(peak < BOUND_KIB, "{peak} KiB, more than {BOUND_KIB} KiB");
    println!("{events} events, {peak} KiB at most");
}

/// What read buffers of 64 KiB and the like may leave behind after bursts of 240 MiB.
const LEFT_KIB: u64 = 48 * 1024;

#[test]
fn memory_of_unfinished_frames_goes_back_to_the_system() {
    const BURSTS: usize = 5;
    const SENDERS: usize = 20;
    const HALF: u32 = 12 * 1024 * 1024;
    let plugins = tempfile::tempdir().unwrap();
    let host = RunningHost::start("{}", plugins.path(), &[]);
    let mut half = b"\x82\xa4head\x80\xa4body".to_vec();
    rmp::encode::write_bin_len(&mut half, 2 * HALF).unwrap();
    half.resize(half.len() + HALF as usize, b'x');
    let before = memory_kib(host.pid(), "VmRSS");
    for _ in 0..BURSTS {
        thread::scope(|scope| {
            for _ in 0..SENDERS {
                let socket = host.path("s/master_event_pull.ipc");
                let half = &half;
                scope.spawn(move || {
                    let mut sender = UnixStream::connect(socket).unwrap();
                    sender.write_all(half).unwrap();
                });
            }
        });
        wait_for("the connections to end", || {
            (host.status()["host"]["intake"]["connections"] == 0).then_some(())
        });
    }
    wait_for("the memory to be given back", || {
        (memory_kib(host.pid(), "VmRSS") < before + LEFT_KIB).then_some(())
    });
}

#[test]
fn a_connection_that_has_fallen_silent_keeps_nothing_of_the_large_events_that_it_sent() {
    const SENDERS: usize = 4;
    const LARGE: usize = 30 * 1024 * 1024;
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let out = tempfile::tempdir().unwrap();
    let acct = format!(
        "file:\n  '*': {{path: {}}}\n",
        out.path().join("out").display()
    );
    let host = RunningHost::start(&acct, plugins.path(), &[]);
    let frame = |key: &[u8], text: u8| {
        let mut data = b"\x81\xa4tags\x81".to_vec();
        rmp::encode::write_str(&mut data, std::str::from_utf8(key).unwrap()).unwrap();
        rmp::encode::write_str_len(&mut data, u32::try_from(LARGE).unwrap()).unwrap();
        data.resize(data.len() + LARGE, text);
        let mut frame = b"\x82\xa4head\x80\xa4body".to_vec();
        rmp::encode::write_bin(&mut frame, &[b"large\n\n", &data[..]].concat()).unwrap();
        frame
    };
    // Of control characters the JSON text is six times as long, and longer than a body may be.
    let frames = [frame(b"fits", b'x'), frame(b"does not", 1)];
    let before = memory_kib(host.pid(), "VmRSS");
    let mut silent: Vec<UnixStream> = (0..SENDERS)
        .map(|_| UnixStream::connect(host.path("s/master_event_pull.ipc")).unwrap())
        .collect();
    for (number, sender) in silent.iter_mut().enumerate() {
        sender.write_all(&frames[number % 2]).unwrap();
    }
    wait_for("the events to be taken or refused", || {
        let status = host.status();
        let accepted = &status["destinations"][0]["accepted"];
        let refused = &status["host"]["intake"]["not_kept"];
        (*accepted == SENDERS / 2 && *refused == SENDERS / 2).then_some(())
    });
    wait_for("the memory to be given back", || {
        (memory_kib(host.pid(), "VmRSS") < before + LEFT_KIB).then_some(())
    });
    drop(silent);
}
