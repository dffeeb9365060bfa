//! Tests of the acct file, by what they are about.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod encryption;

mod entries;
mod idem_files;
mod odd_files;
mod overrides;
mod policies;
mod rendering;
mod scalars;
mod secrets;
mod sources;
mod texts;
mod trust;

use serde_json::Value;

use super::{AcctError, AcctFile, Entry, parse};

/// Reads a text as the file `f`.
fn file(text: &str) -> AcctFile {
    parse(text, "f").unwrap_or_else(|errors| panic!("{}", errors[0]))
}

/// The entries of every section.
fn entries(text: &str) -> Vec<Entry> {
    let sections = file(text).sections().to_vec();
    sections
        .iter()
        .flat_map(|section| {
            section
                .entries()
                .unwrap_or_else(|errors| panic!("{}", errors[0]))
        })
        .collect()
}

/// The configuration of the only entry.
fn config(text: &str) -> Value {
    let entries = entries(text);
    assert_eq!(entries.len(), 1, "{text}");
    (*entries[0].config).clone()
}

/// Everything wrong with a text and its sections, as the operator reads it.
fn faults(text: &str) -> Vec<String> {
    let print = |errors: Vec<AcctError>| errors.iter().map(ToString::to_string).collect();
    match parse(text, "f") {
        Err(errors) => print(errors),
        Ok(file) => print(
            file.sections()
                .iter()
                .filter_map(|section| section.entries().err())
                .flatten()
                .collect(),
        ),
    }
}
