use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Firing, render};

/// What a template renders to, or why it is refused, and what it fired.
type Fired = Vec<(Firing, String, Value)>;

fn rendered(text: &str) -> (Result<String, String>, Fired) {
    let fired: Arc<Mutex<Vec<_>>> = Arc::default();
    let events = Arc::clone(&fired);
    let out = render(
        text,
        Path::new("dir/app.sls"),
        "run",
        move |event, firing| {
            if event.profile() == "full" {
                return Err("there is no room".to_owned());
            }
            let body = serde_json::from_slice(event.body()).expect("the body is JSON");
            events
                .lock()
                .push((firing, event.profile().to_owned(), body));
            Ok(())
        },
    );
    let fired = fired.lock().clone();
    (out.map_err(|error| error.to_string()), fired)
}

fn envelope(message: &Value, tags: &Value) -> Value {
    json!({"tags": tags, "message": message, "run_name": "run"})
}

#[test]
fn the_documented_statement_fires() {
    let (out, fired) = rendered(
        "{%- hub.idem.event.put_nowait(body={\"message\": \"event content\"}, profile=\"default\", tags={}) %}\n",
    );
    assert_eq!(out.as_deref(), Ok(""));
    let body = envelope(&json!({"message": "event content"}), &json!({}));
    assert_eq!(fired, [(Firing::PutNowait, "default".to_owned(), body)]);
}

#[test]
fn every_form_fires_with_every_kind_of_argument() {
    let (out, fired) = rendered(
        "{% do hub.idem.event.put([1, 2.5, none, true], 'p', {'ref': 'r'}) %}\
         {% set x = hub.idem.event.put_nowait('text', tags=none) %}\
         a: {{ hub.idem.event.put_nowait(body={'deep': {'é': [{}]}}) }}, {{ x is none }}\n\
         {% for n in range(2) %}{% if n %}{% hub.evbus.broker.put(profile='raw', body=n) %}{% endif %}{% endfor %}\
         {% set event = hub.idem.event %}{% set fire = event.put %}{% do fire(3) %}",
    );
    assert_eq!(out.as_deref(), Ok("a: None, True\n"));
    let bodies: Vec<_> = fired
        .iter()
        .map(|(_, profile, body)| (&**profile, body.clone()))
        .collect();
    assert_eq!(
        bodies,
        [
            (
                "p",
                envelope(&json!([1, 2.5, null, true]), &json!({"ref": "r"}))
            ),
            ("default", envelope(&json!("text"), &json!({}))),
            (
                "default",
                envelope(&json!({"deep": {"é": [{}]}}), &json!({}))
            ),
            ("raw", json!(1)),
            ("default", envelope(&json!(3), &json!({}))),
        ]
    );
}

#[test]
fn a_fault_names_its_place_and_what_was_fired_before_stays() {
    for (text, position, sentence) in [
        (
            "a\n  {% hub.idem.event.putt(1) %}",
            "2:20",
            "unknown function hub.idem.event.putt, expected one of hub.idem.event.put,",
        ),
        (
            "a\n  {% hub.exec.cmd.run('ls') %}",
            "2:6",
            "unknown function hub.exec, expected one of hub.idem.event.put,",
        ),
        (
            "{{ hub.exec }}",
            "1:4",
            "unknown function hub.exec, expected one of hub.idem.event.put,",
        ),
        (
            "{% hub.idem.event.put() %}",
            "1:18",
            "is called without a body",
        ),
        (
            "{% hub.idem.event.put(1, bodies=2) %}",
            "1:18",
            "wrong arguments for hub.idem.event.put, expected body, profile, tags, each at most once",
        ),
        (
            "{% hub.idem.event.put(1, body=2) %}",
            "1:18",
            "each at most once",
        ),
        (
            "{% hub.evbus.broker.put(1, 'p', {}) %}",
            "1:20",
            "expected body, profile, each at most once",
        ),
        (
            "{% hub.idem.event.put(1, 2) %}",
            "1:18",
            "the profile for hub.idem.event.put is not text",
        ),
        (
            "{% hub.idem.event.put(1, tags=[1]) %}",
            "1:18",
            "are not a map",
        ),
        (
            "{% hub.idem.event.put('nan'|float) %}",
            "1:18",
            "a number that JSON cannot represent",
        ),
        (
            "{% hub.idem.event.put(1, 'full') %}",
            "1:18",
            "hub.idem.event.put: there is no room",
        ),
        ("{{ nothing }}", "1:4", "undefined name `nothing`"),
        (
            "{% for n in range(1000) %}{% for m in range(1000) %}{{ m * n }}{% endfor %}{% endfor %}",
            "1:",
            "does not end or produces too much",
        ),
        ("{% if %}", "1:", "not a Jinja template"),
    ] {
        let (out, fired) = rendered(&format!("{{% hub.idem.event.put(0) %}}{text}"));
        let said = out.expect_err("it has a fault");
        assert!(said.contains(sentence), "{text}: {said}");
        let (line, column) = position.split_once(':').expect("a line and a column");
        // The first line has a statement before it.
        let expected = match (line, column.parse::<usize>()) {
            ("1", Ok(column)) => format!("dir/app.sls:1:{}: ", column + 27),
            _ => format!("dir/app.sls:{position}"),
        };
        assert!(
            said.starts_with(&expected),
            "{text}: {said}, not {expected}"
        );
        let before = usize::from(!text.starts_with("{% if"));
        assert_eq!(fired.len(), before, "{text}");
    }
}
