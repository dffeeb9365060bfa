//! The content of events: every kind of value, long and short tags, large events, in every direction.

use serde_json::{Value, json};

use super::bus::Bus;
use super::without_stamp;
use crate::support::wait_for;

/// Data with everything that Salt can fire.
const DATA: &str = "\
data = {
    'text': 'Grüße, 漢字, 🎉, \\x00\"\\\\\\n',
    'raw': b'\\x00\\xff\\n\\n',
    'ascii': b'plain',
    'when': datetime.datetime(2024, 2, 29, 12, 34, 56, 789012),
    'largest': 2**64 - 1,
    'smallest': -2**63,
    'larger': 2**64,
    'smaller': -2**70,
    'float': 0.1,
    'whole': 3.0,
    'nan': float('nan'),
    'infinite': float('-inf'),
    'none': None,
    'yes': True,
    'deep': [1, [2, (3, 4)], {'a': {}}],
    'set': {7},
    1: 'one',
    1.5: 'one and a half',
    None: 'nothing',
    False: 'no',
    b'key': 'bytes',
    '': 'no key',
    'schlüssel': {2: {3: b''}},
}";

/// The same as destinations receive it.
const JSON: &str = concat!(
    r#"{"text":"Grüße, 漢字, 🎉, \u0000\"\\\n","raw":{"__bytes__":"AP8KCg=="},"#,
    r#""ascii":{"__bytes__":"cGxhaW4="},"when":"20240229T12:34:56.789012","#,
    r#""largest":18446744073709551615,"smallest":-9223372036854775808,"#,
    r#""larger":"18446744073709551616","smaller":"-1180591620717411303424","#,
    r#""float":0.1,"whole":3.0,"nan":"NaN","infinite":"-Infinity","none":null,"yes":true,"#,
    r#""deep":[1,[2,[3,4]],{"a":{}}],"set":[7],"#,
    r#""1":"one","1.5":"one and a half","null":"nothing","false":"no","a2V5":"bytes","#,
    r#""":"no key","schlüssel":{"2":{"3":{"__bytes__":""}}},"_stamp":STAMP}"#,
);

