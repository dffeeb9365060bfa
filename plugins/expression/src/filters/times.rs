//! Times as text.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error};

use crate::fault::ours;

/// The longest format, in bytes; what it makes is at most some dozens of times as long.
const MAX_FORMAT: usize = 1024;

pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("strftime", strftime);
}

/// `time | strftime("%Y-%m-%d")`: seconds since the Unix epoch, in UTC or, with `zone="local"`, as on this machine.
fn strftime(
    time: &Value,
    format: &str,
    zone: Option<&str>,
    options: Kwargs,
) -> Result<String, Error> {
    let named: Option<&str> = options.get("zone")?;
    options.assert_all_used()?;
    let zone = match named.or(zone).unwrap_or("UTC") {
        "UTC" => TimeZone::UTC,
        "local" => TimeZone::system(),
        _ => {
            return Err(ours(
                "strftime: found another zone, expected \"UTC\" or \"local\"",
            ));
        }
    };
    if format.len() > MAX_FORMAT {
        return Err(ours(format!(
            "strftime: found a format of {} bytes, expected at most {MAX_FORMAT}",
            format.len()
        )));
    }
    let moment =
        timestamp(time).ok_or_else(|| ours("strftime: expected seconds since the Unix epoch"))?;
    strtime::format(format, &moment.to_zoned(zone)).map_err(|_| {
        ours("strftime: found a format that it does not know; check its letters after %")
    })
}

/// A number with its microseconds: a double has no more digits than that for the times of today.
fn timestamp(time: &Value) -> Option<Timestamp> {
    if !time.is_number() {
        return None;
    }
    let seconds = f64::try_from(time.clone()).ok()?;
    #[allow(clippy::cast_possible_truncation)]
    let micros = (seconds * 1e6).round() as i64;
    Timestamp::from_microsecond(micros).ok()
}
