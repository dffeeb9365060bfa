//! The patterns mean what they mean in `CPython`: cases that `CPython` judged, and the list in the
//! README of the few that differ.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use plugin_regex::{MatchFault, RegexPatterns};
use serde::Deserialize;

/// A pattern with the names `CPython` was asked about.
struct Case {
    /// `None`: `CPython` refuses the pattern.
    names: Option<BTreeMap<String, bool>>,
}

#[derive(Deserialize)]
struct SingleLine {
    pattern: String,
    name: String,
    #[serde(rename = "match")]
    matches: Option<bool>,
}

#[derive(Deserialize)]
struct PatternLine {
    pattern: String,
    #[serde(default)]
    matches: Vec<String>,
    #[serde(default)]
    misses: Vec<String>,
    invalid: Option<String>,
}

fn lines<T: for<'de> Deserialize<'de>>(text: &str) -> impl Iterator<Item = T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

fn all_cases() -> BTreeMap<String, Case> {
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for line in lines::<SingleLine>(include_str!("fixtures/regex-cases.jsonl")) {
        let case = cases.entry(line.pattern).or_insert_with(|| Case {
            names: line.matches.map(|_| BTreeMap::new()),
        });
        if let (Some(names), Some(matches)) = (&mut case.names, line.matches) {
            names.insert(line.name, matches);
        }
    }
    for line in lines::<PatternLine>(include_str!("fixtures/python-cases.jsonl")) {
        let hits = line.matches.into_iter().map(|name| (name, true));
        let misses = line.misses.into_iter().map(|name| (name, false));
        let case = cases.entry(line.pattern).or_insert_with(|| Case {
            names: line.invalid.is_none().then(BTreeMap::new),
        });
        if let Some(names) = &mut case.names {
            names.extend(hits.chain(misses));
        }
    }
    cases
}

fn matches(set: &RegexPatterns, name: &str) -> (Vec<u32>, Vec<MatchFault>) {
    let (mut matches, mut faults) = (Vec::new(), Vec::new());
    set.matches(name, &mut matches, &mut faults);
    (matches, faults)
}

/// How a pattern, compiled by itself, differs from `CPython`; empty if it does not.
fn differences(pattern: &str, case: &Case) -> String {
    let compiled = RegexPatterns::compile(&[pattern]);
    let mut found = String::new();
    match (&case.names, compiled) {
        (None, Ok(_)) => found.push_str("accepted, CPython refuses it"),
        (Some(_), Err(errors)) => _ = write!(found, "refused: {}", errors[0]),
        (Some(names), Ok(set)) => {
            for (name, &expected) in names {
                let (matched, faults) = matches(&set, name);
                if !faults.is_empty() {
                    let _ = write!(found, "{name:?}: {}; ", faults[0].message);
                } else if (matched == [0]) != expected {
                    let _ = write!(found, "{name:?}: CPython says {expected}; ");
                }
            }
        }
        (None, Err(_)) => {}
    }
    found
}

/// The patterns in the README's table of differences.
fn listed() -> BTreeSet<String> {
    include_str!("../README.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(pattern, _)| pattern.replace(r"\|", "|"))
        .collect()
}

#[test]
fn every_pattern_means_what_it_means_in_cpython_except_those_listed_in_the_readme() {
    let mut report = String::new();
    let mut differing = BTreeSet::new();
    let listed = listed();
    let cases = all_cases();
    assert!(cases.len() > 3000, "the corpus is missing");
    for (pattern, case) in &cases {
        let found = differences(pattern, case);
        if !found.is_empty() {
            differing.insert(pattern.clone());
            if !listed.contains(pattern) {
                let _ = writeln!(report, "not listed: {pattern:?}: {found}");
            }
        }
    }
    for pattern in listed.difference(&differing) {
        let _ = writeln!(report, "listed, but does not differ: {pattern:?}");
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn all_patterns_in_one_set_answer_as_each_does_alone() {
    let listed = listed();
    let cases = all_cases();
    let usable: Vec<(&str, &BTreeMap<String, bool>)> = cases
        .iter()
        .filter(|(pattern, _)| !listed.contains(*pattern))
        .filter_map(|(pattern, case)| Some((pattern.as_str(), case.names.as_ref()?)))
        .collect();
    let patterns: Vec<&str> = usable.iter().map(|(pattern, _)| *pattern).collect();
    let set = RegexPatterns::compile(&patterns).unwrap();

    let names: BTreeSet<&String> = usable.iter().flat_map(|(_, names)| names.keys()).collect();
    let mut report = String::new();
    // Each name runs through every pattern, so a sample of the names must do.
    for name in names.into_iter().step_by(12) {
        let (matched, faults) = matches(&set, name);
        assert!(matched.is_sorted_by(|a, b| a < b), "{name:?}: {matched:?}");
        assert!(faults.is_empty(), "{name:?}: {faults:?}");
        for (index, (pattern, names)) in (0u32..).zip(&usable) {
            if let Some(&expected) = names.get(name)
                && matched.binary_search(&index).is_ok() != expected
            {
                let _ = writeln!(report, "{pattern:?} on {name:?}: CPython says {expected}");
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn every_refused_pattern_of_a_set_is_reported_with_its_index_and_place() {
    let errors = RegexPatterns::compile(&["ok", "a**", "fine.*", r"a\q"]).unwrap_err();
    let found: Vec<_> = errors.iter().map(|e| (e.index, e.offset)).collect();
    assert_eq!(found, [(1, Some(2)), (3, Some(1))]);
    assert!(
        errors[1].to_string().ends_with("(at character 2)"),
        "{}",
        errors[1]
    );
}
