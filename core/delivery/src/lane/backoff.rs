//! How long to wait before another attempt.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use evbus_destination::Retry;

/// A random wait before attempt `attempts + 1`: capped exponential backoff with full jitter.
///
/// Many lanes that lost the same broker shall not come back at the same moment.
pub(crate) fn delay(retry: &Retry, attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(30);
    let longest = retry
        .first_delay
        .saturating_mul(1 << doublings)
        .min(retry.max_delay);
    longest.mul_f64(jitter())
}

/// A number from 0 to 1, from the standard library's randomly seeded hasher.
fn jitter() -> f64 {
    #[allow(clippy::cast_precision_loss)] // The quality of a jitter does not depend on 2^-53.
    let fraction = RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64;
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_are_spread() {
        let retry = Retry {
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(2),
            ..Retry::default()
        };
        let longest = |attempts| {
            (0..2000)
                .map(|_| delay(&retry, attempts))
                .max()
                .expect("there are delays")
        };
        let near = |found: Duration, bound: Duration| found <= bound && found > bound.mul_f64(0.9);
        assert!(near(longest(1), Duration::from_millis(100)));
        assert!(near(longest(3), Duration::from_millis(400)));
        assert!(near(longest(50), Duration::from_secs(2)));
        let small = (0..2000)
            .filter(|_| delay(&retry, 50) < Duration::from_secs(1))
            .count();
        assert!(
            (800..1200).contains(&small),
            "half of the delays are below the half: {small}"
        );
    }
}
