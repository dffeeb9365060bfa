//! Counts of things in messages.

use std::fmt::Display;

/// A number with its noun, and with any words that must agree in number: `counted(1, "event is",
/// "events are")`.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(
    number: N,
    one: &str,
    many: &str,
) -> String {
    let noun = if number == N::from(1) { one } else { many };
    format!("{number} {noun}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_thing_is_no_plural() {
        let words = |number: u64| counted(number, "event is", "events are");
        assert_eq!(words(0), "0 events are");
        assert_eq!(words(1), "1 event is");
        assert_eq!(words(2), "2 events are");
        assert_eq!(counted(1_usize, "entry", "entries"), "1 entry");
    }
}
