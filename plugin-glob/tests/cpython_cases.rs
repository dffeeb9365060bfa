//! Cases judged by `CPython`'s `fnmatch.fnmatchcase`, each through a set of one pattern and through one
//! set of all patterns.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use plugin_glob::GlobSet;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    pattern: String,
    name: String,
    #[serde(rename = "match")]
    matches: bool,
}

fn cases() -> Vec<Case> {
    let cases: Vec<Case> = include_str!("fixtures/glob-cases.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(cases.len() > 3000, "the fixture holds all its cases");
    cases
}

#[test]
fn a_set_of_one_pattern_agrees_with_cpython() {
    let mut out = Vec::new();
    for case in cases() {
        let set = GlobSet::compile(&[&case.pattern]).unwrap();
        set.matches(&case.name, &mut out);
        let expected: &[u32] = if case.matches { &[0] } else { &[] };
        assert_eq!(out, expected, "{:?} on {:?}", case.pattern, case.name);
    }
}

#[test]
fn one_set_of_all_patterns_agrees_with_cpython() {
    let cases = cases();
    let patterns: BTreeSet<&str> = cases.iter().map(|case| case.pattern.as_str()).collect();
    let patterns: Vec<&str> = patterns.into_iter().collect();
    let indices: BTreeMap<&str, u32> = patterns.iter().copied().zip(0..).collect();
    let set = GlobSet::compile(&patterns).unwrap();

    let mut out = Vec::new();
    for case in &cases {
        set.matches(&case.name, &mut out);
        assert!(out.is_sorted_by(|a, b| a < b), "ascending, each once");
        let found = out.contains(&indices[case.pattern.as_str()]);
        assert_eq!(found, case.matches, "{:?} on {:?}", case.pattern, case.name);
    }
}
