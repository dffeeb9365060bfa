//! Inline flags: `(?i)` for the whole pattern, `(?i-s:...)` for a group.

use super::parser::Parser;
use super::source::Token;
use super::{Case, SyntaxError};

const KNOWN: &str = "aiLmstux";

/// The flags in force at a position in the pattern.
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each of Python's flags"
)]
pub(super) struct Flags {
    pub(super) ascii: bool,
    /// Whether `(?u)`, which is the default, was written: Python then refuses a later `(?a)`.
    pub(super) unicode: bool,
    pub(super) ignore_case: bool,
    pub(super) multi_line: bool,
    pub(super) dot_all: bool,
    pub(super) verbose: bool,
    /// `(?t)`, a relic: Python then refuses repetitions.
    pub(super) template: bool,
}

impl Flags {
    pub(super) fn case(self) -> Case {
        match (self.ignore_case, self.ascii) {
            (false, _) => Case::Exact,
            (true, true) => Case::Ascii,
            (true, false) => Case::Unicode,
        }
    }

    fn set(&mut self, flag: char, on: bool) {
        match flag {
            'a' => self.ascii = on,
            'i' => self.ignore_case = on,
            'm' => self.multi_line = on,
            's' => self.dot_all = on,
            't' => self.template = on,
            'u' => self.unicode = on,
            // `is_flag` admits no other letter, and `L` is refused before it gets here.
            _ => self.verbose = on,
        }
    }
}

/// The kind of a group that begins with flags.
pub(super) enum FlagGroup {
    /// `(?i)`, read to its end; the flags are in force.
    Global,
    /// `(?i:`, read up to the colon.
    Scoped(Flags),
}

pub(super) fn is_flag(c: char) -> bool {
    KNOWN.contains(c)
}

/// Reads flags from the first one, `first` (a flag or `-`), on.
pub(super) fn parse_flags(parser: &mut Parser, first: char) -> Result<FlagGroup, SyntaxError> {
    let start = parser.source.offset() - 1;
    let fail = |message: &str| Err(SyntaxError::new(start, message));
    let mut added = String::new();
    let mut removed = String::new();
    let mut end = first;
    if first != '-' {
        end = read_letters(parser, first, "-:)", &mut added)?;
        if added.contains('L') {
            return fail("the flag `L` is only for byte patterns, but a name is text; remove it");
        }
        if added.contains('a') && added.contains('u') {
            return fail("the flags `a` and `u` are mutually exclusive; keep one");
        }
    }
    if end == ')' {
        let flags = &mut parser.flags;
        added.chars().for_each(|flag| flags.set(flag, true));
        if parser.flags.ascii && parser.flags.unicode {
            return fail("the flags `a` and `u` are mutually exclusive; keep one");
        }
        return Ok(FlagGroup::Global);
    }
    if end == '-' {
        let Some(Token::Char(first)) = parser.source.next() else {
            return fail("a flag to turn off is expected after `-`");
        };
        read_letters(parser, first, ":", &mut removed)?;
        if removed.contains(['a', 'u', 'L']) {
            return fail("the flags `a`, `u` and `L` cannot be turned off; turn on the other one");
        }
    }
    if added.contains('t') || removed.contains('t') {
        return fail("the flag `t` cannot be set for a group");
    }
    if let Some(flag) = added.chars().find(|&flag| removed.contains(flag)) {
        return fail(&format!(
            "the flag `{flag}` is turned on and off at once; keep one"
        ));
    }
    let mut flags = parser.flags;
    if added.contains(['a', 'u']) {
        flags.ascii = false;
        flags.unicode = false;
    }
    added.chars().for_each(|flag| flags.set(flag, true));
    removed.chars().for_each(|flag| flags.set(flag, false));
    Ok(FlagGroup::Scoped(flags))
}

/// Reads flag letters up to one of the terminators, which is returned.
fn read_letters(
    parser: &mut Parser,
    first: char,
    terminators: &str,
    letters: &mut String,
) -> Result<char, SyntaxError> {
    let mut next = Some(Token::Char(first));
    loop {
        match next {
            Some(Token::Char(c)) if !letters.is_empty() && terminators.contains(c) => {
                return Ok(c);
            }
            Some(Token::Char(c)) if is_flag(c) => letters.push(c),
            _ => {
                return Err(SyntaxError::new(
                    parser.source.offset(),
                    format!(
                        "expected one of the flags `{KNOWN}`, or one of `{terminators}` after them, before here"
                    ),
                ));
            }
        }
        next = parser.source.next();
    }
}
