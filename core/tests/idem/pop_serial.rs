//! The serial forms compared with the real pop-serial: the same values, given to both.
mod delivered;
mod value;

use std::collections::HashSet;
use std::fs;

use crate::random::Random;
use crate::script::Script;
use delivered::{FORMS, Hosts, assert_same, beside_the_test, hex, theirs};
use evbus::{Event, Serial};
use regex::Regex;
use serde_json::json;
use value::Value;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Values that differ between languages, or are at a limit.
fn picked() -> Vec<Value> {
    let mut values = vec![
        Value::None,
        Value::Some(Box::new(Value::Some(Box::new(Value::Unit)))),
        Value::Bool(true),
        Value::List(vec![]),
        Value::Map(vec![]),
        Value::List(vec![
            Value::Map(vec![]),
            Value::List(vec![Value::List(vec![])]),
        ]),
        Value::Map(vec![(
            text(""),
            Value::Map(vec![(text("a"), Value::List(vec![]))]),
        )]),
        Value::Variant(Box::new(Value::Bool(false))),
        Value::Char('\''),
        Value::Map(vec![
            (text("z"), Value::Int(1)),
            (text("a"), Value::Int(2)),
            (text("it's"), text("\"both\" it's")),
        ]),
        Value::Int(i128::MIN),
        Value::Unsigned(u128::MAX),
        Value::Text("x".repeat(70_000)),
        Value::List(vec![Value::None; 70_000]),
    ];
    for border in [0, 7, 8, 15, 16, 31, 32, 63, 64, 70] {
        for near in -2..=2 {
            values.push(Value::Int((1 << border) + near));
            values.push(Value::Int(-(1 << border) + near));
        }
    }
    for number in [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        1e15,
        1e16,
        1e17,
        1e22,
        1e23,
        123_456_789_012_345_680.0,
        1e100,
        0.001,
        1e-4,
        1e-5,
        1.5e-7,
        5e-324,
        f64::MAX,
        f64::MIN_POSITIVE,
        9_007_199_254_740_993.0,
        9_999_999_999_999_998.0,
        0.000_099_999_999_999_999_99,
    ] {
        values.push(Value::F64(number));
    }
    for number in [0.1, 16_777_216.0, 3e38, 1e-45] {
        values.push(Value::F32(number));
    }
    for piece in [
        "",
        "FINISHED",
        "it's",
        "\"",
        "it's \"both\"",
        "\\",
        "\0\x01\x1f\x7f",
        "\u{80}\u{9f}\u{a0}",
        "\t\r\n\x0b\x0c\x08",
        "\u{ad}\u{200b}\u{2028}\u{2029}\u{3000}\u{feff}",
        "\u{e0001}\u{f0000}",
        "\u{fdd0}\u{ffff}\u{10ffff}",
        "Grüße, 漢字, 🎉",
        "e\u{301}",
        "\u{301}",
        "/",
    ] {
        values.push(text(piece));
    }
    // Only nested, because a text that is the whole body is never quoted.
    let nested: Vec<_> = (values.iter().cloned())
        .map(|value| Value::List(vec![value]))
        .collect();
    values.extend(nested);
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_languages_have_is_the_same_in_every_form() {
    let mut values = picked();
    let mut random = Random::new(7);
    values.extend((0..1500).map(|_| Value::random(&mut random, 4)));
    let mut hosts = Hosts::start().await;
    let descriptions: Vec<_> = values.iter().map(Value::description).collect();
    let dir = hosts.dir.path().to_owned();
    let theirs = tokio::task::spawn_blocking(move || theirs(&dir, &descriptions))
        .await
        .unwrap();
    for (value, theirs) in values.iter().zip(&theirs) {
        let ours = hosts.ours_of(value).await;
        for form in 0..FORMS.len() {
            assert_same(form, &ours, theirs, value);
        }
    }
}

/// A value; for each form, the host's result if it differs from pop-serial's; and pop-serial's results.
type Difference = (Value, [Option<(&'static str, &'static str)>; 3]);

/// The table in docs/EVENTS.md. msgpack is shown in hexadecimal digits.
fn differences() -> Vec<Difference> {
    let one = |key: Value| Value::Map(vec![(key, Value::None)]);
    vec![
        (
            Value::Texts(["b", "ä", "a", "B"].map(str::to_owned).into()),
            [None, None, Some(("['B', 'a', 'b', 'ä']", "{…}"))],
        ),
        (
            Value::Ints([10, 9, -1].into()),
            [None, None, Some(("[-1, 9, 10]", "{…}"))],
        ),
        (
            Value::Ints(HashSet::new()),
            [None, None, Some(("[]", "set()"))],
        ),
        (
            Value::List(vec![Value::Time(1_709_164_800, 7)]),
            [
                None,
                Some((
                    "91d9486461746574696d652e6461746574696d6528323032342c20322c2032392c20302c20302c20302c20372c20747a696e666f3d6461746574696d652e74696d657a6f6e652e75746329",
                    "91d7ff00006d6065dfc900",
                )),
                Some((
                    "['datetime.datetime(2024, 2, 29, 0, 0, 0, 7, tzinfo=datetime.timezone.utc)']",
                    "[datetime.datetime(2024, 2, 29, 0, 0, 0, 7, tzinfo=datetime.timezone.utc)]",
                )),
            ],
        ),
        (
            Value::Bytes(vec![0, 97]),
            [
                None,
                Some(("920061", "c4020061")),
                Some(("[0, 97]", "b'\\x00a'")),
            ],
        ),
        (
            Value::Tuple(vec![Value::Int(1), Value::Int(2)]),
            [None, None, Some(("[1, 2]", "(1, 2)"))],
        ),
        (
            one(Value::Int(1)),
            [
                None,
                Some(("81a131c0", "8101c0")),
                Some(("{'1': None}", "{1: None}")),
            ],
        ),
        (
            one(Value::Bool(true)),
            [
                None,
                Some(("81a474727565c0", "81c3c0")),
                Some(("{'true': None}", "{True: None}")),
            ],
        ),
        (
            one(Value::F64(1.5)),
            [
                None,
                Some(("81a3312e35c0", "81cb3ff8000000000000c0")),
                Some(("{'1.5': None}", "{1.5: None}")),
            ],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_otherwise_is_as_documented() {
    let mut hosts = Hosts::start().await;
    let dir = hosts.dir.path().to_owned();
    let descriptions: Vec<_> = (differences().iter())
        .map(|(value, _)| value.description())
        .collect();
    let theirs = tokio::task::spawn_blocking(move || theirs(&dir, &descriptions))
        .await
        .unwrap();
    for ((value, expected), theirs) in differences().into_iter().zip(theirs) {
        let ours = hosts.ours_of(&value).await;
        for (form, expected) in expected.into_iter().enumerate() {
            let Some((here, there)) = expected else {
                assert_same(form, &ours, &theirs, &value);
                continue;
            };
            let text = |bytes: &Result<Vec<u8>, String>| match (FORMS[form], bytes) {
                (Serial::Msgpack, Ok(bytes)) => hex(bytes),
                (_, Ok(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
                (_, Err(error)) => error.clone(),
            };
            assert_eq!(text(&ours[form]), here, "{value:?} as {}", FORMS[form]);
            let theirs = text(&theirs[form]);
            // The order of a set is random in Python.
            let same = theirs == there || there == "{…}" && theirs.starts_with('{');
            assert!(
                same,
                "{value:?} as {}: pop-serial has {theirs}",
                FORMS[form]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_json_lacks_is_an_error_where_it_is_fired() {
    let mut hosts = Hosts::start().await;
    for value in [
        Value::F64(f64::NAN),
        Value::F64(f64::NEG_INFINITY),
        Value::F32(f32::INFINITY),
        Value::Map(vec![(Value::F64(f64::NAN), Value::None)]),
        Value::Map(vec![(Value::None, Value::None)]),
        Value::Map(vec![(Value::List(vec![]), Value::None)]),
        Value::Time(u64::MAX / 1000, 0),
    ] {
        for value in [
            value.clone(),
            Value::Some(Box::new(Value::Variant(Box::new(value)))),
        ] {
            for delivered in hosts.ours_of(&value).await {
                let error = delivered.expect_err("JSON has no such value");
                assert!(error.contains("cannot be written as JSON"), "{error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_text_of_any_layout_is_the_value_that_it_is_in_python() {
    // Spaces, every form of a number, escapes; and half a surrogate pair, which has no form in UTF-8.
    let same = [
        " { \"a\" : [ 1 , 2.50 , null ] ,\n\t\"b\":true}\r\n",
        "[-0, -0.0, 0e5, 1E5, 1e+16, 100000000000000000000.0, 1e-0400]",
        "[123456789012345678901234567890, -18446744073709551616]",
        r#""\u00fc\/\b\f\n\r\t\"\\\ud83c\udf89""#,
        r#"["\u00fc\/\b\f\n\r\t\"\\\ud83c\udf89\u2028", "\u0027"]"#,
    ];
    let halves = [
        r#"["\ud800", "a\udc00\ud83c'", "\udc00\ud800"]"#,
        r#""\ud800x""#,
    ];
    let twice = r#"{"a":1,"b":2,"a":3}"#;
    let texts = [&same[..], &halves, &[twice]].concat();
    let mut hosts = Hosts::start().await;
    let dir = hosts.dir.path().to_owned();
    let descriptions = texts
        .iter()
        .map(|text| json!({"json": text}))
        .collect::<Vec<_>>();
    let theirs = tokio::task::spawn_blocking(move || theirs(&dir, &descriptions))
        .await
        .unwrap();
    for (position, (text, theirs)) in texts.iter().zip(&theirs).enumerate() {
        let ours = hosts
            .ours(|| Event::builder("default").unwrapped_json(*text))
            .await;
        // The bytes are unchanged, whatever they are.
        assert_eq!(ours[0].as_deref(), Ok(text.as_bytes()));
        if position < same.len() {
            for form in 1..FORMS.len() {
                assert_same(form, &ours, theirs, text);
            }
        }
    }
    let [nested, whole, twice_there] = &theirs[same.len()..] else {
        panic!("there are three more");
    };
    let ours = hosts
        .ours(|| Event::builder("default").unwrapped_json(halves[0]))
        .await;
    assert_same(2, &ours, nested, &halves[0]);
    assert_eq!(nested[1], Err("UnicodeEncodeError".to_owned()));
    let replaced =
        b"\x93\xa3\xef\xbf\xbd\xa8a\xef\xbf\xbd\xef\xbf\xbd'\xa6\xef\xbf\xbd\xef\xbf\xbd";
    assert_eq!(ours[1].as_deref(), Ok(&replaced[..]));
    let ours = hosts
        .ours(|| Event::builder("default").unwrapped_json(halves[1]))
        .await;
    assert_eq!(whole[1], Err("UnicodeEncodeError".to_owned()));
    assert_eq!(whole[2], Err("UnicodeEncodeError".to_owned()));
    assert_eq!(ours[1].as_deref(), Ok(&b"\xa4\xef\xbf\xbdx"[..]));
    assert_eq!(ours[2].as_deref(), Ok("\u{fffd}x".as_bytes()));
    // The host keeps both entries of a repeated key; Python keeps the last one.
    let ours = hosts
        .ours(|| Event::builder("default").unwrapped_json(twice))
        .await;
    assert_eq!(ours[2].as_deref(), Ok(&b"{'a': 1, 'b': 2, 'a': 3}"[..]));
    assert_eq!(twice_there[2].as_deref(), Ok(&b"{'a': 3, 'b': 2}"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_character_that_both_know_is_escaped_as_python_escapes_it() {
    let unassigned = Regex::new(r"\p{Cn}").unwrap();
    let mut known: Vec<char> = ('\0'..=char::MAX).collect();
    known.retain(|c| !unassigned.is_match(c.encode_utf8(&mut [0; 4])));
    let mut hosts = Hosts::start().await;
    let file = hosts.dir.path().join("characters");
    fs::write(&file, known.iter().collect::<String>()).unwrap();
    let expected = tokio::task::spawn_blocking(move || {
        let printable = beside_the_test("printable.py");
        let mut script = Script::start(&printable, &[file.to_str().unwrap()]);
        let mut expected = Vec::new();
        while let Some(line) =
            serde_json::from_str::<Option<(String, String)>>(&script.line()).unwrap()
        {
            expected.push(line);
        }
        script.finish();
        expected
    })
    .await
    .unwrap();
    assert!(expected.len() > 250, "{}", expected.len());
    for (text, repr) in expected {
        let ours = hosts
            .ours_of(&Value::List(vec![Value::Text(text.clone())]))
            .await;
        assert_eq!(
            String::from_utf8_lossy(ours[2].as_deref().unwrap()),
            repr,
            "{text:?}"
        );
    }
}
