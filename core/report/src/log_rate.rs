//! Limits the rate of log lines.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Allows a number of log lines per second, and counts the lines that it suppresses.
#[derive(Debug)]
pub struct LogRate {
    max: u32,
    second: Mutex<Second>,
}

#[derive(Debug, Default)]
struct Second {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl LogRate {
    /// Allows `max` lines per second.
    pub fn of(max: u32) -> Self {
        Self {
            max,
            second: Mutex::default(),
        }
    }

    /// If a line may be logged, the number of lines suppressed before it.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut second = self.second.lock();
        let over = second
            .began
            .is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1));
        if over {
            second.began = Some(now);
            second.lines = 0;
        }
        if second.lines == self.max {
            second.left_out += 1;
            return None;
        }
        second.lines += 1;
        Some(std::mem::take(&mut second.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_so_many_lines_and_the_next_tells_how_many_were_left_out() {
        let rate = LogRate::of(2);
        let start = Instant::now();
        let at = |milliseconds| rate.admit_at(start + Duration::from_millis(milliseconds));
        assert_eq!(
            [at(0), at(1), at(2), at(999)],
            [Some(0), Some(0), None, None]
        );
        assert_eq!([at(1000), at(1001), at(1002)], [Some(2), Some(0), None]);
    }
}
