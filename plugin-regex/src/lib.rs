#![allow(clippy::doc_markdown, reason = "the README is a page of its own, too")]
#![doc = include_str!("../README.md")]
//!
//! # Inside the crate
//!
//! The match plugin `regex`: profile patterns are Python regular expressions.
//!
//! A pattern matches a name if `CPython` 3.11's `re.fullmatch(pattern, name)` does, look-around and
//! back-references included; see [`RegexPatterns`]. The README lists the limits and the few
//! differences.
//!
//! A pattern passes through the modules in this order: `syntax` reads it as Python does, `simplify`
//! and `analysis` choose an engine, `translate` and `unicode` write it for that engine, and
//! `linear` or `backtracking` match it. `patterns` combines them.

mod analysis;
mod backtracking;
mod linear;
mod patterns;
mod plugin;
mod simplify;
mod syntax;
mod translate;
mod unicode;

pub use patterns::{MatchFault, PatternError, RegexPatterns};
