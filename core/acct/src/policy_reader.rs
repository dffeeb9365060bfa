//! Reads a [`Policy`] from an entry's `evbus:` key, strictly, and reports every fault at once.
//!
//! By hand rather than with serde: each fault needs its key's place in the file, and all of them are
//! wanted, not the first.

mod per_event;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::AcctError;
use super::key::Key;
use super::node::{Node, Value};
use super::place::Place;
use evbus_destination::{
    BatchCaps, DeadLetterLimits, DeadLettersFull, DiskLimits, Isolation, Policy, QueueLimits,
    Retry, WhenFull,
};
use evbus_duration::WITH_UNITS;

/// The key of an entry that belongs to the host, not to the plugin.
pub(crate) const HOST_KEY: &str = "evbus";

/// The keys below it.
const KEYS: [&str; 15] = [
    "queue",
    "disk",
    "dead_letters",
    "when_full",
    "durable",
    "retry",
    "batch",
    "ordered",
    "deadline",
    "required",
    "isolate",
    "when",
    "body",
    "rate",
    "dedup",
];

/// Whether this key and its value belong to the host, and are neither a plugin's nor a pattern with an entry.
pub(crate) fn is_policy(key: &Key, node: &Node) -> bool {
    let Value::Map(pairs) = &node.value else {
        return false;
    };
    key.name == HOST_KEY
        && !pairs.is_empty()
        && (pairs.iter()).all(|(key, _)| KEYS.contains(&key.name.as_str()))
}

/// A policy below a value of an entry, where it has no effect: the path to it, and its key.
pub(crate) fn find<'n>(node: &'n Node, path: &str) -> Option<(String, &'n Key)> {
    match &node.value {
        Value::Map(pairs) => pairs.iter().find_map(|(key, value)| {
            let below = format!("{path}.{}", key.name);
            if is_policy(key, value) {
                return Some((below, key));
            }
            find(value, &below)
        }),
        Value::List(items) => (items.iter().enumerate())
            .find_map(|(index, item)| find(item, &format!("{path}[{index}]"))),
        _ => None,
    }
}

const DAY: f64 = 86_400.0;
const KIB: u64 = 1024;
const GIB: u64 = 1024 * 1024 * KIB;

/// Reads the value of an entry's host key; `entry` is the entry's own dotted path.
pub(crate) fn read(
    key: &Key,
    node: &Node,
    file: &Arc<str>,
    entry: &str,
) -> Result<Policy, Vec<AcctError>> {
    let mut reader = Reader {
        file,
        faults: Vec::new(),
    };
    let spot = Spot {
        path: format!("{entry}.{HOST_KEY}"),
        place: key.place,
        node,
    };
    let policy = reader.policy(&spot);
    if reader.faults.is_empty() {
        Ok(policy)
    } else {
        Err(reader.faults)
    }
}

/// A key with its value.
struct Spot<'n> {
    path: String,
    place: Place,
    node: &'n Node,
}

struct Reader<'f> {
    file: &'f Arc<str>,
    faults: Vec<AcctError>,
}

