//! The suite passes plugins that conform, and fails others.

use std::time::Duration;

use evbus_sdk::{Matcher, Matches, PatternFault};
use evbus_testkit::conformance::{Conformance, MatcherConformance, Report};
use evbus_testkit::{Harness, built, plugin_dir};
use serde_json::json;

/// The result of one case.
fn result<'a>(report: &'a Report, name: &str) -> &'a Result<(), String> {
    let case = report.cases.iter().find(|case| case.name == name);
    &case.expect("the suite has the case").result
}

#[tokio::test]
async fn the_good_fixture_conforms() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    Conformance::open(&built("fixture-good"))
        .config(json!({"path": dir.path().join("a"), "delay_ms": 1, "retry_first": 1}))
        .second_config(json!({"path": dir.path().join("b")}))
        .run()
        .await
        .assert_passes();
}

#[tokio::test]
async fn the_null_fixture_conforms() {
    Conformance::open(&built("fixture-null"))
        .config(json!({"max_batch_events": 10, "max_in_flight": 4}))
        .run()
        .await
        .assert_passes();
}

#[tokio::test]
async fn a_plugin_that_drops_and_checks_nothing_fails_by_name() {
    let report = Conformance::open(&built("fixture-drops-completion"))
        .config(json!({"key": 1}))
        .within(Duration::from_secs(1))
        .run()
        .await;
    for name in [
        "names unknown keys at every depth",
        "names the key of a wrong type",
        "refuses a configuration that is not an object",
        "has a JSON Schema of its configuration",
        "connects and closes",
        "accepts a batch",
        "answers a batch larger than its limits",
        "answers what is in flight before it closes",
    ] {
        assert!(result(&report, name).is_err(), "{name} passes:\n{report}");
    }
    assert!(
        result(&report, "gives back every batch and host").is_ok(),
        "{report}"
    );
    let table = report.to_string();
    assert!(table.contains("FAIL  accepts a batch\n"), "{table}");
    assert!(
        table.contains("the schema does not know the key key"),
        "{table}"
    );
}

#[tokio::test]
async fn a_plugin_that_hangs_fails_and_the_suite_goes_on() {
    let report = Conformance::open(&built("fixture-hanging"))
        .large_event_bytes(1024)
        .within(Duration::from_secs(1))
        .run()
        .await;
    assert!(result(&report, "connects and closes").is_ok(), "{report}");
    let late = Err("not done after 1s".to_owned());
    assert_eq!(
        *result(&report, "answers a very large event and goes on"),
        late
    );
    assert_eq!(
        *result(&report, "answers what is in flight before it closes"),
        late
    );
}

#[tokio::test]
async fn a_plugin_whose_outcomes_do_not_fit_its_batches_fails_by_name() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (miscount, expected) in [
        (-1, "outcomes for 0 of the 1 events of the batch"),
        (1, "outcomes for 2 events, but the batch has 1"),
    ] {
        let config = json!({"path": dir.path().join("events"), "miscount": miscount});
        let report = Conformance::open(&built("fixture-good"))
            .config(config)
            .large_event_bytes(1024)
            .within(Duration::from_secs(2))
            .run()
            .await;
        let case = "answers for each event of a batch and for no other";
        let found = result(&report, case);
        let named = found.as_ref().is_err_and(|why| why.contains(expected));
        assert!(named, "{miscount}: {found:?}\n{report}");
    }
}

/// Exact names; `!` is invalid. With `BROKEN`, forgets matches of sets larger than one.
struct Exact<const BROKEN: bool>(Vec<String>);

impl<const BROKEN: bool> Matcher for Exact<BROKEN> {
    const NAMES: &'static [&'static str] = &["exact"];

    fn compile(patterns: &[&str]) -> Result<Self, Vec<PatternFault>> {
        let invalid: Vec<PatternFault> = patterns
            .iter()
            .enumerate()
            .filter(|(_, pattern)| **pattern == "!")
            .map(|(index, _)| PatternFault {
                index,
                message: "found !".into(),
            })
            .take(if BROKEN { 1 } else { usize::MAX })
            .collect();
        if invalid.is_empty() {
            Ok(Self(patterns.iter().map(ToString::to_string).collect()))
        } else {
            Err(invalid)
        }
    }

    fn matches(&self, name: &str, matches: &mut Matches<'_>) {
        assert!(!BROKEN || !name.is_empty(), "an empty name");
        if BROKEN && self.0.len() > 1 {
            return;
        }
        for (index, _) in self.0.iter().enumerate().filter(|(_, own)| *own == name) {
            matches.push(index);
        }
    }
}

#[test]
fn a_matcher_that_keeps_the_rules_conforms() {
    MatcherConformance::new(Harness::matcher::<Exact<false>>())
        .invalid("!")
        .run()
        .assert_passes();
}

#[test]
fn a_matcher_that_breaks_the_rules_fails_by_name() {
    let report = MatcherConformance::new(Harness::matcher::<Exact<true>>())
        .invalid("!")
        .run();
    for name in [
        "a set agrees with its patterns one by one",
        "names the index of an invalid pattern",
        "takes an empty name and a very long one",
        "takes 10,000 patterns",
    ] {
        assert!(result(&report, name).is_err(), "{name} passes:\n{report}");
    }
    assert!(result(&report, "takes an empty set").is_ok(), "{report}");
}

#[test]
fn a_plugin_directory_is_what_an_operator_would_install() {
    use std::os::unix::fs::PermissionsExt;

    let dir = plugin_dir(&["fixture-good", "fixture-null"]);
    let mode = |path: &std::path::Path| {
        let metadata = std::fs::metadata(path).expect("it exists");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(dir.path()), 0o755);
    for name in ["libfixture_good.so", "libfixture_null.so"] {
        let file = dir.path().join(name);
        assert_eq!(mode(&file), 0o644);
        assert!(Harness::open(&file).is_ok());
    }
}
