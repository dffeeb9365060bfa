//! One host with 1,000 destinations, each of which gets every event.

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use xtask::peers::Peers;

use crate::Scale;
use crate::load::{BODY_BYTES, Events};
use crate::table;
use crate::work::{Candidate, Work};

const DESTINATIONS: u64 = 1000;

pub(crate) fn fan_out(peers: &Peers, scale: Scale) {
    println!("| threads | peak memory | deliveries/s (range) | processor time per delivery |");
    println!("|---|---|---|---|");
    let count = (scale.events / 512).next_multiple_of(256);
    let (mut rates, mut times, mut memory, mut threads) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let work = Work::new(&["plugin-glob", "plugin-file"]);
        let mut acct = "file:\n".to_owned();
        let files: Vec<_> = (0..DESTINATIONS)
            .map(|number| work.path().join(format!("out-{number}")))
            .collect();
        for (number, file) in files.iter().enumerate() {
            // No two patterns alike, as in a real file, and all match.
            let stars = "*".repeat(1 + number);
            writeln!(
                acct,
                "  'idem{stars}':\n      path: {}\n      format: body\n      fsync: never",
                file.display()
            )
            .unwrap();
        }
        let (mut process, socket) = work.start(Candidate::Evbus, peers, &acct);
        let whole = count * (BODY_BYTES as u64 + 1);
        let before = process.processor_time();
        let start = Instant::now();
        Events::of(&["idem-status"]).write(&socket, Candidate::Evbus.form(), count);
        let mut left = files.iter().peekable();
        process.until_done(|| {
            while left
                .next_if(|file| fs::metadata(file).is_ok_and(|file| file.len() == whole))
                .is_some()
            {}
            left.peek().is_none()
        });
        let deliveries = (count * DESTINATIONS) as f64;
        rates.push(deliveries / start.elapsed().as_secs_f64());
        times.push((process.processor_time() - before).as_secs_f64() * 1e9 / deliveries);
        memory.push(process.peak_memory() as f64 / f64::from(1 << 20));
        threads.push(process.threads() as f64);
    }
    println!(
        "| {:.0} | {:.1} MiB | {} | {:.0} ns |",
        table::median(threads.into_iter()),
        table::median(memory.into_iter()),
        table::spread(rates.into_iter()),
        table::median(times.into_iter())
    );
}
