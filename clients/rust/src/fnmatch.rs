//! Shell patterns as Python's `fnmatch.fnmatchcase` has them, as regular expressions.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

/// The regular expression for the whole of a tag. `*` crosses everything, slashes too; an unclosed
/// `[` is literal.
pub(crate) fn to_regex(pattern: &str) -> String {
    let mut out = String::from(r"(?s)\A");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => match split_class(rest) {
                Some((negated, class, tail)) => {
                    push_class(&mut out, negated, class);
                    rest = tail;
                }
                None => out.push_str(r"\["),
            },
            c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push_str(r"\z");
    out
}

/// What stands between the brackets, whether it is negated, and what follows.
fn split_class(rest: &str) -> Option<(bool, &str, &str)> {
    let body = rest.strip_prefix('!').unwrap_or(rest);
    // The first character of a class may be a literal `]`.
    let first = body.chars().next().map_or(0, char::len_utf8);
    let end = first + body.get(first..)?.find(']')?;
    Some((body.len() < rest.len(), &body[..end], &body[end + 1..]))
}

fn push_class(out: &mut String, negated: bool, class: &str) {
    let mut ranges = String::new();
    let mut chars = class.chars().peekable();
    while let Some(from) = chars.next() {
        let to = range_end(&mut chars).unwrap_or(from);
        // A range that ends before it begins holds nothing.
        if from <= to {
            // Writing to a String cannot fail.
            let _ = write!(
                ranges,
                r"\x{{{:x}}}-\x{{{:x}}}",
                u32::from(from),
                u32::from(to)
            );
        }
    }
    match (negated, ranges.is_empty()) {
        (false, true) => out.push_str(r"[^\s\S]"),
        (true, true) => out.push('.'),
        (false, false) => {
            let _ = write!(out, "[{ranges}]");
        }
        (true, false) => {
            let _ = write!(out, "[^{ranges}]");
        }
    }
}

/// Takes a hyphen and the character after it; a hyphen at the end is literal.
fn range_end(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    let mut ahead = chars.clone();
    if ahead.next() != Some('-') {
        return None;
    }
    let end = ahead.next()?;
    *chars = ahead;
    Some(end)
}
