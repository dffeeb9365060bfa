//! The match plugin `glob`: which patterns of a set match a profile name.
//!
//! A pattern means exactly what `CPython`'s `fnmatch.fnmatchcase` makes of it:
//!
//! | pattern | matches |
//! |---|---|
//! | `*` | any run of characters, `/` and line ends too, the empty run too |
//! | `?` | any one character (a Unicode scalar value) |
//! | `[seq]` | one character of the list; `a-z` in it is a range; a `]` that comes first is in the list |
//! | `[!seq]` | one character not in the list |
//! | anything else | itself, `{`, `}`, `\`, `^` and an unclosed `[` included |
//!
//! The whole name must match, and case counts. No text is an invalid pattern.
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
//! Each pattern is guarded by a literal that every name it matches contains. All guards are looked for
//! at once: those at the start or end of a name by globset, the others by Aho-Corasick automata.
//! For `literal`, `literal*`, `*literal` and `*literal*` the guard says it all. Any other pattern is
//! tried by itself, on characters, and only on the names its guard let through; of its possible guards
//! it has the one that fewest others could have.

mod guard;
mod plugin;
mod search;
mod set;

pub use set::{GlobSet, MAX_PATTERN_BYTES, MAX_SET_BYTES, PatternError};
