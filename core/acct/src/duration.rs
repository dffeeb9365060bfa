//! Durations as people write them.

use std::time::Duration;

/// Reads a duration as written in acct files and flags: a number of seconds (`10`, `0.5`), or whole numbers
/// with units (`10s`, `500ms`, `5 min`, `1h 30m`); `None` for anything else.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_of_seconds_or_has_units() {
        let check = |text: &str, millis: Option<u64>| {
            assert_eq!(
                duration(text),
                millis.map(Duration::from_millis),
                "{text:?}"
            );
        };
        check("10", Some(10_000));
        check("0.5", Some(500));
        check("0", Some(0));
        check(" 10s ", Some(10_000));
        check("500ms", Some(500));
        check("5 min", Some(300_000));
        check("1h", Some(3_600_000));
        check("1h 30m", Some(5_400_000));
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
        ] {
            check(wrong, None);
        }
    }
}
