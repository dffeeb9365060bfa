//! The event sockets: frames per second from the pull socket to one and to four listeners, the round
//! trip of one frame at a time, and the host's memory with a listener that does not read. Beside the
//! host, in the same run: a loop that copies the bytes from socket to socket and does nothing else, and
//! the event publishers of real Salt releases.
//!
//! `cargo xtask bench sockets` runs it. Only ratios of one run mean something on a shared machine, so
//! what is compared takes turns, and medians are printed.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

mod server;
mod traffic;

use std::fs;
use std::time::Duration;

use server::Kind;
use xtask::salt;

const RUNS: usize = 5;
/// For the host and the copy loop; Salt's publishers get a fraction of this.
const FRAMES: u64 = 2_000_000;
const SALT_SHARE: u64 = 40;
const MEMORY_FRAMES: u64 = 1_000_000;
const ROUND_TRIPS: usize = 20_000;
const LISTENERS: [usize; 2] = [1, 4];

/// The measurements of a kind of server, one entry for each run.
#[derive(Default)]
struct Shown {
    /// Frames per second, by number of listeners as in [`LISTENERS`].
    rates: [Vec<f64>; 2],
    misplaced: u64,
    /// In microseconds.
    p50: Vec<f64>,
    p99: Vec<f64>,
}

fn main() {
    if server::is_copy_loop() {
        return;
    }
    // `cargo test --benches` asks for a run that only shows that it works.
    let whole = std::env::args().any(|arg| arg == "--bench");
    let (runs, share) = if whole { (RUNS, 1) } else { (1, 1000) };
    let kinds: Vec<Kind> = [Kind::Evbus, Kind::CopyLoop]
        .into_iter()
        .chain(salt::RELEASES.map(|release| Kind::Salt(release, salt::python(release).unwrap())))
        .collect();
    println!(
        "{} threads, {}; frames of 281 bytes (200-byte data); medians of {runs} runs (range)",
        std::thread::available_parallelism().map_or(1, usize::from),
        load(),
    );
    let mut shown: Vec<Shown> = kinds.iter().map(|_| Shown::default()).collect();
    for _ in 0..runs {
        for at in 0..LISTENERS.len() {
            for (kind, shown) in kinds.iter().zip(&mut shown) {
                flood(kind, at, share, shown);
            }
        }
        for (kind, shown) in kinds.iter().zip(&mut shown) {
            round_trips(kind, share, shown);
        }
    }
    report(&kinds, &mut shown);
    for stalled in [false, true] {
        memory(stalled, MEMORY_FRAMES / share);
    }
    println!("{} at the end", load());
}

/// The load of the machine, this program included.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    format!("load average {}", load.split(' ').next().unwrap())
}

/// Measures frames per second, with a new server.
fn flood(kind: &Kind, at: usize, share: u64, shown: &mut Shown) {
    let listeners = LISTENERS[at];
    let frames = match kind {
        Kind::Salt(..) => FRAMES / SALT_SHARE / share,
        _ => FRAMES / share,
    };
    let server = kind.start(listeners);
    match traffic::flood(kind, &server, listeners, frames) {
        Ok(run) => {
            shown.rates[at].push(frames as f64 / run.took.as_secs_f64());
            shown.misplaced += run.misplaced;
        }
        // On a busy machine, a listener without time to read may have been disconnected.
        Err(error) => println!("{}, {listeners} listeners: {error}", kind.name()),
    }
}

fn round_trips(kind: &Kind, share: u64, shown: &mut Shown) {
    let count = ROUND_TRIPS / usize::try_from(share).unwrap();
    let server = kind.start(1);
    let times = traffic::round_trips(kind, &server, count).unwrap();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    shown.p50.push(micros(times[count / 2]));
    shown.p99.push(micros(times[count * 99 / 100]));
}

fn report(kinds: &[Kind], shown: &mut [Shown]) {
    println!(
        "{:<15}{:>34}{:>9}{:>34}{:>9}{:>20}{:>7}",
        "",
        "frames/s to 1 listener",
        "evbus/it",
        "to each of 4",
        "evbus/it",
        "round trip p50, us",
        "p99"
    );
    let host: Vec<f64> = shown[0]
        .rates
        .iter_mut()
        .map(|rates| median(rates))
        .collect();
    for (kind, shown) in kinds.iter().zip(shown.iter_mut()) {
        let [one, four] = &mut shown.rates;
        println!(
            "{:<15}{:>34}{:>9.2}{:>34}{:>9.2}{:>20}{:>7.0}",
            kind.name(),
            spread(one),
            host[0] / median(one),
            spread(four),
            host[1] / median(four),
            spread(&mut shown.p50),
            median(&mut shown.p99),
        );
        if shown.misplaced > 0 {
            println!(
                "{:<15}{} frames were not in their place",
                "", shown.misplaced
            );
        }
    }
    for (kind, shown) in kinds.iter().zip(shown) {
        let may_misplace = matches!(kind, Kind::Salt(..));
        assert!(
            may_misplace || shown.misplaced == 0,
            "{} lost the order",
            kind.name()
        );
    }
}

fn spread(values: &mut [f64]) -> String {
    let middle = median(values);
    match values {
        [] => "none".to_owned(),
        [least, .., most] => format!("{middle:.0} ({least:.0} to {most:.0})"),
        [only] => format!("{only:.0}"),
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Shows the host's memory while frames are sent to a listener that reads, and to another that does not
/// if `stalled`.
fn memory(stalled: bool, frames: u64) {
    let kind = Kind::Evbus;
    let server = kind.start(1);
    let idle = server.memory().now;
    let other = stalled.then(|| server.listen());
    let run = traffic::flood(&kind, &server, 1, frames).unwrap();
    let memory = server.memory();
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{frames} frames to one listener{}: {:.0} frames/s; evbus has {:.1} MiB idle, {:.1} MiB at its highest, {:.1} MiB after",
        if other.is_some() {
            " beside one that does not read"
        } else {
            ""
        },
        frames as f64 / run.took.as_secs_f64(),
        mebibytes(idle),
        mebibytes(memory.highest),
        mebibytes(memory.now),
    );
}
