//! No pattern or name makes matching hang, overflow or grow without bound.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use plugin_regex::{MatchFault, RegexPatterns};

fn matches(set: &RegexPatterns, name: &str) -> (Vec<u32>, Vec<MatchFault>) {
    let (mut matches, mut faults) = (Vec::new(), Vec::new());
    set.matches(name, &mut matches, &mut faults);
    (matches, faults)
}

fn refusal(pattern: &str) -> String {
    let errors = RegexPatterns::compile(&[pattern]).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(!errors[0].message.contains('\n'), "{}", errors[0].message);
    errors[0].to_string()
}

#[test]
fn a_match_that_would_take_exponential_time_is_given_up_and_reported() {
    let set = RegexPatterns::compile(&["a.*", r"(a*)*\1b", "(?=(a|aa)+$)b|.*!"]).unwrap();
    let started = Instant::now();
    let (matched, faults) = matches(&set, &format!("{}!", "a".repeat(60)));
    // Far above the usual time, far below the time without limits.
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(matched.contains(&0));
    assert!(faults.iter().any(|fault| fault.index == 1), "{faults:?}");
    for fault in &faults {
        assert!(
            fault.message.contains("given up because"),
            "{}",
            fault.message
        );
        assert!(!matched.contains(&fault.index));
    }
}

#[test]
fn a_nested_repetition_without_back_references_is_decided_in_linear_time() {
    let set = RegexPatterns::compile(&["(a+)+b", "(a|aa)*", "(?:a*)*$"]).unwrap();
    let (matched, faults) = matches(&set, &"a".repeat(50_000));
    assert_eq!(matched, [1, 2]);
    assert!(faults.is_empty());
}

#[test]
fn work_between_backtracking_steps_is_bounded_too() {
    // Cubic in the length of the name without a single backtracking step.
    let set = RegexPatterns::compile(&["(?:(?=(?:(?=a*)a)*)a)*!", ".*"]).unwrap();
    let started = Instant::now();
    let (matched, faults) = matches(&set, &"a".repeat(20_000));
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(matched, [1]);
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].message.contains("20000 bytes"),
        "{}",
        faults[0].message
    );
    // The set still works afterwards.
    assert_eq!(matches(&set, "aaa!").0, [0, 1]);
}

#[test]
fn ordinary_look_around_is_decided_on_long_names() {
    let set = RegexPatterns::compile(&["(?!b).*", "(?:(?!foo).)*", r"(\w+)-\1"]).unwrap();
    let (matched, faults) = matches(&set, &"a".repeat(4_000));
    assert_eq!(matched, [0, 1]);
    assert!(faults.is_empty(), "{faults:?}");
    let twice = format!("{0}-{0}", "a".repeat(500));
    assert_eq!(matches(&set, &twice).0, [0, 1, 2]);
}

#[test]
fn repetition_counts_that_multiply_to_a_huge_automaton_are_refused() {
    assert!(refusal("(a{1000}){1000}").contains("lower counts"));
    assert!(refusal(r"(?:\w{1000}){1000}").contains("lower counts"));
    assert!(refusal("((?!b)a{1000}){1000}").contains("lower counts"));
    assert!(refusal("a{4294967294}").contains("lower counts"));
}

#[test]
fn deep_nesting_is_refused_with_the_place_and_does_not_overflow_the_stack() {
    let deep = |levels: usize| format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
    assert!(refusal(&deep(30_000)).contains("nested deeper than 100"));
    assert!(RegexPatterns::compile(&[&deep(100)]).is_ok());
    let conditions = format!("(a){}b{}", "(?(1)".repeat(20_000), ")".repeat(20_000));
    assert!(refusal(&conditions[..60_000]).contains("nested deeper than 100"));
}

#[test]
fn a_pattern_longer_than_64_kib_is_refused() {
    assert!(refusal(&"a".repeat(64 * 1024 + 1)).contains("65537 bytes"));
    assert!(RegexPatterns::compile(&[&"a".repeat(64 * 1024)]).is_ok());
}

#[test]
fn patterns_too_heavy_for_one_automaton_are_spread_over_several() {
    let patterns: Vec<String> = (0..40).map(|i| format!(r".*\w{{30}}x{i}")).collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let set = RegexPatterns::compile(&patterns).unwrap();
    let name = format!("{}x7", "w".repeat(40));
    assert_eq!(matches(&set, &name).0, [7]);
}

#[test]
fn a_hundred_thousand_patterns_compile_and_match() {
    let patterns: Vec<String> = (0..100_000).map(|i| format!("idem-{i}-.*")).collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let set = RegexPatterns::compile(&patterns).unwrap();
    assert_eq!(matches(&set, "idem-12345-run").0, [12_345]);
    assert_eq!(matches(&set, "idem-1-").0, [1]);
    assert!(matches(&set, "idem-100000-run").0.is_empty());
}

#[test]
fn one_set_may_be_used_from_many_threads_at_once() {
    let set = RegexPatterns::compile(&["a.*", "(?=a).*", r"\ba.*"]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_eq!(matches(&set, "abc").0, [0, 1, 2]);
                    assert_eq!(matches(&set, "aé").0, [0, 1, 2]);
                    assert_eq!(matches(&set, "é").0, [0u32; 0]);
                }
            });
        }
    });
}

#[test]
fn an_empty_set_matches_nothing() {
    assert_eq!(
        matches(&RegexPatterns::compile(&[]).unwrap(), "a"),
        (vec![], vec![])
    );
}
