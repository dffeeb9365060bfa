//! One event at a time through the event sockets: from firing it until a listener has it.

use std::time::Instant;

use xtask::peers::Peers;

use crate::Scale;
use crate::servers::{Kind, Server};
use crate::table;

/// So many times fewer events than other workloads have.
const SHARE: u64 = 64;

pub(crate) fn round_trip(peers: &Peers, scale: Scale) {
    let kinds = Kind::all();
    let mut shown: Vec<[Vec<f64>; 3]> = kinds.iter().map(|_| Default::default()).collect();
    for pass in scale.passes() {
        for (kind, [p50, p99, allocations]) in kinds.iter().zip(&mut shown) {
            if pass.counts && !kind.is_countable() {
                continue;
            }
            let count = pass.events / SHARE;
            let mut server = kind.start(peers, pass, 1);
            let (times, counted) = round_trips(kind, &mut server, count);
            if let Some(counted) = counted {
                allocations.push(counted);
            } else {
                p50.push(times[times.len() / 2]);
                p99.push(times[times.len() * 99 / 100]);
            }
        }
    }
    println!("| | p50, us | p99, us | allocations per event | p50, it / evbus | aim |");
    println!("|---|---|---|---|---|---|");
    let of_evbus = table::median(shown[0][0].iter().copied());
    for (number, (kind, [p50, p99, allocations])) in kinds.iter().zip(shown).enumerate() {
        let of_it = table::median(p50.iter().copied());
        let (ratio, aim) = match kind {
            _ if number == 0 => (String::new(), ""),
            Kind::Salt(..) => (table::ratio(of_it / of_evbus), "1"),
            _ => (table::ratio(of_it / of_evbus), ""),
        };
        println!(
            "| {} | {} | {} | {} | {ratio} | {aim} |",
            kind.name(),
            table::spread(p50.into_iter()),
            table::spread(p99.into_iter()),
            table::or_dash(allocations.first(), |count| format!("{count:.1}")),
        );
    }
}

/// The microseconds that each took, ascending, and the allocations of each if they are counted.
fn round_trips(kind: &Kind, server: &mut Server, count: u64) -> (Vec<f64>, Option<f64>) {
    let [event, expected] = kind.event();
    let (mut fire, mut listeners) = server.connect(1);
    let mut heard = vec![0; expected.len()];
    let mut times = Vec::new();
    let round = server.process.measure(count, |_| {
        for _ in 0..count {
            let start = Instant::now();
            fire.write_all(&event).unwrap();
            listeners[0].read_exact(&mut heard).unwrap();
            times.push(start.elapsed().as_secs_f64() * 1e6);
            assert_eq!(heard, expected, "{}", kind.name());
        }
    });
    times.sort_by(f64::total_cmp);
    let allocations = round
        .allocations
        .map(|counted| counted as f64 / count as f64);
    (times, allocations)
}
