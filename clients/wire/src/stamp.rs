//! `_stamp`: the time in Salt's events.

/// A time as Salt 3006 and 3007 write it: UTC, without an offset, always with microseconds
/// (`2026-11-23T00:22:03.419201`).
pub fn stamp(time_unix_ns: u64) -> String {
    let seconds = time_unix_ns / 1_000_000_000;
    let (year, month, day) = date(seconds / 86_400);
    // Not by a formatter, which takes longer than the rest of an event.
    let mut text = Vec::with_capacity(26);
    for (before, number) in [
        (&b""[..], year / 100),
        (b"", year),
        (b"-", month),
        (b"-", day),
        (b"T", seconds / 3600 % 24),
        (b":", seconds / 60 % 60),
        (b":", seconds % 60),
        (b".", time_unix_ns / 10_000_000),
        (b"", time_unix_ns / 100_000),
        (b"", time_unix_ns / 1000),
    ] {
        text.extend_from_slice(before);
        // The last two digits.
        text.push(b'0' + (number / 10 % 10) as u8);
        text.push(b'0' + (number % 10) as u8);
    }
    // Digits and what is between them are UTF-8.
    String::from_utf8(text).unwrap_or_default()
}

/// Year, month and day of a number of days since the Unix epoch, in the Gregorian calendar.
/// Counts years from March, so that a leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    // 0000-03-01 lies 719,468 days before the epoch; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_python_writes_them() {
        for (time_unix_ns, expected) in [
            (0, "1970-01-01T00:00:00.000000"),
            (951_782_399_999_999_999, "2000-02-28T23:59:59.999999"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000"),
            (951_868_800_000_001_000, "2000-03-01T00:00:00.000001"),
            (1_709_210_096_789_012_345, "2024-02-29T12:34:56.789012"),
            (1_795_393_323_419_201_000, "2026-11-23T00:22:03.419201"),
            (4_107_542_399_000_000_000, "2100-02-28T23:59:59.000000"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000"),
        ] {
            assert_eq!(stamp(time_unix_ns), expected);
        }
    }
}
