//! Damage to the files of stores, and what the host says of it.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::ledger::DESTINATIONS;
use super::random::Random;

/// The head of a store's log, and a frame in it: a head and a page.
const LOG_HEAD: u64 = 32;
const FRAME_HEAD: u64 = 24;
const FRAME: u64 = FRAME_HEAD + 4096;

pub(crate) fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "db-wal")
}

/// Appends what a write leaves that a crash cut short.
pub(crate) fn tear(log: &Path, random: &mut Random) {
    let content = fs::read(log).unwrap();
    let part = random.within(1..FRAME);
    let frame = content.get(32..32 + usize::try_from(part).unwrap());
    let torn = match frame {
        // The beginning of a frame that is like others.
        Some(frame) if random.below(2) == 0 => frame.to_vec(),
        _ => random.bytes(part),
    };
    let mut log = fs::File::options().append(true).open(log).unwrap();
    log.write_all(&torn).unwrap();
}

/// Flips one bit of a file, often one of those that the rest depends on. Gives its place; nothing
/// where the file is empty.
pub(crate) fn flip(path: &Path, random: &mut Random) -> Option<u64> {
    let mut content = fs::read(path).unwrap();
    let len = content.len() as u64;
    if len == 0 {
        return None;
    }
    let frames = (len.saturating_sub(LOG_HEAD)) / FRAME;
    let byte = match random.below(4) {
        // The head of the store, or of its log.
        0 => random.below(if is_log(path) { LOG_HEAD } else { 100 }.min(len)),
        // The head of a frame.
        1 if is_log(path) && frames > 0 => {
            LOG_HEAD + random.below(frames) * FRAME + random.below(FRAME_HEAD)
        }
        _ => random.below(len),
    };
    let bit = random.below(8);
    content[usize::try_from(byte).unwrap()] ^= 1 << bit;
    fs::write(path, content).unwrap();
    Some(byte * 8 + bit)
}

/// What the host said of one destination's store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// So many events may be missing at most.
    pub(crate) events: u64,
}

/// Reads what the hosts of a run said of damage, for each destination.
pub(crate) fn reports(log: &str) -> Vec<Report> {
    let mut reports = vec![Report::default(); DESTINATIONS.len()];
    for line in log.lines() {
        // The first two of a store that is opened; the last of one that is read, and then dead
        // letters are counted in.
        let number = [
            " were lost",
            " records are missing",
            " events on disk are damaged or missing",
        ]
        .iter()
        .find_map(|text| {
            let number = line.split_once(text)?.0.rsplit(' ').next()?;
            // "an unknown number of": all may be gone.
            Some(number.parse().unwrap_or(u64::from(u32::MAX)))
        });
        if let Some(number) = number {
            let about = (0..DESTINATIONS.len()).find(|about| is_about(line, *about));
            reports[about.expect("it names one")].events += number;
        }
    }
    reports
}

fn is_about(line: &str, number: usize) -> bool {
    let store = DESTINATIONS[number].store;
    let in_store = line.split("/queues/").nth(1).is_some_and(|file| {
        let hash = file.strip_prefix(store).and_then(|rest| rest.get(..15));
        hash.is_some_and(|hash| Path::new(hash).extension().is_some_and(|end| end == "db"))
    });
    in_store || line.contains(&format!("destination fixture-good[{number}]"))
}