impl Reader<'_> {
    fn policy(&mut self, spot: &Spot<'_>) -> Policy {
        let mut policy = Policy::default();
        self.fields(spot, &KEYS, |this, name, spot| match name {
            "queue" => policy.queue = this.queue(spot),
            "disk" => policy.disk = this.disk(spot),
            "dead_letters" => policy.dead_letters = this.dead_letters(spot),
            "when_full" => this.set(&mut policy.when_full, spot, |v| when_full(v).map(Some)),
            "durable" => this.set(&mut policy.durable, spot, boolean),
            "retry" => policy.retry = this.retry(spot),
            "batch" => policy.batch = this.batch(spot),
            "ordered" => this.set(&mut policy.ordered, spot, boolean),
            "deadline" => this.set(&mut policy.deadline, spot, |v| duration(v, 0.1..=DAY)),
            "required" => this.set(&mut policy.required, spot, boolean),
            "isolate" => this.set(&mut policy.isolate, spot, isolation),
            "when" => this.expression(&mut policy.when, spot),
            "body" => this.expression(&mut policy.body, spot),
            "rate" => policy.rate = this.rate(spot),
            _ => policy.dedup = this.dedup(spot),
        });
        policy
    }

    fn queue(&mut self, spot: &Spot<'_>) -> QueueLimits {
        let mut queue = QueueLimits::default();
        self.fields(spot, &["events", "bytes"], |this, name, spot| match name {
            "events" => this.set(&mut queue.events, spot, |v| events(v, 100_000_000)),
            _ => this.set(&mut queue.bytes, spot, |v| bytes(v, KIB..=1024 * GIB)),
        });
        queue
    }

    fn disk(&mut self, spot: &Spot<'_>) -> DiskLimits {
        let mut disk = DiskLimits::default();
        self.fields(spot, &["bytes"], |this, _, spot| {
            this.set(&mut disk.bytes, spot, |v| {
                bytes(v, 1024 * KIB..=1024 * GIB).map(|n| n as u64)
            });
        });
        disk
    }

    fn dead_letters(&mut self, spot: &Spot<'_>) -> DeadLetterLimits {
        let mut limits = DeadLetterLimits::default();
        let known = ["events", "bytes", "when_full"];
        self.fields(spot, &known, |this, name, spot| match name {
            "events" => this.set(&mut limits.events, spot, |v| {
                events(v, 100_000_000).map(|n| n as u64)
            }),
            "bytes" => this.set(&mut limits.bytes, spot, |v| {
                bytes(v, KIB..=1024 * GIB).map(|n| n as u64)
            }),
            _ => this.set(&mut limits.when_full, spot, dead_letters_full),
        });
        limits
    }

    fn retry(&mut self, spot: &Spot<'_>) -> Retry {
        let mut retry = Retry::default();
        let known = [
            "first_delay",
            "max_delay",
            "max_attempts",
            "max_age",
            "max_crashes",
        ];
        let up_to_a_day = |v: &Value| duration(v, 0.001..=DAY);
        self.fields(spot, &known, |this, name, spot| match name {
            "first_delay" => this.set(&mut retry.first_delay, spot, up_to_a_day),
            "max_delay" => this.set(&mut retry.max_delay, spot, up_to_a_day),
            "max_attempts" => this.set(&mut retry.max_attempts, spot, |v| count(v, "attempts")),
            "max_age" => this.set(&mut retry.max_age, spot, max_age),
            _ => this.set(&mut retry.max_crashes, spot, |v| count(v, "crashes")),
        });
        if retry.max_delay < retry.first_delay {
            self.fault(
                spot,
                &format!(
                    "first_delay ({} s) is greater than max_delay ({} s); raise max_delay or lower first_delay",
                    retry.first_delay.as_secs_f64(),
                    retry.max_delay.as_secs_f64()
                ),
            );
        }
        retry
    }

    fn batch(&mut self, spot: &Spot<'_>) -> BatchCaps {
        let mut batch = BatchCaps::default();
        self.fields(spot, &["events", "bytes"], |this, name, spot| match name {
            "events" => this.set(&mut batch.events, spot, |v| events(v, 1_000_000).map(Some)),
            _ => this.set(&mut batch.bytes, spot, |v| bytes(v, 1..=GIB).map(Some)),
        });
        batch
    }

    /// Passes each known key of a mapping to `take`; an unknown key is a fault. A missing mapping has no keys.
    fn fields(
        &mut self,
        spot: &Spot<'_>,
        known: &[&str],
        mut take: impl FnMut(&mut Self, &str, &Spot<'_>),
    ) {
        let pairs = match &spot.node.value {
            Value::Null => return,
            Value::Map(pairs) => pairs,
            other => {
                let message = format!(
                    "found {}, expected a mapping; write the keys {} below it",
                    other.kind(),
                    known.join(", ")
                );
                return self.fault(spot, &message);
            }
        };
        for (key, node) in pairs {
            let spot = Spot {
                path: format!("{}.{}", spot.path, key.name),
                place: key.place,
                node,
            };
            if known.contains(&key.name.as_str()) {
                take(self, &key.name, &spot);
            } else {
                self.fault(&spot, &unknown(&key.name, known));
            }
        }
    }

    /// Stores the value read by `read`, or reports its sentence.
    fn set<T>(
        &mut self,
        field: &mut T,
        spot: &Spot<'_>,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) {
        match read(&spot.node.value) {
            Ok(value) => *field = value,
            Err(message) => self.fault(spot, &message),
        }
    }

    fn fault(&mut self, spot: &Spot<'_>, message: &str) {
        let location = spot.place.within(self.file);
        self.faults
            .push(AcctError::new(location, &spot.path, message));
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3 + 1);
    let advice = match nearest {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None => format!("remove it, or move it out of `{HOST_KEY}` if it is the plugin's"),
    };
    format!(
        "found the unknown key `{name}`, expected one of {}; {advice}",
        known.join(", ")
    )
}

fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => Err(format!(
            "found {}, expected true or false; write one of the two",
            other.kind()
        )),
    }
}

fn when_full(value: &Value) -> Result<WhenFull, String> {
    match value {
        Value::Text(text) if text.as_str() == "spill" => Ok(WhenFull::Spill),
        Value::Text(text) if text.as_str() == "block" => Ok(WhenFull::Block),
        Value::Text(text) if text.as_str() == "drop_newest" => Ok(WhenFull::DropNewest),
        other => Err(format!(
            "found {}, expected spill, block or drop_newest; choose one of them",
            other.kind()
        )),
    }
}

fn dead_letters_full(value: &Value) -> Result<DeadLettersFull, String> {
    match value {
        Value::Text(text) if text.as_str() == "drop_oldest" => Ok(DeadLettersFull::DropOldest),
        Value::Text(text) if text.as_str() == "drop_newest" => Ok(DeadLettersFull::DropNewest),
        other => Err(format!(
            "found {}, expected drop_oldest or drop_newest; choose one of the two",
            other.kind()
        )),
    }
}

/// Null means the word `none`, as for `max_attempts`.
fn isolation(value: &Value) -> Result<Isolation, String> {
    match value {
        Value::Null => Ok(Isolation::None),
        Value::Text(text) if text.as_str() == "none" => Ok(Isolation::None),
        Value::Text(text) if text.as_str() == "process" => Ok(Isolation::Process),
        other => Err(format!(
            "found {}, expected none or process; choose one of the two",
            other.kind()
        )),
    }
}

fn whole(value: &Value, range: &RangeInclusive<u64>) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().filter(|n| range.contains(n)),
        _ => None,
    }
}

fn events(value: &Value, max: u64) -> Result<usize, String> {
    whole(value, &(1..=max))
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| {
            format!(
                "found {}, expected a whole number of events from 1 to {max}; correct the number",
                value.kind()
            )
        })
}

/// Null and the word `none` mean no limit.
fn is_none(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.as_str() == "none",
        _ => false,
    }
}

fn count(value: &Value, what: &str) -> Result<Option<u32>, String> {
    if is_none(value) {
        return Ok(None);
    }
    let max = u64::from(u32::MAX);
    whole(value, &(1..=max))
        .and_then(|n| u32::try_from(n).ok())
        .map(Some)
        .ok_or_else(|| {
            format!(
                "found {}, expected a whole number of {what} from 1 to {max}, or none; write none to retry forever",
                value.kind()
            )
        })
}

fn max_age(value: &Value) -> Result<Option<Duration>, String> {
    if is_none(value) {
        return Ok(None);
    }
    duration(value, 1.0..=3650.0 * DAY)
        .map(Some)
        .map_err(|message| format!("{message}, or none to retry forever"))
}

/// A number of seconds, or text with units; the range is in seconds.
fn duration(value: &Value, range: RangeInclusive<f64>) -> Result<Duration, String> {
    let found = match value {
        Value::Number(number) => {
            (number.as_f64()).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        }
        Value::Text(text) => evbus_duration::parse(text),
        _ => None,
    };
    found
        .filter(|found| range.contains(&found.as_secs_f64()))
        .ok_or_else(|| {
            format!(
                "found {}, expected a number of seconds from {} to {}, or {WITH_UNITS}",
                value.kind(),
                range.start(),
                range.end()
            )
        })
}

/// A whole number of bytes, or text with a unit: kB, MB, GB in powers of 1000, KiB, MiB, GiB in powers of 1024.
fn bytes(value: &Value, range: RangeInclusive<u64>) -> Result<usize, String> {
    let size = match value {
        Value::Text(text) => byte_size(text).filter(|n| range.contains(n)),
        other => whole(other, &range),
    };
    size.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| {
        format!(
            "found {}, expected a size from {} to {}; write a whole number of bytes, or one with a unit such as `10 KB` or `64 MiB`",
            value.kind(),
            shown_size(*range.start()),
            shown_size(*range.end())
        )
    })
}

const UNITS: [(&str, u64); 7] = [
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", KIB),
    ("mib", 1024 * KIB),
    ("gib", GIB),
];

/// Reads a size as written in acct files, a whole number and a unit: `64 MiB`. `None` for anything else.
pub fn byte_size(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Shows only bounds, which are powers of 1024.
fn shown_size(bytes: u64) -> String {
    match bytes {
        GIB.. => format!("{} GiB", bytes / GIB),
        KIB.. => format!("{} KiB", bytes / KIB),
        _ => format!("{bytes} B"),
    }
}
