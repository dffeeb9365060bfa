//! The YAML text: anchors, merges, keys, and what is refused.

use std::fmt::Write as _;

use serde_json::json;

use super::{config, faults};

#[test]
fn aliases_stand_for_their_anchors() {
    let text = "p:\n  x:\n    a: &a {k: [1, 2]}\n    b: *a\n    c: &a 5\n    d: *a\n";
    assert_eq!(
        config(text),
        json!({"a": {"k": [1, 2]}, "b": {"k": [1, 2]}, "c": 5, "d": 5})
    );
}

/// The expected values are `PyYAML`'s.
#[test]
fn merged_keys_give_way_to_own_keys_and_come_first() {
    for (text, expected) in [
        (
            "a: &a {k: 1, l: 2}\n    b: {l: 3, <<: *a, m: 4}",
            json!({"k": 1, "l": 3, "m": 4}),
        ),
        (
            "a: [&a {k: 1}, &b {k: 2, l: 2}]\n    b: {<<: [*a, *b]}",
            json!({"k": 1, "l": 2}),
        ),
        (
            "a: [&a {k: 1}, &b {k: 2, l: 2}]\n    b: {<<: *a, <<: *b}",
            json!({"k": 2, "l": 2}),
        ),
        ("a: &a {k: 1}\n    b: {\"<<\": *a}", json!({"<<": {"k": 1}})),
        (
            "a: [&a {k: 1}, &b {<<: *a, l: 2}]\n    b: {<<: *b}",
            json!({"k": 1, "l": 2}),
        ),
    ] {
        let config = config(&format!("p:\n  x:\n    {text}\n"));
        assert_eq!(config["b"], expected, "{text}");
        let order = |value: &serde_json::Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&config["b"]), order(&expected), "{text}");
    }
}

#[test]
fn keys_are_the_text_they_are_written_as() {
    let text =
        "p:\n  x: {5672: a, on: b, 1.10: c, null: d, 2021-03-04: e, 'q': f, &k k: g, \"\": h}\n";
    assert_eq!(
        config(text),
        json!({"5672": "a", "on": "b", "1.10": "c", "null": "d", "2021-03-04": "e", "q": "f", "k": "g", "": "h"})
    );
}

#[test]
fn tabs_are_read_wherever_they_do_not_indent() {
    let text = "p: # a\tcomment\n  x:\t\n    a: \"q\tw\" #\tc\n    b: |\n      x\ty\n      \tz\n    c: >-\n      f\tg\n    d: 'a\n      \tb'\n    e:\tf\tg\n    h: {\ti:\t1,\n\tj: 2\t}\t# c\n#\tend\n";
    assert_eq!(
        config(text),
        json!({"a": "q\tw", "b": "x\ty\n\tz\n", "c": "f\tg", "d": "a b", "e": "f\tg", "h": {"i": 1, "j": 2}})
    );
}

#[test]
fn a_byte_order_mark_and_windows_lines_are_read() {
    let text = "\u{feff}p:\r\n  x:\r\n    a: 1\r\n";
    assert_eq!(config(text), json!({"a": 1}));
}

