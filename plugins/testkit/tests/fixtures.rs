//! The harness notices what each fixture does.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use evbus_testkit::{
    ConnectFailure, Fate, Harness, Instance, Level, Outcome, TestEvent, built, built_all,
    idem_events,
};
use serde_json::{Value, json};
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(30);
/// If a local call has not been answered by then, it never will be.
const NEVER: Duration = Duration::from_millis(200);

const FIXTURES: [&str; 8] = [
    "fixture-good",
    "fixture-null",
    "fixture-panicking",
    "fixture-hanging",
    "fixture-drops-completion",
    "fixture-wrong-abi",
    "fixture-not-a-plugin",
    "fixture-stale-layout",
];

/// A fixture's shared library; the first test that needs one has all of them built.
fn library(package: &str) -> PathBuf {
    built_all(&FIXTURES);
    built(package)
}

fn open(package: &str) -> Harness {
    Harness::open(&library(package)).expect("the fixture is a plugin")
}

async fn connect(package: &str, config: Value) -> Instance {
    let connected = open(package).connect(config).await;
    connected.expect("the fixture connects")
}

fn event(message: &str) -> TestEvent {
    TestEvent::json("idem-run", json!({"message": message}))
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the fixture wrote the file");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("the fixture writes JSON lines"))
        .collect()
}

#[tokio::test]
async fn the_good_fixture_writes_what_it_accepts() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let harness = open("fixture-good");
    let instance = harness
        .connect(json!({"path": path}))
        .await
        .expect("it connects");

    let events = idem_events();
    let outcomes = instance.publish(events.clone()).await;
    assert_eq!(outcomes, vec![Outcome::Accepted; 33]);
    let written = lines(&path);
    assert_eq!(written.len(), 33);
    for (line, event) in written.iter().zip(&events) {
        assert_eq!(line["profile"], event.profile());
        assert_eq!(line["id"], event.id_text());
        assert_eq!(line["attempt"], 1);
        let body = line["body"].as_str().expect("the body is text");
        assert_eq!(
            serde_json::from_str::<Value>(body).expect("JSON"),
            event.body_json()
        );
    }
    assert!(instance.close().await);
    assert!(instance.seen().logged("closed"));
    assert!(harness.seen().logged("opened"));
    let seen = instance.seen();
    let opened = seen.log.iter().find(|line| line.message.contains("opened"));
    assert_eq!(opened.map(|line| line.level), Some(Level::INFO));
    assert_eq!(instance.seen().links, [evbus_testkit::Link::Up]);
}

#[tokio::test]
async fn what_the_good_fixture_rejects_or_delays_is_seen() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let config = json!({
        "path": path, "reject_containing": "poison", "retry_first": 2, "delay_ms": 1
    });
    let instance = connect("fixture-good", config).await;

    let outcomes = instance.publish(vec![event("a"), event("poison")]).await;
    assert!(
        matches!(&outcomes[0], Outcome::Retry { .. }),
        "{outcomes:?}"
    );
    assert_eq!(
        outcomes[1],
        Outcome::Rejected {
            reason: "the body contains \"poison\"".into()
        }
    );

    let outcomes = instance
        .publish_all(vec![event("b"), event("c")], WITHIN)
        .await;
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Accepted]);
    let attempts: Vec<Value> = lines(&path)
        .iter()
        .map(|line| line["attempt"].clone())
        .collect();
    assert_eq!(
        attempts,
        [json!(1), json!(2)],
        "c at once, b at its second attempt"
    );
}

