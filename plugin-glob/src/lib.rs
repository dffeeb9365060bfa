#![allow(clippy::doc_markdown, reason = "the README is a page of its own, too")]
#![doc = include_str!("../README.md")]
//!
//! # Inside the crate
//!
//! The match plugin `glob`: finds the patterns of a set that match a profile name.
//!
//! A pattern means exactly what `CPython`'s `fnmatch.fnmatchcase` makes of it:
//!
//! | pattern | matches |
//! |---|---|
//! | `*` | any run of characters, including `/`, line ends and the empty run |
//! | `?` | any one character (a Unicode scalar value) |
//! | `[seq]` | one character of the list; `a-z` in it is a range; a leading `]` belongs to the list |
//! | `[!seq]` | one character not in the list |
//! | anything else | itself, including `{`, `}`, `\`, `^` and an unclosed `[` |
//!
//! The whole name must match, and case is significant. Every string is a valid pattern.
//!
//! ```
//! use plugin_glob::GlobSet;
//!
//! let set = GlobSet::compile(&["idem-*", "salt/job/*/ret", "*"])?;
//! let mut indices = Vec::new();
//! set.matches("idem-status", &mut indices);
//! assert_eq!(indices, [0, 2]);
//! # Ok::<(), Vec<plugin_glob::PatternError>>(())
//! ```
//!
//! # How a set is matched
//!
//! Each pattern is guarded by a literal that every name it matches contains. All guards are searched for
//! at once: those at the start or end of a name by globset, the others by Aho-Corasick automata. For
//! `literal`, `literal*`, `*literal` and `*literal*` the guard decides. Any other pattern is matched
//! separately, by characters, and only against names that contain its guard; of its possible guards, it
//! uses the one that the fewest other patterns could use.

mod guard;
mod plugin;
mod search;
mod set;

pub use set::{GlobSet, MAX_PATTERN_BYTES, MAX_SET_BYTES, PatternError};