#[test]
fn a_refused_text_says_what_and_where() {
    const TAB: &str =
        "found a tab character in the indentation, expected spaces; indent with spaces only";
    const TAG: &str = "found a word that starts with `!`, which is an unknown tag; remove it, or put the word or pattern that contains the `!` in quotes";
    const UNENDED: &str =
        "missing space after a tag; add one, or put the word that starts with `!` in quotes";
    for (text, expected) in [
        ("p:\n\tx: 1\n", format!("f:2:1: {TAB}")),
        ("p:\n  \tx: 1\n", format!("f:2:3: {TAB}")),
        ("p:\n  a: 1\n\tb: 2\n", format!("f:3:1: {TAB}")),
        ("p: |\n\tx\n", format!("f:2:1: {TAB}")),
        ("p: \u{1}\n", "f:1:4: found the control character U+0001, expected text; remove it, or write it as an escape in double quotes".into()),
        ("a: 1\n---\nb: 2\n", "f:2:1: found a second document, expected one; remove the `---` line or split the file".into()),
        ("p:\n  x: {a: 1, b: 2,\n    a: 3}\n", "f:3:5: p.x.a: duplicate key, first on line 2; rename or remove one of the two".into()),
        ("p:\n  - x: {a: [{b: 1, b: 2}]}\n", "f:2:20: p[0].x.a[0].b: duplicate key, first on line 2; rename or remove one of the two".into()),
        ("kafka:\n  x:\npika:\nkafka:\n  y:\n", "f:4:1: kafka: duplicate key, first on line 1; rename or remove one of the two".into()),
        ("p:\n  5: a\n  '5': b\n", "f:3:3: p.5: duplicate key, first on line 2; rename or remove one of the two".into()),
        ("p:\n  *: {}\n", "f:2:3: found an unquoted `*` at the start of a word, which refers to an anchor that does not exist; put '*' and patterns that start with it in quotes".into()),
        ("p:\n  - *-status:\n", "f:2:5: found an unquoted `*` at the start of a word, which refers to an anchor that does not exist; put '*' and patterns that start with it in quotes".into()),
        ("p:\n  [ab]*: {}\n", "f:2:7: found an unquoted `[` at the start of a word, where it has a special meaning; put the pattern or value in quotes".into()),
        ("p:\n  x: {password: @secret}\n", "f:2:17: found an unquoted `@` at the start of a word, where it has a special meaning; put the pattern or value in quotes".into()),
        ("p:\n  [a]: 1\n", "f:2:3: found a list as a key, expected text; put keys and patterns that begin with `[` or `{` in quotes".into()),
        ("p:\n  : 1\n", "f:2:3: missing key before the `:`; write the key, or \"\" for an empty one".into()),
        ("p: {: 1}\n", "f:1:5: missing key before the `:`; write the key, or \"\" for an empty one".into()),
        ("p: {? : 1}\n", "f:1:7: p: missing key before the `:`; write the key, or \"\" for an empty one".into()),
        ("p: &a [*a]\n", "f:1:8: found an alias inside the value that it refers to; write the value out".into()),
        ("p: {<<: 5}\n", "f:1:9: found a number under `<<`, expected a mapping or a list of mappings; refer to one with an alias, or quote the key".into()),
        ("p: {<<: [{}, x]}\n", "f:1:14: found text under `<<`, expected a mapping or a list of mappings; refer to one with an alias, or quote the key".into()),
        ("p: [!!str, x]\n", format!("f:1:5: {UNENDED}")),
        ("p: !!str, x\n", format!("f:1:4: {UNENDED}")),
        ("p: [\"!a,\", 'b !c,', d !e,f, # !g,\n  {'h':!i, j}]\n", format!("f:2:8: {TAG}")),
        ("p: {x: {a: !<tag:b>, c: d}}\n", format!("f:1:12: {TAG}")),
        ("p: [!<tag:yaml.org,2002:str>, x]\n", format!("f:1:5: {UNENDED}")),
        ("p: [!<tag:yaml.org,2002:str>x]\n", format!("f:1:5: {UNENDED}")),
        ("p: [é, {x: !<a!,>, b: c}]\n", format!("f:1:12: {TAG}")),
        ("p: [a, !,,,]\n", format!("f:1:8: {TAG}")),
        ("p: [a, !b,", format!("f:1:8: {TAG}")),
        ("p: {x: {a: !!str, a: \"open}\n", format!("f:1:12: {UNENDED}")),
        ("p: !vault {}\n", format!("f:1:4: {TAG}")),
        ("p: {x: {password: !hunter2}}\n", format!("f:1:19: {TAG}")),
        ("p:\n  on: {}\n  yes: {}\n", "f:3:3: p.yes: duplicate key, first as `on` on line 2: YAML takes both for the same value; quote the key that is meant as text, or remove one of the two".into()),
        ("p: {x: {1: a, 0x1: b}}\n", "f:1:15: p.x.0x1: duplicate key, first as `1` on line 1: YAML takes both for the same value; quote the key that is meant as text, or remove one of the two".into()),
        ("p: a: b\n", "f:1:5: found text that is not YAML (mapping values are not allowed in this context), expected `key: value` with consistent indentation; check quotes, colons and indentation here and on the line before".into()),
        ("p: \"open\n", "f:1:4: found text that is not YAML (while scanning a quoted scalar, found unexpected end of stream), expected `key: value` with consistent indentation; check quotes, colons and indentation here and on the line before".into()),
    ] {
        assert_eq!(faults(text), [expected], "{text:?}");
    }
}

#[test]
fn a_comma_behind_what_only_looks_like_a_tag_is_text() {
    let text = "p:\n  x:\n    a: [\"!b,\", ' !c,', d !e, f!]\n    g: !h!, i\n";
    assert_eq!(faults(text).len(), 1, "`g` begins with a tag");
    let text = "p:\n  x:\n    a: [\"!b,\", ' !c,', d !e, f!] # !j,\n    g: h !i, !j,\n    k: |\n      !l,\n";
    assert_eq!(
        config(text),
        json!({"a": ["!b,", " !c,", "d !e", "f!"], "g": "h !i, !j,", "k": "!l,\n"})
    );
}

#[test]
fn a_tag_before_a_comma_is_found_behind_any_number_of_words_that_look_like_it() {
    let text = format!("p: [{}!!str, x]\n", "'!a,', d !e,\n".repeat(1000));
    let expected =
        "missing space after a tag; add one, or put the word that starts with `!` in quotes";
    assert_eq!(faults(&text), [format!("f:1001:1: {expected}")]);
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| format!("p: {}{}\n", "[".repeat(depth), "]".repeat(depth));
    // The mapping at the top is one level, the section's list is the second.
    assert_eq!(
        faults(&format!(
            "p: {{x: {{a: {}{}}}}}",
            "[".repeat(97),
            "]".repeat(97)
        )),
        [""; 0]
    );
    assert_eq!(
        faults(&nested(100)),
        [
            "f:1:103: found values nested more than 100 levels deep, expected fewer; check brackets and aliases"
        ]
    );
    // Deeper than the parser itself permits.
    assert_eq!(faults(&nested(100_000)).len(), 1);
}

#[test]
fn aliases_count_towards_depth() {
    let mut text = String::from("a0: &a0 []\n");
    for level in 1..200 {
        writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert_eq!(
        faults(&text),
        [
            "f:100:12: found values nested more than 100 levels deep, expected fewer; check brackets and aliases"
        ]
    );
}

#[test]
fn a_few_aliases_cannot_expand_without_limit() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let alias = format!("*a{}", level - 1);
        writeln!(
            text,
            "a{level}: &a{level} [{}]",
            [alias.as_str(); 10].join(", ")
        )
        .unwrap();
    }
    let found = faults(&text);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].ends_with(
            "the aliases expand to more than 64 MiB; use fewer aliases or split the file"
        ),
        "{}",
        found[0]
    );
}
