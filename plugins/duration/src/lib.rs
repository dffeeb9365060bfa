//! Durations as operators write them: `30s`, `5m`, `7d`, `1h 30m`, or a plain number of seconds.
//!
//! The host and the SDK share this, so that a duration means the same in the host's own keys, in its flags and in a
//! plugin's keys.

use std::time::Duration;

/// What messages say about text, after "expected a number of seconds, or".
pub const WITH_UNITS: &str = "a duration with units such as 30s, 5m, 7d";

/// Units of `humantime` whose length is an average. `M` is also easily taken for minutes.
const UNEVEN: [&str; 8] = ["M", "month", "months", "y", "yr", "yrs", "year", "years"];

/// Reads a duration: a number of seconds (`10`, `0.5`), or numbers with units (`500ms`, `10s`, `5 min`, `1h 30m`).
/// `None` for anything else.
///
/// Units are `ns`, `us`, `ms`, `s`, `m`, `h`, `d` and `w`, and their longer names such as `min` and `days`. Months and
/// years are refused, because their length varies.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut words = text.split(|c: char| !c.is_alphabetic());
    if words.any(|word| UNEVEN.contains(&word)) {
        return None;
    }
    humantime::parse_duration(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, millis: Option<u64>) {
        assert_eq!(parse(text), millis.map(Duration::from_millis), "{text:?}");
    }

    #[test]
    fn a_duration_is_a_number_of_seconds_or_has_units() {
        check("10", Some(10_000));
        check("0.5", Some(500));
        check("0", Some(0));
        check("1e3", Some(1_000_000));
        check(" 10s ", Some(10_000));
        check("500ms", Some(500));
        check("1.5s", Some(1500));
        check("5m", Some(300_000));
        check("5 min", Some(300_000));
        check("1h", Some(3_600_000));
        check("1h 30m", Some(5_400_000));
        check("1h30m", Some(5_400_000));
        check("7d", Some(604_800_000));
        check("2 weeks", Some(1_209_600_000));
        for wrong in [
            "",
            "s",
            "-1",
            "-1s",
            "soon",
            "10 parsecs",
            "inf",
            "nan",
            "1h30",
            "5S",
            "5 MIN",
            "1,5s",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn months_and_years_are_refused_so_that_nobody_takes_them_for_minutes() {
        for unit in UNEVEN {
            let known = humantime::parse_duration(&format!("5{unit}"));
            assert!(known.is_ok(), "{unit}: humantime has no such unit");
            check(&format!("5{unit}"), None);
            check(&format!("1h 5 {unit} 3s"), None);
            check(&format!("1h5{unit}3s"), None);
        }
    }
}
