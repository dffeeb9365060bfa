//! What a set promises beyond the meaning of its patterns: size limits, order, large sets, threads.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::thread;

use plugin_glob::{GlobSet, MAX_PATTERN_BYTES, MAX_SET_BYTES};

const NOTHING: [u32; 0] = [];

fn compile(patterns: &[String]) -> GlobSet {
    let texts: Vec<&str> = patterns.iter().map(String::as_str).collect();
    GlobSet::compile(&texts).unwrap()
}

fn matches(set: &GlobSet, name: &str) -> Vec<u32> {
    let mut out = vec![7, 7];
    set.matches(name, &mut out);
    out
}

#[test]
fn an_empty_set_matches_nothing() {
    let set = GlobSet::compile(&[]).unwrap();
    assert!(set.is_empty());
    assert_eq!(matches(&set, ""), NOTHING);
    assert_eq!(matches(&set, "idem-run"), NOTHING);
}

#[test]
fn repeated_patterns_each_have_their_index() {
    let set = GlobSet::compile(&["b*", "*", "b*", "?b?", "*b*", "*b*", "", "?b?", "*"]).unwrap();
    assert_eq!(set.len(), 9);
    assert_eq!(matches(&set, "bbb"), [0, 1, 2, 3, 4, 5, 7, 8]);
    assert_eq!(matches(&set, ""), [1, 6, 8]);
}

#[test]
fn names_that_look_like_paths_have_no_other_meaning() {
    let set = GlobSet::compile(&["*.", "*/", "*.b", "a/*", "*/.b", "**/b", "*/*.*"]).unwrap();
    assert_eq!(matches(&set, "a/.."), [0, 3, 6]);
    assert_eq!(matches(&set, ".."), [0]);
    assert_eq!(matches(&set, "x/"), [1]);
    assert_eq!(matches(&set, ".b"), [2]);
    assert_eq!(matches(&set, "a/.b"), [2, 3, 4, 6]);
    assert_eq!(matches(&set, "a/b"), [3, 5]);
    assert_eq!(matches(&set, "b"), NOTHING);
}

#[test]
fn a_pattern_past_the_length_limit_is_refused_by_index_and_the_longest_is_not() {
    let longest = "x".repeat(MAX_PATTERN_BYTES);
    let too_long = format!("{longest}y");
    let errors = GlobSet::compile(&["ok", &too_long, &longest, &too_long]).unwrap_err();
    let indices: Vec<usize> = errors.iter().map(|error| error.index).collect();
    assert_eq!(indices, [1, 3]);
    let message = errors[0].to_string();
    assert!(
        message.contains("65537 bytes") && message.contains("65536"),
        "{message}"
    );
    assert!(
        message.len() < 300,
        "the message does not repeat the pattern"
    );

    let brackets = "[".repeat(MAX_PATTERN_BYTES);
    let set = GlobSet::compile(&[&longest, &brackets]).unwrap();
    assert_eq!(matches(&set, &longest), [0]);
    assert_eq!(matches(&set, &brackets), [1]);
}

#[test]
fn a_set_past_the_size_limit_is_refused_at_the_pattern_that_takes_it_there() {
    let pattern = "x".repeat(MAX_PATTERN_BYTES - 1);
    let fitting = MAX_SET_BYTES / MAX_PATTERN_BYTES;
    let errors = GlobSet::compile(&vec![pattern.as_str(); fitting + 5]).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].index, fitting);
}

#[test]
fn a_hundred_thousand_patterns_of_every_shape_each_find_their_name() {
    type Shape = fn(usize) -> (String, String);
    let shapes: [Shape; 7] = [
        |i| (format!("run-{i}-done"), format!("run-{i}-done")),
        |i| (format!("start-{i}-*"), format!("start-{i}-x/y")),
        |i| (format!("*-end-{i}"), format!("any-end-{i}")),
        |i| (format!("*-mid-{i}-*"), format!("a-mid-{i}-b")),
        |i| (format!("both-*-{i}"), format!("both-\n-{i}")),
        |i| (format!("one-?-{i}-x"), format!("one-é-{i}-x")),
        |i| (format!("[a-c]{i}-*?"), format!("b{i}-z")),
    ];
    let (patterns, names): (Vec<String>, Vec<String>) =
        (0..100_000).map(|i| shapes[i % shapes.len()](i)).unzip();
    let set = compile(&patterns);
    let mut out = Vec::new();
    for (index, name) in (0..).zip(&names) {
        set.matches(name, &mut out);
        assert!(
            out.contains(&index),
            "{} on {name}: {out:?}",
            patterns[index as usize]
        );
        assert!(out.len() <= 2, "{name}: {out:?}");
    }
    assert_eq!(matches(&set, "nothing like these"), NOTHING);
}

#[test]
fn threads_match_the_same_set_at_once() {
    let patterns: Vec<String> = (0..200).map(|i| format!("*-{i}-?")).collect();
    let set = &compile(&patterns);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for i in 0..200 {
                    assert_eq!(matches(set, &format!("job-{i}-x")), [i]);
                }
            });
        }
    });
}
