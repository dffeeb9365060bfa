//! The content of a line.

mod support;

use std::fs;
use std::process::Command;

use base64::Engine;
use evbus_testkit::{Outcome, TestEvent, built, conformance::Conformance, idem_events};
use serde_json::json;
use support::{accepted, connect, lines, numbered, numbers};

#[tokio::test]
async fn the_built_plugin_conforms() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    Conformance::open(&built("plugin-file"))
        .config(json!({
            "path": dir.path().join("a"),
            "format": "json_lines",
            "rotate": {"max_bytes": 1_000_000, "keep": 2},
            "fsync": "batch",
            "mode": "0640",
            "create_dirs": true,
        }))
        .second_config(json!({"path": dir.path().join("b"), "fsync": {"interval": 1}}))
        .run()
        .await
        .assert_passes();
}

#[tokio::test]
async fn the_events_of_an_idem_run_are_read_back_as_they_were() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let instance = connect(json!({"path": path})).await;
    let events = idem_events();
    accepted(&instance, events.clone()).await;

    let written = lines(&path);
    assert_eq!(written.len(), events.len());
    for (line, event) in written.iter().zip(&events) {
        assert_eq!(line["id"], event.id_text());
        assert_eq!(line["profile"], event.profile());
        assert_eq!(line["body"], event.body_json());
        assert_eq!(line.get("encoding"), None);
    }
    // An event with string tags, and one without.
    assert_eq!(written[3]["tags"], events[3].body_json()["tags"]);
    assert_eq!(written[0].get("tags"), None);
}

#[tokio::test]
async fn a_line_has_the_time_and_the_tags_of_its_event() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let instance = connect(json!({"path": path})).await;
    let event = TestEvent::json("a\"b", json!([1, {"k": null}]))
        .id([0xab; 16])
        .time_unix_ns(1_783_000_000_123_456_789)
        .tag("ref", "states.test\n")
        .tag("type", "\u{1f680}");
    accepted(&instance, vec![event]).await;
    let text = fs::read_to_string(&path).expect("the file is text");
    let expected = concat!(
        r#"{"id":"abababab-abab-abab-abab-abababababab","time":"2026-07-02T13:46:40.123456789Z","#,
        r#""profile":"a\"b","tags":{"ref":"states.test\n","type":"🚀"},"body":[1,{"k":null}]}"#,
        "\n"
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_kept_beside_its_encoding() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let instance = connect(json!({"path": path})).await;
    let binary = [0x81, 0xff, 0x00, b'\n', 0xc1];
    accepted(
        &instance,
        vec![
            TestEvent::text("p", "two\nlines \u{7}\0"),
            TestEvent::bytes("p", "application/msgpack", binary),
            TestEvent::text("p", ""),
            TestEvent::text("p", "{}"),
        ],
    )
    .await;
    let written = lines(&path);
    let encodings: Vec<_> = written
        .iter()
        .map(|line| line["encoding"].clone())
        .collect();
    assert_eq!(encodings, ["text", "base64", "text", "text"]);
    assert_eq!(written[0]["body"], "two\nlines \u{7}\0");
    let text = written[1]["body"].as_str().expect("base64 is text");
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    assert_eq!(decoded.expect("it is base64"), binary);
    assert_eq!(written[2]["body"], "");
    assert_eq!(written[3]["body"], "{}");
}

#[tokio::test]
async fn a_body_cannot_break_its_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let instance = connect(json!({"path": path})).await;
    let json = |body: &[u8]| TestEvent::bytes("p", "application/json", body);
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let events = vec![
        json(b"{\r\n  \"pretty\": [1,\n2]\n}\n"),
        json(b"1}\n{\"profile\":\"forged\""),
        json(b"\"half"),
        json(b"\"\xff\""),
        json(&deep),
    ];
    accepted(&instance, events).await;

    let text = fs::read_to_string(&path).expect("the file is text");
    let written: Vec<&str> = text.lines().collect();
    assert_eq!(written.len(), 5);
    assert!(
        written[0].ends_with(r#""body":{    "pretty": [1, 2] } }"#),
        "{}",
        written[0]
    );
    let forged = r#""encoding":"text","body":"1}\n{\"profile\":\"forged\""}"#;
    assert!(written[1].ends_with(forged), "{}", written[1]);
    assert!(
        written[2].ends_with(r#""encoding":"text","body":"\"half"}"#),
        "{}",
        written[2]
    );
    assert!(
        written[3].ends_with(r#""encoding":"base64","body":"Iv8i"}"#),
        "{}",
        written[3]
    );
    assert!(written[4].contains(r#""body":[[["#) && written[4].ends_with("]]]}"));
}

#[tokio::test]
async fn the_body_format_writes_bodies_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    let instance = connect(json!({"path": path, "format": "body"})).await;
    let outcomes = instance
        .publish(vec![
            TestEvent::json("p", json!({"a": 1})),
            TestEvent::text("p", "two\nlines"),
            TestEvent::bytes("p", "application/json", "[1,\n2]"),
            TestEvent::text("p", "one line"),
            TestEvent::bytes("p", "application/json", "no\njson"),
        ])
        .await;
    for index in [0, 2, 3] {
        assert_eq!(outcomes[index], Outcome::Accepted);
    }
    for index in [1, 4] {
        let reason = outcomes[index].reason();
        assert!(matches!(outcomes[index], Outcome::Rejected { .. }));
        assert!(reason.contains("`format: json_lines`"), "{reason}");
    }
    let text = fs::read_to_string(&path).expect("the file is text");
    assert_eq!(text, "{\"a\":1}\n[1, 2]\none line\n");
}

#[tokio::test]
async fn a_dash_is_standard_output() {
    const CHILD: &str = "EVBUS_TEST_STDOUT";
    if std::env::var_os(CHILD).is_some() {
        let first = connect(json!({"path": "-"})).await;
        let second = connect(json!({"path": "-", "format": "body"})).await;
        accepted(&first, numbered(0..10)).await;
        accepted(&second, vec![TestEvent::text("p", "{\"a body\": alone}")]).await;
        return;
    }
    let test = std::env::current_exe().expect("the test has a path");
    let child = Command::new(test)
        .args(["a_dash_is_standard_output", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("the test can run itself");
    assert!(child.status.success(), "{child:?}");
    let stdout = String::from_utf8(child.stdout).expect("text");
    assert!(stdout.contains("\n{\"a body\": alone}\n"), "{stdout}");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events");
    // The test runner also writes there.
    let events: Vec<&str> = stdout
        .lines()
        .filter_map(|line| line.find("{\"id\":").map(|start| &line[start..]))
        .collect();
    fs::write(&path, events.join("\n") + "\n").expect("the directory is the test's");
    assert_eq!(numbers(&path), (0..10).collect::<Vec<u64>>());
}