#[tokio::test]
async fn an_event_that_a_list_of_outcomes_leaves_out_is_not_accepted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let batch = || vec![event("a"), event("b"), event("c")];
    let config = |miscount: i32| json!({"path": path, "miscount": miscount});

    let instance = connect("fixture-good", config(-2)).await;
    let outcomes = instance.publish(batch()).await;
    assert_eq!(outcomes[0], Outcome::Accepted);
    for outcome in &outcomes[1..] {
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        let reason = outcome.reason();
        assert!(
            reason.contains("outcomes for 1 of the 3 events"),
            "{reason}"
        );
    }
    assert!(instance.seen().logged("outcomes for 1 of 3 events"));

    let instance = connect("fixture-good", config(2)).await;
    let answer = instance.publish(batch()).answer().await;
    assert_eq!(answer.outcomes, vec![Outcome::Accepted; 3]);
    assert_eq!((answer.beyond, answer.fate), (0, Fate::WORKS));
    assert!(
        instance
            .seen()
            .logged("outcomes for 5 events, but the batch has 3")
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_a_permanent_failure() {
    let failure = open("fixture-good").connect(json!({"path": "/"})).await;
    assert!(
        matches!(failure, Err(ConnectFailure::Permanent(reason)) if reason.starts_with("cannot open /:"))
    );
}

#[tokio::test]
async fn a_batch_that_is_let_go_is_dropped_and_so_is_the_close() {
    let harness = open("fixture-drops-completion");
    let instance = harness.connect(json!({})).await.expect("it connects");
    assert_eq!(instance.publish(vec![event("a")]).await, [Outcome::Dropped]);
    assert!(!instance.close().await);
    drop(instance);
    harness
        .all_given_back(WITHIN)
        .await
        .expect("nothing is held");
}

#[tokio::test]
async fn a_panic_is_an_answer_wherever_it_happens() {
    let harness = open("fixture-panicking");
    for at in ["publish", "task"] {
        let instance = harness
            .connect(json!({"at": at}))
            .await
            .expect("it connects");
        let answer = instance.publish(vec![event("a")]).answer().await;
        // The fixture itself notices that its task panicked.
        let expected = if at == "task" {
            Fate::BROKEN
        } else {
            Fate::CRASHED
        };
        assert_eq!(answer.fate, expected, "{at}");
        assert!(
            matches!(answer.outcomes[0], Outcome::Retry { .. }),
            "{at}: {answer:?}"
        );
    }
    let failure = harness
        .connect(json!({"at": "connect"}))
        .await
        .expect_err("it panics");
    assert!(
        failure.reason().contains("the fixture was told to panic"),
        "{failure}"
    );
    let faults = harness.check(json!({"at": "check"}));
    assert!(faults[0].message.contains("panicked"), "{faults:?}");
    for at in ["limits", "close"] {
        let instance = harness
            .connect(json!({"at": at}))
            .await
            .expect("it connects");
        assert_eq!(
            instance.publish(vec![event("a")]).await,
            [Outcome::Accepted],
            "{at}"
        );
        assert!(instance.close().await, "{at}");
    }
    assert!(harness.seen().log.iter().any(|line| line.target == "panic"));
}

#[tokio::test]
async fn a_panic_is_over_once_its_file_exists() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("over");
    let instance = connect("fixture-panicking", json!({"until_exists": file})).await;
    let answer = instance.publish(vec![event("a")]).answer().await;
    assert_eq!(answer.fate, Fate::CRASHED);
    fs::write(&file, "").expect("the directory is the test's");
    assert_eq!(
        instance.publish(vec![event("a")]).await,
        [Outcome::Accepted]
    );
}

#[tokio::test]
async fn a_plugin_that_hangs_leaves_the_call_open() {
    let harness = open("fixture-hanging");
    for how in ["await", "block"] {
        let connecting = harness.connect(json!({"at": "connect", "how": how}));
        assert!(timeout(NEVER, connecting).await.is_err(), "{how}");

        let config = json!({"at": "publish", "how": how});
        let instance = harness.connect(config).await.expect("it connects");
        let published = instance.publish(vec![event("a")]);
        assert!(timeout(NEVER, published).await.is_err(), "{how}");

        let config = json!({"at": "close", "how": how});
        let instance = harness.connect(config).await.expect("it connects");
        assert_eq!(
            instance.publish(vec![event("a")]).await,
            [Outcome::Accepted]
        );
        assert!(timeout(NEVER, instance.close()).await.is_err(), "{how}");
    }
}

#[tokio::test]
async fn what_a_hanging_plugin_holds_is_known() {
    let harness = open("fixture-hanging");
    let instance = harness
        .connect(json!({"how": "block"}))
        .await
        .expect("it connects");
    let published = instance.publish(vec![event("a")]);
    assert!(
        instance
            .wait_until(WITHIN, |seen| seen.logged("hanging"))
            .await
    );
    drop((instance, published));
    let held = harness
        .all_given_back(NEVER)
        .await
        .expect_err("it blocks for ever");
    assert!(
        held.ends_with("still holds 1 batches and 1 hosts"),
        "{held}"
    );
}

#[tokio::test]
async fn batches_in_flight_are_dropped_with_their_instance() {
    let harness = open("fixture-hanging");
    let instance = harness.connect(json!({})).await.expect("it connects");
    let published = instance.publish(vec![event("a"), event("b")]);
    drop(instance);
    assert_eq!(published.await, [Outcome::Dropped, Outcome::Dropped]);
    harness
        .all_given_back(WITHIN)
        .await
        .expect("nothing is held");
}

#[tokio::test]
async fn the_null_fixture_has_the_limits_that_it_is_given() {
    let config = json!({"max_batch_events": 7, "max_in_flight": 3});
    let instance = connect("fixture-null", config).await;
    assert_eq!(instance.limits().max_batch_events, 7);
    assert_eq!(instance.limits().max_in_flight, 3);
    let outcomes = instance.publish_all(vec![event("a"); 100], WITHIN).await;
    assert_eq!(outcomes, vec![Outcome::Accepted; 100]);
    assert!(instance.close().await);
    assert!(
        instance.seen().logged("events=100"),
        "{:?}",
        instance.seen()
    );
}

#[test]
fn files_that_are_no_plugin_of_this_contract_are_refused_in_one_sentence() {
    for (package, expected) in [
        ("fixture-wrong-abi", "no plugin header in"),
        ("fixture-not-a-plugin", "no plugin header in"),
        (
            "fixture-stale-layout",
            "have another layout than this host's",
        ),
    ] {
        let failure = Harness::open(&library(package)).expect_err("it is not a plugin");
        assert!(failure.sentence.contains(expected), "{failure}");
        assert!(failure.sentence.len() < 400, "{failure}");
    }
    assert!(Harness::open("/nowhere/plugin.so".as_ref()).is_err());
}
