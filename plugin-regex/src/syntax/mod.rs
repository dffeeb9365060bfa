//! Python's regular expression syntax: text to tree, refusing what `CPython` 3.11 refuses.
//!
//! The reading follows `CPython`'s `re/_parser.py` step by step, because its corner cases (what is
//! a quantifier, what a tokenized backslash hides, which group may be referred to where) are what
//! decides whether a pattern is valid.

mod class;
mod escape;
mod flags;
mod group;
mod parser;
mod source;
mod tree;
mod width;

pub(crate) use parser::parse;
pub(crate) use source::SyntaxError;
pub(crate) use tree::{Assertion, Case, Category, CharSet, Node, RepeatKind, SetItem};
