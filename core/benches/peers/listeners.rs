//! One program fires, 1, 4 and 16 listeners hear all; and what a listener that does not read costs the host.

use std::thread;

use xtask::peers::Peers;

use crate::servers::{Kind, Server, Stream};
use crate::table::{self, Round, Row};
use crate::{Pass, Scale};

const LISTENERS: [u64; 3] = [1, 4, 16];
/// Salt's publishers get so many times fewer events.
const SALT_SHARE: u64 = 32;
/// What is written and read at a time.
const BUFFER_BYTES: usize = 64 * 1024;

pub(crate) fn listeners(peers: &Peers, scale: Scale) {
    let kinds = Kind::all();
    for listeners in LISTENERS {
        println!("Listeners: {listeners}\n");
        let mut rows: Vec<Row> = kinds
            .iter()
            .map(|kind| Row::new(&kind.name(), aim(kind)))
            .collect();
        for pass in scale.passes() {
            for (kind, row) in kinds.iter().zip(&mut rows) {
                if pass.counts && !kind.is_countable() {
                    continue;
                }
                let events = pass.events / listeners;
                let events = match kind {
                    Kind::Salt(..) => (events / SALT_SHARE).max(1),
                    _ => events,
                };
                let mut server = kind.start(peers, pass, listeners as usize);
                row.add(flood(kind, &mut server, listeners as usize, events));
            }
        }
        table::rates(&rows);
        println!();
    }
}

fn aim(kind: &Kind) -> &'static str {
    match kind {
        Kind::Evbus => "",
        Kind::CopyLoop => "0.6",
        Kind::Nats => "3",
        Kind::Salt(..) => "20",
    }
}

/// Fires as fast as the server takes events, until every listener has heard all.
fn flood(kind: &Kind, server: &mut Server, listeners: usize, events: u64) -> Round {
    let [event, heard] = kind.event();
    let (mut fire, streams) = server.connect(listeners);
    let expected = events * heard.len() as u64;
    server.process.measure(events, |_| {
        thread::scope(|scope| {
            for stream in streams {
                scope.spawn(move || hear(kind, stream, expected));
            }
            let per_block = (BUFFER_BYTES / event.len()) as u64;
            let block = event.repeat(per_block as usize);
            let mut left = events;
            while left > 0 {
                let count = left.min(per_block);
                fire.write_all(&block[..count as usize * event.len()])
                    .unwrap();
                left -= count;
            }
        });
    })
}

fn hear(kind: &Kind, mut stream: Box<dyn Stream>, expected: u64) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut heard = 0;
    while heard < expected {
        let count = stream.read(&mut buffer).unwrap();
        assert!(
            count > 0,
            "{} cut a listener off after {heard} of {expected} bytes",
            kind.name()
        );
        heard += count as u64;
    }
    assert_eq!(
        heard,
        expected,
        "{}: a listener heard more than was fired",
        kind.name()
    );
}

/// The host's memory while one listener hears everything, without and with another one that does not read.
pub(crate) fn stalled(peers: &Peers, scale: Scale) {
    println!("| | idle | peak | after |");
    println!("|---|---|---|---|");
    for (what, stalls) in [
        ("one listener", false),
        ("beside one that does not read", true),
    ] {
        let mut shown = [Vec::new(), Vec::new(), Vec::new()];
        for number in 0..scale.rounds {
            let pass = Pass {
                number,
                events: scale.events,
                counts: false,
            };
            let mut server = Kind::Evbus.start(peers, pass, 1);
            let idle = server.process.memory();
            let stalled = stalls.then(|| server.listen());
            flood(&Kind::Evbus, &mut server, 1, pass.events);
            let measured = [idle, server.process.peak_memory(), server.process.memory()];
            drop(stalled);
            for (shown, bytes) in shown.iter_mut().zip(measured) {
                shown.push(bytes as f64);
            }
        }
        let [idle, peak, after] = shown.map(|bytes| table::mebibytes(bytes.into_iter()));
        println!("| {what} | {idle} | {peak} | {after} |");
    }
}
