//! What a workload showed, as a table.

use std::fs;
use std::time::Duration;

/// What one candidate showed in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) events: u64,
    pub(crate) took: Duration,
    pub(crate) processor: Duration,
    /// In bytes; 0 where it was not measured.
    pub(crate) peak_memory: u64,
}

impl Round {
    fn rate(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }

    fn nanoseconds(&self) -> f64 {
        self.processor.as_secs_f64() * 1e9 / self.events as f64
    }
}

/// Prints the rates of all candidates; the first is what the others are compared with.
pub(crate) fn rates(candidates: &[(&str, Vec<Round>)]) {
    println!(
        "| | events/s (range) | processor time per event | peak memory | {} / it |",
        candidates[0].0
    );
    println!("|---|---|---|---|---|");
    let of_first = median(candidates[0].1.iter().map(Round::rate));
    for (name, rounds) in candidates {
        let rate = median(rounds.iter().map(Round::rate));
        println!(
            "| {name} | {} | {:.0} ns | {:.1} MiB | {:.2} |",
            spread(rounds.iter().map(Round::rate)),
            median(rounds.iter().map(Round::nanoseconds)),
            median(rounds.iter().map(|round| round.peak_memory as f64)) / f64::from(1 << 20),
            of_first / rate
        );
    }
}

/// The median, with the range in brackets.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let [least, .., most] = values[..] else {
        return format!("{:.0}", values[0]);
    };
    let middle = median(values.iter().copied());
    format!("{middle:.0} ({least:.0} to {most:.0})")
}

/// The same with two decimals.
pub(crate) fn exact(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = median(values.iter().copied());
    match values[..] {
        [least, .., most] => format!("{middle:.2} ({least:.2} to {most:.2})"),
        _ => format!("{middle:.2}"),
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How busy the machine is, this program included.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    format!("load average {}", load.split(' ').next().unwrap())
}
