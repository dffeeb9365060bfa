//! SLS files rendered by this project and by a real Idem: the same text, and the same events.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::script::Script;
use regex::{Captures, Regex};
use serde_json::{Value, json};

/// Idem's sandbox keeps templates from functions that are awaited unless they are named.
const OPEN: [&str; 3] = [
    "--jinja-sandbox-safe-hub-refs",
    r"idem\.event",
    r"evbus\.broker",
];

fn beside_the_test(name: &str) -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/idem/render_idem"
    ))
    .join(name)
}

/// What a file renders to, if anything, and what it fires.
#[derive(Debug, PartialEq)]
struct Rendered {
    text: Option<String>,
    events: Vec<Value>,
}

fn ours(path: &Path, text: &str) -> (Rendered, Option<String>) {
    let fired = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&fired);
    let result = evbus::sls::render(text, path, "nightly", move |event, _| {
        let body: Value = serde_json::from_slice(event.body()).unwrap();
        events.lock().unwrap().push(json!([event.profile(), body]));
        Ok(())
    });
    let events = fired.lock().unwrap().clone();
    let error = result.as_ref().err().map(ToString::to_string);
    let text = result.ok();
    (Rendered { text, events }, error)
}

/// Idem cannot read the statement of its own documentation, so it gets a `do` there.
fn with_do(text: &str) -> String {
    let statement = Regex::new(
        r"(?s)(\{#.*?#\}|\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\})|(\{%[-+]?\s*)(hub\s*\.)",
    )
    .unwrap();
    let replaced = statement.replace_all(text, |found: &Captures<'_>| match found.get(1) {
        Some(kept) => kept.as_str().to_owned(),
        None => format!("{}do {}", &found[2], &found[3]),
    });
    replaced.into_owned()
}

fn theirs(files: &[(PathBuf, String)], flags: &[&str]) -> Vec<(Rendered, Option<String>)> {
    let dir = tempfile::tempdir().unwrap();
    let orders = dir.path().join("orders.jsonl");
    let lines: Vec<_> = files
        .iter()
        .map(|(path, text)| json!([path, with_do(text)]).to_string())
        .collect();
    fs::write(&orders, lines.join("\n")).unwrap();
    let args = [&[orders.to_str().unwrap()], flags].concat();
    let mut script = Script::start(&beside_the_test("render.py"), &args);
    let rendered = files
        .iter()
        .map(|_| {
            let line: Value = serde_json::from_str(&script.line()).unwrap();
            let text = |key: &str| line[key].as_str().map(str::to_owned);
            let events = line["events"].as_array().unwrap().clone();
            let text_of = text("text");
            (
                Rendered {
                    text: text_of,
                    events,
                },
                text("error"),
            )
        })
        .collect();
    script.finish();
    rendered
}

