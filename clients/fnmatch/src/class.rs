//! The characters between `[` and `]`.

/// A set of characters, or all characters but those of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    negated: bool,
    /// First and last character of each range, both included.
    ranges: Box<[(char, char)]>,
}

impl Class {
    /// Reads what stands between the brackets, a leading `!` included.
    ///
    /// `CPython` first drops the ranges whose ends are reversed and only then looks for the `!`. So
    /// `[z-a]` matches nothing, `[!z-a]` anything, and `[z-a!b]` is `[!b]`. Taking the `!` away from a
    /// range it began leaves characters: `[z-a!-c]` is anything but `-` and `c`.
    pub fn parse(body: &[char]) -> Self {
        let mut pieces = pieces(body);
        let mut negated = false;
        if let Some(first) = pieces.first_mut()
            && let ['!', after @ ..] = *first
        {
            negated = true;
            *first = after;
        }
        let mut ranges = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match *piece {
                [first, '-', last] => ranges.push((first, last)),
                _ => ranges.extend(piece.iter().map(|&c| (c, c))),
            }
        }
        Self {
            negated,
            ranges: ranges.into_boxed_slice(),
        }
    }

    /// Whether `c` belongs to the class.
    pub fn contains(&self, c: char) -> bool {
        let listed = self
            .ranges
            .iter()
            .any(|&(first, last)| first <= c && c <= last);
        listed != self.negated
    }
}

/// Splits `body` into characters and ranges (`a-z`), without reversed ranges.
///
/// A `!` at the start begins no range, and a `-` at either end is a character.
fn pieces(body: &[char]) -> Vec<&[char]> {
    let mut pieces = Vec::new();
    let mut rest = body;
    if let ['!', after @ ..] = rest {
        pieces.push(&rest[..1]);
        rest = after;
    }
    loop {
        let (piece, after) = match *rest {
            [] => return pieces,
            [_, '-', _, ..] => rest.split_at(3),
            _ => rest.split_at(1),
        };
        if piece.first() <= piece.last() {
            pieces.push(piece);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use crate::Pattern;

    /// Judged by `CPython` 3.11's `fnmatch.fnmatchcase`.
    #[test]
    fn a_reversed_range_is_dropped_before_the_exclamation_mark_is_looked_for() {
        for (pattern, name, expected) in [
            ("[z-a!b]x", "ax", true),
            ("[z-a!b]x", "bx", false),
            ("[z-a]x", "ax", false),
            ("[!z-a]x", "ax", true),
            ("[z-a!-c]x", "bx", true),
            ("[z-a!-c]x", "cx", false),
        ] {
            let found = Pattern::parse(pattern).is_match(name);
            assert_eq!(found, expected, "{pattern} on {name}");
        }
    }
}
