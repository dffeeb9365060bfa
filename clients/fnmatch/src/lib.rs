//! Shell patterns as `CPython`'s `fnmatch.fnmatchcase` has them.
//!
//! The match plugin `glob` and the event library share this, so that a pattern means the same in an acct
//! file and to a listener. The tests of `plugin-glob` hold it against cases that `CPython` judged.

mod class;
mod pattern;

pub use class::Class;
pub use pattern::{Pattern, Token};