fn files() -> Vec<(PathBuf, String)> {
    let mut files: Vec<_> = fs::read_dir(beside_the_test(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "sls"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_real_idem_renders_the_same_text_and_fires_the_same_events() {
    let files = files();
    assert!(files.len() > 20, "{}", files.len());
    let mut differences = Vec::new();
    for ((path, text), (theirs, their_error)) in files.iter().zip(theirs(&files, &OPEN)) {
        let (ours, our_error) = ours(path, text);
        if ours != theirs {
            differences.push(format!(
                "{}:\n ours {ours:?} {our_error:?}\nIdem's {theirs:?} {their_error:?}",
                path.file_name().unwrap().display()
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn in_the_sandbox_that_is_idems_default_put_nowait_fires_and_put_does_not() {
    for (function, expected) in [("put_nowait", 1), ("put", 0)] {
        let text = format!("{{% do hub.idem.event.{function}(1) %}}");
        let file = (beside_the_test("sandbox.sls"), text);
        let (ours, _) = ours(&file.0, &file.1);
        assert_eq!(ours.events.len(), 1);
        let (theirs, error) = theirs(&[file], &[]).remove(0);
        assert_eq!(theirs.events.len(), expected, "{error:?}");
        assert_eq!(
            error.is_some_and(|error| error.starts_with("SecurityError")),
            expected == 0
        );
    }
}

/// Named in `docs/ACCT_FILE.md`.
const MISSING: [&str; 6] = [
    "forceescape",
    "random",
    "urlize",
    "xmlattr",
    "callable",
    "lipsum",
];

#[test]
fn every_filter_test_and_function_of_jinja2_is_there_but_those_that_are_documented() {
    let mut script = Script::start(&beside_the_test("names.py"), &[]);
    let names: Value = serde_json::from_str(&script.line()).unwrap();
    script.finish();
    let mut missing = Vec::new();
    for (kind, before) in [
        ("filters", "{{ 1 | "),
        ("tests", "{{ 1 is "),
        ("functions", "{{ "),
    ] {
        let names = names[kind].as_array().unwrap();
        assert!(!names.is_empty());
        for name in names {
            let name = name.as_str().unwrap();
            let (_, error) = ours(Path::new("name.sls"), &format!("{before}{name} }}}}"));
            // Any other error comes from the value.
            let unknown = |error: &String| {
                error.contains("not a filter, test") || error.contains("undefined name")
            };
            if error.as_ref().is_some_and(unknown) {
                missing.push(name.to_owned());
            }
        }
    }
    assert_eq!(missing, MISSING);
}

/// A template, what it renders to here, and what in Idem. They are listed in `docs/ACCT_FILE.md`.
const DIFFERENCES: [(&str, Option<&str>, &str); 11] = [
    (
        "{% for c in 'ab' %}{{ c }}{{ loop.last }} {% endfor %}",
        Some("aFalse bFalse "),
        "aFalse bTrue ",
    ),
    (
        "{% for c in 'ab' %}{{ loop.length }}{% endfor %}",
        None,
        "22",
    ),
    (
        "{{ {'x': 1} | attr('x') is defined }}",
        Some("True"),
        "False",
    ),
    ("{{ {'x': 1}.items is defined }}", Some("False"), "True"),
    ("{{ range(3) }}", Some("[0, 1, 2]"), "range(0, 3)"),
    (
        "{{ {'a b': 'c d'} | urlencode }}",
        Some("a%20b=c%20d"),
        "a+b=c+d",
    ),
    (
        "{{ [1, [2]] | pprint }}",
        Some("[\n    1,\n    [\n        2,\n    ],\n]"),
        "[1, [2]]",
    ),
    ("{{ '%r' | format('a') }}", None, "'a'"),
    ("{{ '%s' % 'a' }}", None, "a"),
    ("{{ 'a\nb' | indent('> ') }}", None, "a\n> b"),
    (
        "{% macro m(a, b=a) %}{{ b }}{{ varargs }}{% endmacro %}{{ m(1) }}",
        None,
        "1()",
    ),
];

#[test]
fn what_is_rendered_otherwise_is_as_documented() {
    let files = DIFFERENCES.map(|(text, ..)| (beside_the_test("text.sls"), text.to_owned()));
    let theirs = theirs(&files, &[]);
    for ((text, here, there), (theirs, error)) in DIFFERENCES.into_iter().zip(theirs) {
        let (ours, _) = ours(Path::new("text.sls"), text);
        assert_eq!(ours.text.as_deref(), here, "{text}");
        assert_eq!(theirs.text.as_deref(), Some(there), "{text}: {error:?}");
    }
}

#[test]
fn places_are_those_of_the_file_whatever_was_taken_from_it() {
    for (text, place) in [
        (
            "#!jinja|yaml\n{% hub.idem.event.put(1) %}{{ nothing }}",
            "text.sls:2:31: ",
        ),
        (
            "#!jinja|yaml\r\n\r\n{% include 'fault.jinja' %}",
            "fault.jinja:1:4: ",
        ),
        (
            "{% hub.idem.event.put(1) %}{% include 'fault.jinja' %}",
            "fault.jinja:1:4: ",
        ),
        (
            "{% include 'documented.jinja' %}",
            "documented.jinja:1:55: ",
        ),
    ] {
        let (_, error) = ours(&beside_the_test("text.sls"), text);
        let error = error.expect("it has a fault");
        assert!(error.contains(place), "{text}: {error}");
    }
}
