//! Scalars mean what Idem's reader, a `SafeLoader` of `PyYAML`, makes of them.

use serde_json::Value as Json;

use crate::parse;

/// The meaning of the text below `v:`: JSON, or the sentence of the refusal.
fn meaning(written: &str) -> Result<Json, String> {
    let entries = parse(&format!("p:\n  x:\n    v: {written}\n"), "f")
        .and_then(|file| file.sections()[0].entries());
    match entries {
        Ok(entries) => Ok(entries[0].config["v"].clone()),
        Err(errors) => Err(errors[0].message().to_owned()),
    }
}

/// The cases were judged by Idem's reader, rend 7.0.2, on `PyYAML` 6.0.4; dates are the text as written, and `not json` is a value
/// beyond JSON (`.inf`) or beyond 64 bits.
#[test]
fn plain_scalars_mean_what_idem_makes_of_them() {
    let cases = include_str!("../../fixtures/acct/scalars.jsonl");
    let mut wrong = Vec::new();
    for case in cases.lines() {
        let case: Json = serde_json::from_str(case).unwrap();
        let written = case["written"].as_str().unwrap();
        let got = meaning(written);
        let right = match case["meaning"].as_str().unwrap() {
            "json" => got.as_ref() == Ok(&case["value"]),
            "not json" => got.as_ref().is_err_and(|e| e.contains("JSON can hold")),
            _ => got.is_err(),
        };
        if !right {
            wrong.push(format!("{case}: got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.lines().count() >= 150);
}

#[test]
fn quoted_and_block_scalars_are_text() {
    for (written, expected) in [
        ("'yes'", "yes"),
        ("\"0644\"", "0644"),
        ("\"a\\tb \\u2713\"", "a\tb \u{2713}"),
        ("|-\n      on", "on"),
        (">-\n      1\n      2", "1 2"),
        ("'it''s'", "it's"),
        ("!!str 12", "12"),
        ("!!timestamp 2021-03-04", "2021-03-04"),
    ] {
        assert_eq!(meaning(written), Ok(expected.into()), "{written}");
    }
}

#[test]
fn tags_choose_the_type() {
    for (written, expected) in [
        ("!!int '12'", Json::from(12)),
        ("!!float 3", 3.0.into()),
        ("! 12", 12.into()),
        // To libyaml the tag says that the text decides, quotes or not.
        ("! '12'", 12.into()),
        ("!!int ' 1_2 '", 12.into()),
        ("!!bool 'oN'", true.into()),
        ("!!python/unicode 5", "5".into()),
        (
            "!!omap [a: 1, 2: b]",
            serde_json::json!([["a", 1], [2, "b"]]),
        ),
        ("!!bool 'on'", true.into()),
        ("!!null ''", Json::Null),
        ("!<tag:yaml.org,2002:int> 5", 5.into()),
    ] {
        assert_eq!(meaning(written), Ok(expected), "{written}");
    }
}

#[test]
fn a_refused_scalar_says_why() {
    for (written, expected) in [
        (
            "0x_",
            "found a number without digits, expected digits after the prefix; quote it if it is text",
        ),
        (
            "!!int x",
            "found a value that does not fit its tag `!!int`, expected a whole number; correct it or remove the tag",
        ),
        (
            "!!float x",
            "found a value that does not fit its tag `!!float`, expected a number; correct it or remove the tag",
        ),
        (
            "!!bool x",
            "found a value that does not fit its tag `!!bool`, expected true or false; correct it or remove the tag",
        ),
        (
            "!vault x",
            "found a word that starts with `!`, which is an unknown tag; remove it, or put the word or pattern that contains the `!` in quotes",
        ),
        (
            "!!set x",
            "found the tag `!!set` on a plain value, expected no tag or one of !!str, !!int, !!float, !!bool, !!null; remove the tag",
        ),
        (
            "!!binary aGk=",
            "found binary data, expected a value that JSON can hold; quote it if it is text",
        ),
        (
            ".nan",
            "found a number that is not finite, expected a value that JSON can hold; quote it if it is text",
        ),
        (
            "99999999999999999999",
            "found a whole number of more than 64 bits, expected a value that JSON can hold; quote it if it is text",
        ),
    ] {
        assert_eq!(meaning(written), Err(expected.to_owned()), "{written}");
    }
}
