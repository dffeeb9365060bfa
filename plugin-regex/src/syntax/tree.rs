//! The tree of a parsed pattern.

/// Which letters match in either case, in a literal, a class or a back-reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// None.
    Exact,
    /// ASCII letters, under `(?ai)`.
    Ascii,
    /// All, under `(?i)`.
    Unicode,
}

/// A kind of character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    Digit,
    Space,
    Word,
}

/// A member of a character class. Code points, because Python's patterns may contain surrogates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetItem {
    Range(u32, u32),
    Category {
        category: Category,
        negated: bool,
        ascii: bool,
    },
}

/// `[...]`, `\d` and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CharSet {
    pub(crate) negated: bool,
    pub(crate) items: Vec<SetItem>,
    pub(crate) case: Case,
}

/// A condition at a position that matches no character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assertion {
    /// `\A`, and `^` without `(?m)`.
    Start,
    /// `^` under `(?m)`.
    StartOfLine,
    /// `$` without `(?m)`: the end, or before a newline that ends the name.
    EndOrFinalNewline,
    /// `$` under `(?m)`.
    EndOfLine,
    /// `\Z`.
    End,
    /// `\b` and `\B`.
    WordBoundary { negated: bool, ascii: bool },
}

/// How a repetition chooses its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepeatKind {
    Greedy,
    Lazy,
    Possessive,
}

/// A piece of a pattern. Flags are already applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A code point.
    Literal {
        code: u32,
        case: Case,
    },
    Any {
        newline: bool,
    },
    Set(CharSet),
    Assertion(Assertion),
    /// A capturing group; groups are numbered in the order in which they open.
    Capture(Box<Node>),
    Group(Box<Node>),
    Atomic(Box<Node>),
    Look {
        behind: bool,
        negated: bool,
        body: Box<Node>,
    },
    BackReference {
        group: usize,
        case: Case,
    },
    Conditional {
        group: usize,
        yes: Box<Node>,
        no: Box<Node>,
    },
    Repeat {
        body: Box<Node>,
        min: u32,
        max: Option<u32>,
        kind: RepeatKind,
    },
    Sequence(Vec<Node>),
    Alternation(Vec<Node>),
}
