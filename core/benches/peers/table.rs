//! What a workload showed, as a table of docs/BENCHMARKS.md.

use std::fs;
use std::time::Duration;

/// What one candidate showed in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) events: u64,
    pub(crate) took: Duration,
    pub(crate) processor: Duration,
    /// In bytes, if it was measured.
    pub(crate) peak_memory: Option<u64>,
    /// If they were counted, which makes a round useless for everything else.
    pub(crate) allocations: Option<u64>,
}

impl Round {
    fn rate(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }

    fn nanoseconds(&self) -> f64 {
        self.processor.as_secs_f64() * 1e9 / self.events as f64
    }
}

/// One candidate of a table of rates.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    aim: &'static str,
    /// The position of the row that this one is compared with.
    against: usize,
    timed: Vec<Round>,
    /// For each event.
    allocations: Option<f64>,
}

impl Row {
    /// `aim` is what the project wants in the last column, or nothing.
    pub(crate) fn new(name: &str, aim: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            aim,
            against: 0,
            timed: Vec::new(),
            allocations: None,
        }
    }

    /// Compared with another row than the first.
    pub(crate) fn against(self, row: usize) -> Self {
        Self {
            against: row,
            ..self
        }
    }

    pub(crate) fn add(&mut self, round: Round) {
        match round.allocations {
            Some(count) => self.allocations = Some(count as f64 / round.events as f64),
            None => self.timed.push(round),
        }
    }

    fn rate(&self) -> f64 {
        median(self.timed.iter().map(Round::rate))
    }
}

/// Prints the rates of all candidates, each compared with a row of evbus, most with the first.
pub(crate) fn rates(rows: &[Row]) {
    println!(
        "| | events/s | processor time per event | allocations per event | peak memory | evbus / it | aim |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (number, row) in rows.iter().enumerate() {
        let rounds = &row.timed;
        let memory: Option<Vec<u64>> = rounds.iter().map(|round| round.peak_memory).collect();
        println!(
            "| {} | {} | {} ns | {} | {} | {} | {} |",
            row.name,
            spread(rounds.iter().map(Round::rate)),
            rounded(median(rounds.iter().map(Round::nanoseconds))),
            or_dash(row.allocations, |count| format!("{count:.1}")),
            or_dash(memory, |bytes| {
                mebibytes(bytes.into_iter().map(|bytes| bytes as f64))
            }),
            match number {
                0 => String::new(),
                _ => ratio(rows[row.against].rate() / row.rate()),
            },
            row.aim
        );
    }
}

/// A ratio, with decimals only where they say something.
pub(crate) fn ratio(value: f64) -> String {
    let decimals = if value < 10.0 { 2 } else { 0 };
    format!("{value:.decimals$}")
}

/// For what was not measured.
pub(crate) fn or_dash<T>(value: Option<T>, print: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), print)
}

/// The median, with the range in brackets.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> String {
    with_range(values, rounded)
}

/// The same with two decimals.
pub(crate) fn exact(values: impl Iterator<Item = f64>) -> String {
    with_range(values, |value| format!("{value:.2}"))
}

fn with_range(values: impl Iterator<Item = f64>, print: fn(f64) -> String) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = print(median(values.iter().copied()));
    match values[..] {
        [least, .., most] => format!("{middle} ({} to {})", print(least), print(most)),
        _ => middle,
    }
}

/// Without the digits that only repeat chance, and with commas.
fn rounded(value: f64) -> String {
    let unit = match value {
        100_000.0.. => 1000.0,
        10_000.0.. => 100.0,
        1000.0.. => 10.0,
        _ => 1.0,
    };
    let digits = format!("{:.0}", (value / unit).round() * unit);
    let first = digits.len() % 3;
    let (first, rest) = digits.split_at(if first == 0 {
        3.min(digits.len())
    } else {
        first
    });
    rest.as_bytes()
        .chunks(3)
        .fold(first.to_owned(), |text, three| {
            text + "," + &String::from_utf8_lossy(three)
        })
}

/// The median of numbers of bytes.
pub(crate) fn mebibytes(bytes: impl Iterator<Item = f64>) -> String {
    format!("{:.1} MiB", median(bytes) / f64::from(1 << 20))
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
