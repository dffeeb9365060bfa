//! The host beside the programs that people use today (rsyslog, syslog-ng, NATS, Salt), and beside bare loops that do
//! nothing but the part of its work that nothing can avoid. Each does the same work in turn, in a process of its own,
//! loaded by one program that only writes bytes, and what arrives is counted where it arrives.
//!
//! `cargo xtask bench peers` runs it, which fetches the peers; `-- NAME...` chooses workloads, `-- --quick` shows only
//! that everything works. Only ratios of one run mean something on a shared machine, so the candidates take turns, and
//! medians are printed.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::unchecked_time_subtraction
)]

mod allocations;
mod bare;
mod drain;
mod fan_out;
mod in_process;
mod listeners;
mod load;
mod process;
mod round_trip;
mod servers;
mod start;
mod table;
mod to_file;
mod to_kafka;
mod to_rabbitmq;
mod work;

use xtask::peers::Peers;

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Scale {
    rounds: usize,
    /// Events of a round.
    events: u64,
}

const WHOLE: Scale = Scale {
    rounds: 5,
    events: 1_024_000,
};
const QUICK: Scale = Scale {
    rounds: 1,
    events: 8_192,
};

/// Events of the pass in which allocations are counted.
const COUNTED_EVENTS: u64 = 65_536;

/// One turn of every candidate.
#[derive(Debug, Clone, Copy)]
struct Pass {
    number: usize,
    events: u64,
    /// Whether allocations are counted, which takes time, instead of what it takes.
    counts: bool,
}

impl Scale {
    /// The rounds, and a shorter one in which allocations are counted.
    fn passes(self) -> impl Iterator<Item = Pass> {
        (0..=self.rounds).map(move |number| {
            let counts = number == self.rounds;
            let events = if counts {
                self.events.min(COUNTED_EVENTS)
            } else {
                self.events
            };
            Pass {
                number,
                events,
                counts,
            }
        })
    }
}

type Workload = fn(&Peers, Scale);

static WORKLOADS: [(&str, Workload); 12] = [
    ("file", to_file::raw),
    ("filter", to_file::filtered),
    ("kafka", to_kafka::throughput),
    ("rabbitmq", to_rabbitmq::throughput),
    ("drain", drain::drain),
    ("latency", to_kafka::latency),
    ("in-process", in_process::in_process),
    ("listeners", listeners::listeners),
    ("stalled", listeners::stalled),
    ("round-trip", round_trip::round_trip),
    ("start", start::start),
    ("fan-out", fan_out::fan_out),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let [bare::ARGUMENT, name, rest @ ..] = &args[..] {
        return bare::run(name, rest);
    }
    // `cargo bench` adds `--bench`. `cargo test` gives every test program what is meant for its own harness: options,
    // and a text that chooses tests, of which there are none here.
    let is_bench = args.contains(&"--bench");
    if !is_bench && !args.is_empty() {
        return;
    }
    args.retain(|arg| *arg != "--bench");
    let is_quick = !is_bench || args.contains(&"--quick");
    args.retain(|arg| *arg != "--quick");
    let names = args;
    let known: Vec<&str> = WORKLOADS.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        panic!(
            "there is no workload {unknown:?}; expected --quick or some of {}",
            known.join(", ")
        );
    }
    let scale = if is_quick { QUICK } else { WHOLE };
    let peers = Peers::prepare().unwrap_or_else(|error| panic!("{error}"));
    println!(
        "{} threads, {}; medians of {} rounds (range)",
        std::thread::available_parallelism().map_or(1, usize::from),
        table::load(),
        scale.rounds
    );
    for (name, run) in &WORKLOADS {
        if names.is_empty() || names.contains(name) {
            println!("\n## {name}\n");
            run(&peers, scale);
        }
    }
    println!("\n{} at the end", table::load());
}
