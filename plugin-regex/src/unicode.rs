//! Characters as `CPython` 3.11 sees them, in the engines' terms.
//!
//! Python's tables are those of Unicode 14, the engines' are newer: `\p{age:14.0}` leaves out what
//! came later. That Python's `\w` is exactly the letters and numbers and `_`, its `\d` exactly
//! `Nd`, and its `\s` `White_Space` and U+001C to U+001F was checked over all of Unicode.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

use crate::syntax::{Case, Category, CharSet, SetItem};

/// Matches no character, in both engines.
const NOTHING: &str = r"[a&&b]";

/// The characters assigned in Unicode 14.
static KNOWN: LazyLock<ClassUnicode> = LazyLock::new(|| {
    let parsed = regex_syntax::parse(r"\p{age:14.0}").map(regex_syntax::hir::Hir::into_kind);
    match parsed {
        Ok(HirKind::Class(Class::Unicode(class))) => class,
        // The pattern is constant, and a test checks that it compiles.
        _ => ClassUnicode::empty(),
    }
});

/// Letters that are equal in Python when case is ignored, but not in Unicode's simple case folding.
const DOTTED_AND_DOTLESS_I: [char; 4] = ['I', 'i', '\u{130}', '\u{131}'];

/// Whether Unicode 14 assigns this character.
pub(crate) fn known_to_python(c: char) -> bool {
    contains(&KNOWN, c)
}

fn contains(class: &ClassUnicode, c: char) -> bool {
    let ranges = class.ranges();
    let after = ranges.partition_point(|range| range.start() <= c);
    after > 0 && c <= ranges[after - 1].end()
}

/// The class in a syntax that `regex` and `fancy-regex` share.
pub(crate) fn write_set(out: &mut String, set: &CharSet) {
    let mut ranges = Vec::new();
    let mut members = String::new();
    for item in &set.items {
        match *item {
            SetItem::Range(low, high) => push_range(&mut ranges, low, high),
            SetItem::Category {
                category,
                negated,
                ascii,
            } => write_category(&mut members, category, negated, ascii),
        }
    }
    for range in fold(ranges, set.case).ranges() {
        write_range(&mut members, range.start(), range.end());
    }
    match (set.negated, members.is_empty()) {
        (false, true) => out.push_str(NOTHING),
        (true, true) => out.push_str("(?s:.)"),
        (negated, false) => {
            out.push_str(if negated { "[^" } else { "[" });
            out.push_str(&members);
            out.push(']');
        }
    }
}

/// One code point, with those that are equal to it when case is ignored.
pub(crate) fn write_literal(out: &mut String, code: u32, case: Case) {
    let set = |case| CharSet {
        negated: false,
        items: vec![SetItem::Range(code, code)],
        case,
    };
    match (char::from_u32(code), case) {
        (Some(c), Case::Exact) => write_char(out, c),
        (Some(c), case) => {
            let mut ranges = Vec::new();
            push_range(&mut ranges, code, code);
            let folded = fold(ranges, case);
            match folded.ranges() {
                [only] if only.start() == only.end() => write_char(out, c),
                _ => write_set(out, &set(case)),
            }
        }
        // A surrogate, which no name contains.
        (None, _) => out.push_str(NOTHING),
    }
}

/// A class of word characters, without brackets around.
pub(crate) fn word_class(ascii: bool) -> String {
    let mut out = String::from("[");
    write_category(&mut out, Category::Word, false, ascii);
    out.push(']');
    out
}

fn write_category(out: &mut String, category: Category, negated: bool, ascii: bool) {
    let members = match (category, ascii) {
        (Category::Digit, true) => "0-9",
        (Category::Digit, false) => r"\p{Nd}&&\p{age:14.0}",
        (Category::Space, true) => r"\t-\r\x20",
        (Category::Space, false) => r"\s\x1C-\x1F",
        (Category::Word, true) => "0-9A-Z_a-z",
        (Category::Word, false) => r"[\p{L}\p{N}_]&&\p{age:14.0}",
    };
    out.push_str(if negated { "[^" } else { "[" });
    out.push_str(members);
    out.push(']');
}

/// Adds a range of code points without the surrogates in it.
fn push_range(ranges: &mut Vec<ClassUnicodeRange>, low: u32, high: u32) {
    for (low, high) in [(low, high.min(0xD7FF)), (low.max(0xE000), high)] {
        if low <= high
            && let (Some(low), Some(high)) = (char::from_u32(low), char::from_u32(high))
        {
            ranges.push(ClassUnicodeRange::new(low, high));
        }
    }
}

/// The characters that equal one of these when case is ignored as Python does.
fn fold(ranges: Vec<ClassUnicodeRange>, case: Case) -> ClassUnicode {
    let mut class = ClassUnicode::new(ranges);
    match case {
        Case::Exact => {}
        Case::Ascii => {
            let mut letters = class.clone();
            letters.intersect(&ClassUnicode::new([
                ClassUnicodeRange::new('A', 'Z'),
                ClassUnicodeRange::new('a', 'z'),
            ]));
            let other_case: Vec<_> = letters
                .ranges()
                .iter()
                .map(|range| {
                    let flip = |c: char| char::from(c as u8 ^ 0x20);
                    ClassUnicodeRange::new(flip(range.start()), flip(range.end()))
                })
                .collect();
            class.union(&ClassUnicode::new(other_case));
        }
        Case::Unicode => {
            let mut cased = class.clone();
            cased.intersect(&KNOWN);
            // Fails only if the engine was built without its case tables, which the manifest's features include.
            let _ = cased.try_case_fold_simple();
            if DOTTED_AND_DOTLESS_I.iter().any(|&c| contains(&cased, c)) {
                cased.union(&ClassUnicode::new(
                    DOTTED_AND_DOTLESS_I.map(|c| ClassUnicodeRange::new(c, c)),
                ));
            }
            cased.intersect(&KNOWN);
            class.union(&cased);
        }
    }
    class
}

fn write_range(out: &mut String, start: char, end: char) {
    write_member(out, start);
    if start != end {
        out.push('-');
        write_member(out, end);
    }
}

fn write_member(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() {
        out.push(c);
    } else {
        write_code(out, c);
    }
}

fn write_char(out: &mut String, c: char) {
    if c.is_control() || c.is_whitespace() {
        write_code(out, c);
    } else {
        regex_syntax::escape_into(c.encode_utf8(&mut [0; 4]), out);
    }
}

fn write_code(out: &mut String, c: char) {
    // Writing to a String cannot fail.
    let _ = write!(out, r"\x{{{:X}}}", u32::from(c));
}
