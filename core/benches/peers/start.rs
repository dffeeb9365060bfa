//! From starting a process until its socket is there, and its memory while it has nothing to do.

use std::fs;
use std::time::{Duration, Instant};

use xtask::peers::Peers;

use crate::Scale;
use crate::load::Events;
use crate::table;
use crate::to_file::raw_configuration;
use crate::work::{CANDIDATES, Candidate, Work};

/// Starts of a round.
const STARTS: usize = 5;
/// After which a program that has just started is idle.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn start(peers: &Peers, scale: Scale) {
    println!("| | start until its socket is there | idle memory | aim |");
    println!("|---|---|---|---|");
    let mut shown = CANDIDATES.map(|candidate| (candidate, Vec::new(), Vec::new()));
    let work = Work::new(&["plugin-glob", "plugin-file"]);
    for _ in 0..scale.rounds {
        for (candidate, times, memory) in &mut shown {
            let file = work.path().join("out");
            let configuration = raw_configuration(*candidate, "batch", &file);
            for number in 0..STARTS {
                let start = Instant::now();
                let (mut process, socket) = work.start(*candidate, peers, &configuration);
                times.push(start.elapsed().as_secs_f64() * 1e3);
                if number == 0 {
                    std::thread::sleep(SETTLE);
                    memory.push(process.memory() as f64);
                }
                // It works, and was not only there.
                let _ = fs::remove_file(&file);
                Events::of(&["idem-status"]).write(&socket, candidate.form(), 256);
                process.until_done(|| fs::metadata(&file).is_ok_and(|file| file.len() > 0));
            }
        }
    }
    for (candidate, times, memory) in shown {
        println!(
            "| {} | {} ms | {} | {} |",
            candidate.name(),
            table::spread(times.into_iter()),
            table::mebibytes(memory.into_iter()),
            match candidate {
                Candidate::Evbus => "20 ms, 12 MiB",
                _ => "",
            }
        );
    }
}