#[test]
fn every_kind_of_value_arrives_at_salt_as_it_was_and_at_destinations_as_documented() {
    let bus = Bus::start();
    let mut all = bus.listeners();
    for python in &mut all {
        python.run("import datetime");
        python.run(DATA);
    }
    for firing in 0..all.len() {
        let python = &mut all[firing];
        let release = python.release;
        assert_eq!(
            python.run(&format!("event.fire_event(data, {release:?})")),
            true
        );
        // What msgpack alone makes of it: tuples and sets become lists, long integers become text.
        python.run("packed = salt.payload.dumps(data, use_bin_type=True)");
        let expected = python.run("repr(salt.payload.loads(packed, encoding='utf-8'))");
        let stamp = python.run("data['_stamp']");
        for python in &mut all {
            let heard = python.run(&format!("repr(event.get_event(wait=30, tag={release:?}))"));
            assert_eq!(heard, expected, "{} hears {release}", python.release);
        }
        // The exact text, including the form of numbers and the order.
        let text = wait_for("the event at the destination", || {
            let text = std::fs::read_to_string(bus.host.path("out.jsonl")).unwrap_or_default();
            let mut lines = text.lines().map(str::to_owned);
            text.ends_with('\n').then(|| lines.nth(firing)).flatten()
        });
        let body = JSON.replace("STAMP", &stamp.to_string());
        let end = format!(r#""profile":"{release}","body":{body}}}"#);
        assert!(text.ends_with(&end), "found    {text}\nexpected {end}");
    }
}

#[test]
fn what_evbus_put_fires_arrives_at_salt_as_python_reads_its_json() {
    let cases: &[(&str, Value)] = &[
        (r#"{"x": 1}"#, json!({"x": 1})),
        ("{}", json!({})),
        (
            r#"{"ä": "漢字 🎉", "n": [null, true, -1.5, {"": []}]}"#,
            json!({"ä": "漢字 🎉", "n": [null, true, -1.5, {"": []}]}),
        ),
        (
            r#"{"largest": 18446744073709551615, "larger": 18446744073709551616}"#,
            json!({"largest": u64::MAX, "larger": "18446744073709551616"}),
        ),
        // A body that is not a map, or that has its own time, is under `body`.
        ("null", json!({"body": null})),
        ("[1, 2]", json!({"body": [1, 2]})),
        (r#""text""#, json!({"body": "text"})),
        (r#"{"_stamp": "mine"}"#, json!({"body": {"_stamp": "mine"}})),
    ];
    let bus = Bus::start();
    let mut all = bus.listeners();
    for (number, (body, _)) in cases.iter().enumerate() {
        bus.host.put(&format!("case/{number}"), body);
    }
    for python in &mut all {
        python.run("import datetime");
        for (number, (body, expected)) in cases.iter().enumerate() {
            python.run("found = event.get_event(wait=30, full=True)");
            assert_eq!(python.run("found['tag']"), format!("case/{number}"));
            let data = python.run("found['data']");
            assert_eq!(without_stamp(data), *expected, "{}: {body}", python.release);
            // The stamp is a UTC time in the form of Salt's own programs.
            let age = python.run(concat!(
                "abs(datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)",
                " - datetime.datetime.fromisoformat(found['data']['_stamp'][:26])).total_seconds()",
            ));
            assert!(age.as_f64().unwrap() < 3600.0, "{age} s");
        }
    }
}

#[test]
fn tags_of_every_length_and_script_arrive_whole() {
    let bus = Bus::start();
    let mut all = bus.listeners();
    let long = "a/long/tag/".repeat(450);
    let tags = [
        "t",
        "nineteen-characters",
        "twenty-characters-xx",
        "twenty-one-characters",
        "salt/job/20261126213000123456/ret/web1.example.org",
        "Ereignis/größer/漢字/🎉",
        "with space | and * and [pattern]",
        "one\nline break",
        long.as_str(),
    ];
    for firing in 0..all.len() {
        for tag in tags {
            let quoted = json!(tag);
            let python = &mut all[firing];
            assert_eq!(
                python.run(&format!("event.fire_event({{'tag': {quoted}}}, {quoted})")),
                true
            );
        }
        for python in &mut all {
            for tag in tags {
                let mut event = python.run("event.get_event(wait=30, full=True)");
                assert_eq!(event["tag"], tag, "{}", python.release);
                assert_eq!(without_stamp(event["data"].take()), json!({"tag": tag}));
            }
        }
    }
    let profiles: Vec<Value> = bus
        .delivered(tags.len() * 3)
        .iter()
        .map(|line| line["profile"].clone())
        .collect();
    assert_eq!(json!(profiles), json!([tags, tags, tags].concat()));
}

#[test]
fn large_events_arrive_whole_and_what_salt_trims_arrives_trimmed() {
    const KIB: usize = 1024;
    let bus = Bus::start();
    let mut all = bus.listeners();
    for firing in 0..all.len() {
        let python = &mut all[firing];
        let release = python.release;
        python.run(&format!(
            "data = {{'raw': bytes(range(256)) * 4 * 450, 'text': 'ü' * {} }}",
            225 * KIB
        ));
        // Above max_event_size, the client itself omits large values.
        python.run(&format!("event.fire_event(data, 'large/{release}')"));
        python.run(&format!(
            "event.fire_event({{'n': 1, 'text': 'x' * {}}}, 'trimmed')",
            1100 * KIB
        ));
        for python in &mut all {
            python.run("found = event.get_event(wait=30, full=True)");
            assert_eq!(python.run("found['tag']"), format!("large/{release}"));
            let same = format!(
                "[found['data']['raw'] == bytes(range(256)) * 4 * 450, found['data']['text'] == 'ü' * {}]",
                225 * KIB
            );
            assert_eq!(
                python.run(&same),
                json!([true, true]),
                "{} hears {release}",
                python.release
            );
            let trimmed = python.run("event.get_event(wait=30)");
            assert_eq!(
                without_stamp(trimmed),
                json!({"n": 1, "text": "VALUE_TRIMMED"})
            );
        }
    }
    let delivered = bus.delivered(6);
    let text = delivered[0]["body"]["text"].as_str().unwrap();
    assert_eq!(text, "ü".repeat(225 * KIB));
}
