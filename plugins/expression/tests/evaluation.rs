//! What expressions and templates give for an event, and how they end.

use std::time::{Duration, Instant};

use evbus_expression::{Expression, Sample, SyntaxFault, Template};

const BODY: &str = r#"{"tags":{"type":"state-status","n":3},"message":{"ok":true,"id":"a","list":[1,2,{"password":"p"}],"none":null},"run_name":"nightly"}"#;

fn sample() -> Sample {
    Sample::new(
        [1; 16],
        1_764_547_200_123_456_789,
        "salt/job/20/ret/web1",
        BODY.as_bytes(),
        &[("type", "state-status")],
    )
}

fn json(expression: &str) -> String {
    let compiled = Expression::compile(expression).map_err(|fault| fault.to_string());
    let written = compiled.and_then(|it| it.json(&sample()).map_err(|fault| fault.to_string()));
    match written {
        Ok(json) => json,
        Err(fault) => fault,
    }
}

fn text(template: &str) -> Result<String, String> {
    let compiled = Template::compile(template).map_err(|fault| fault.to_string())?;
    (compiled.text(&sample()))
        .map(std::borrow::Cow::into_owned)
        .map_err(|fault| fault.to_string())
}

#[test]
fn every_name_has_its_value() {
    for (expression, expected) in [
        ("profile", r#""salt/job/20/ret/web1""#),
        ("tag == profile", "true"),
        ("parts", r#"["salt","job","20","ret","web1"]"#),
        ("parts[4]", r#""web1""#),
        ("tags.type", r#""state-status""#),
        ("tags.n", "3"),
        ("tags", r#"{"type":"state-status","n":3}"#),
        ("'n' in tags", "true"),
        ("tags.get('x', 'none')", r#""none""#),
        ("body.message.ok", "true"),
        ("message.id", r#""a""#),
        ("run_name", r#""nightly""#),
        ("id", r#""01010101-0101-0101-0101-010101010101""#),
        ("time", "1764547200.123456"),
        (
            "time | strftime('%Y-%m-%d %H:%M:%S.%6f')",
            r#""2025-12-01 00:00:00.123456""#,
        ),
        ("host | length > 0", "true"),
        ("env('NO_SUCH_VARIABLE', 'other')", r#""other""#),
        ("env.PATH is string", "true"),
        ("env.ACCT_KEY is defined", "false"),
        (
            r#"{"minion": parts[4], "ok": message.success | default(false)}"#,
            r#"{"minion":"web1","ok":false}"#,
        ),
    ] {
        assert_eq!(json(expression), expected, "{expression}");
    }
}

#[test]
fn bodies_get_other_shapes() {
    for (expression, expected) in [
        (
            "message | without('password', 'none')",
            r#"{"ok":true,"id":"a","list":[1,2,{}]}"#,
        ),
        (
            "message | without(['password', 'list'])",
            r#"{"ok":true,"id":"a","none":null}"#,
        ),
        ("message | only('id', 'x')", r#"{"id":"a"}"#),
        (
            "message | mask('password')",
            r#"{"ok":true,"id":"a","list":[1,2,{"password":"***"}],"none":null}"#,
        ),
        ("(message | mask('list', with=0)).list", "0"),
        ("(message | mask('list', with=none)).list", "null"),
        (
            "body | shorten(3) | only('run_name', 'tags')",
            r#"{"tags":{"type":"sta...","n":3},"run_name":"nig..."}"#,
        ),
        ("'äöü' | shorten(2, end='')", r#""äö""#),
        (
            "message | flatten",
            r#"{"ok":true,"id":"a","list.0":1,"list.1":2,"list.2.password":"p","none":null}"#,
        ),
        (
            "{'a': {'b': {}}, 'c': []} | flatten('_')",
            r#"{"a_b":{},"c":[]}"#,
        ),
        (
            "message | only('id') | rename(id='name')",
            r#"{"name":"a"}"#,
        ),
        (
            "message | only('id') | rename({'id': 'x', 'y': 'z'})",
            r#"{"x":"a"}"#,
        ),
        ("{1: true, none: 1.5, true: 'x'}", r#"{"1":"x","null":1.5}"#),
        (
            "parts | map('upper') | list",
            r#"["SALT","JOB","20","RET","WEB1"]"#,
        ),
    ] {
        assert_eq!(json(expression), expected, "{expression}");
    }
}

#[test]
fn a_body_that_cannot_be_read_is_a_fault_whatever_asks_for_it() {
    let large = format!(
        "{{\"tags\":{{\"n\":3}},\"x\":\"{}\"}}",
        "x".repeat(5_000_000)
    );
    let event = Sample::new([1; 16], 0, "p", large.as_bytes(), &[("type", "t")]);
    for expression in [
        "body",
        "message",
        "run_name",
        "tags.n",
        "tags.get('n') == 3",
        "tags.n | default(1)",
        "run_name | default('x')",
        "body is defined",
        "tags | list",
        "[body] | length",
        "'n' in tags",
        "message.x is string",
    ] {
        let compiled = Expression::compile(expression).expect("it is an expression");
        let fault = compiled.is_true(&event).expect_err(expression).to_string();
        assert!(
            fault.starts_with("the body has 5000"),
            "{expression}: {fault}"
        );
    }
    let compiled = Expression::compile("tags.type == 't'").expect("it is an expression");
    assert_eq!(compiled.is_true(&event), Ok(true), "a text is at hand");
}

#[test]
fn an_expression_that_is_nested_or_long_without_end_is_compiled_or_refused() {
    for (begin, middle, end) in [
        ("1", "+1", ""),
        ("", "-", "1"),
        ("", "not ", "1"),
        ("1", " if 1 else 1", ""),
        ("", "range(", "1"),
        ("body", ".a", ""),
        ("body", "[0]", ""),
        ("1", "|abs", ""),
        ("1", "~1", ""),
        ("", "(", "1"),
        ("", "[", "1"),
        ("", "{1:", "1"),
        ("1", " is defined", ""),
    ] {
        for times in [100, 1000, 4000] {
            let source = format!("{begin}{}{end}", middle.repeat(times));
            let _ = Expression::compile(&source);
            let _ = Template::compile(&format!("${{ {source} }}"));
        }
    }
}

#[test]
fn a_panic_of_the_engine_is_a_fault() {
    let event = Sample::new(
        [1; 16],
        0,
        "p",
        br#"{"n":-9223372036854775808,"l":[1,2]}"#,
        &[],
    );
    for expression in ["body.l[::body.n]", "range(10, 0, body.n) | length"] {
        let compiled = Expression::compile(expression).expect("it is an expression");
        // Whether it panics depends on how the engine is built; that it comes back does not.
        let _ = compiled.json(&event);
    }
}

#[test]
fn regular_expressions_give_their_groups() {
    for (expression, expected) in [
        (
            "profile | regex_search('job/([0-9]+)/(r..)')",
            r#"["20","ret"]"#,
        ),
        ("profile | regex_search('job')", r#"["job"]"#),
        ("profile | regex_match('job')", "null"),
        (
            "profile | regex_match('SALT/(j)?', ignorecase=true)",
            r#"["j"]"#,
        ),
        ("profile | regex_search('(x)|(job)')", r#"[null,"job"]"#),
        (
            "profile | regex_replace('([0-9])([0-9])', '\\\\2-\\\\1 $1')",
            r#""salt/job/0-2 $1/ret/web1""#,
        ),
    ] {
        assert_eq!(json(expression), expected, "{expression}");
    }
}

#[test]
fn letters_of_all_scripts_do_not_make_a_pattern_too_large() {
    let groups = r"^(\\w+) (\\w+) (\\w+) (\\w+) (\\w+)$";
    assert_eq!(
        json(&format!("'a ü 漢 d e' | regex_search('{groups}') | length")),
        "5"
    );
}

#[test]
fn an_evaluation_takes_the_same_steps_every_time() {
    // What is compiled the first time costs the same the second time; one more item would be too much.
    let words =
        |count: usize| format!("('x' * {count}) | regex_search('(?:x?){{200}}(?:x*y){{50}}')");
    let fits = |count: usize| {
        Expression::compile(&words(count)).is_ok_and(|it| it.json(&sample()).is_ok())
    };
    let most = (1..200_000)
        .collect::<Vec<_>>()
        .partition_point(|count| fits(*count));
    let expression = Expression::compile(&words(most)).expect("it is an expression");
    let on_a_new_thread = std::thread::spawn(move || expression.json(&sample()));
    let given = on_a_new_thread.join().expect("it does not panic");
    assert_eq!(given.as_deref(), Ok("null"), "{most}");
}

#[test]
fn what_has_no_value_is_a_fault_that_shows_no_value() {
    for (expression, expected) in [
        (
            "tags.x",
            "undefined name `tags.x`; use the filter `default`, or the test `is defined`",
        ),
        (
            "message.x.y",
            "undefined value; use the filter `default`, or the test `is defined`",
        ),
        (
            "parts[9] | upper",
            "undefined value; use the filter `default`, or the test `is defined`",
        ),
        (
            "message.id + 1",
            "it cannot be evaluated (invalid operation); check types and arguments, and that every name has a value",
        ),
        (
            "message.id | flatten",
            "found text for flatten, expected a mapping",
        ),
        (
            "time | strftime('%!')",
            "strftime: found a format that it does not know; check its letters after %",
        ),
        (
            "profile | strftime('%Y')",
            "strftime: expected seconds since the Unix epoch",
        ),
        (
            "profile | regex_search('(')",
            "found a regular expression that cannot be read; look-around and references to groups are not supported",
        ),
        (
            "[undefined_name_is_known_at_once | default(1)]",
            "line 1, column 2: unknown name `undefined_name_is_known_at_once`, expected one of: body, env, host, id, message, parts, profile, run_name, tag, tags, time",
        ),
        (
            "profil",
            "line 1, column 1: unknown name `profil`, expected one of: body, env, host, id, message, parts, profile, run_name, tag, tags, time; did you mean `profile`?",
        ),
        (
            "profile\n | topc",
            "line 2, column 4: unknown filter `topc`; check its spelling",
        ),
        (
            "profile is not strng",
            "line 1, column 16: unknown test `strng`; check its spelling",
        ),
        (
            "profile ~",
            "line 1, column 9: found text that is not a Jinja expression (unexpected end of input, expected expression); expected one such as `tags.type` or `profile | topic`",
        ),
    ] {
        assert_eq!(json(expression), expected, "{expression}");
    }
}

#[test]
fn templates_are_text_with_values_in_it() {
    for (template, expected) in [
        ("constant", "constant"),
        ("$ {x} $$", "$ {x} $$"),
        ("$${ profile }", "${ profile }"),
        ("${ profile | topic }", "salt_job_20_ret_web1"),
        ("a-${parts[4]}-${ tags.n }.${ message.ok }", "a-web1-3.true"),
        ("${ {'a}': '}'}['a}'] }}", "}}"),
        ("${ \"\\\"}\" }", "\"}"),
    ] {
        assert_eq!(text(template).as_deref(), Ok(expected), "{template}");
    }
    for (template, fault) in [
        (
            "a\nb ${ profile",
            "line 2, column 3: `${` without a `}` that ends it; write `$${` if `${` is meant literally",
        ),
        (
            "a\nb ${ profil }",
            "line 2, column 6: unknown name `profil`, expected one of: body, env, host, id, message, parts, profile, run_name, tag, tags, time; did you mean `profile`?",
        ),
        (
            "${ message }",
            "found a mapping, expected text, a number or a boolean",
        ),
        (
            "${ none }",
            "found none, expected text, a number or a boolean",
        ),
        (
            "${ tags.x }",
            "undefined name `tags.x`; use the filter `default`, or the test `is defined`",
        ),
        (
            "${ 'x' * 1100000 }",
            "found a text of 1100000 bytes, expected at most 1048576",
        ),
    ] {
        assert_eq!(text(template), Err(fault.to_owned()), "{template}");
    }
    let place = Template::compile("é${ profil }").expect_err("a name is misspelled");
    assert!(
        matches!(
            place,
            SyntaxFault {
                line: 1,
                column: 5,
                ..
            }
        ),
        "{place}"
    );
}

#[test]
fn hostile_expressions_end_within_their_limit() {
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    let long_list = format!(
        "'{}' | list | join('{}')",
        "x".repeat(2000),
        "y".repeat(2000)
    );
    let states = "('x' * 100000) | regex_search('(?:x?){200}(?:x*y){50}')".to_owned();
    for expression in [
        "'x' * 10000000000",
        "[0] * 10000000000",
        "range(100000) | map('string') | join | length * range(100000) | sum",
        "range(99999) | batch(1) | map('list') | map('list') | list | string * 1000",
        "('x' * 1000000) ~ ('x' * 1000000) ~ ('x' * 10000000)",
        "profile | regex_replace('', 'x' * 1000000)",
        "profile | regex_search('(a{1000}){1000}')",
        "('a' * 3000000) | regex_search('(a*)*b')",
        "'%1000000000d' % 1",
        "'%1000000000d' | format(1)",
        "time | strftime('%999999999Y')",
        "'{:>1000000000}'.format(1)",
        "profile.ljust(1000000000)",
        "profile.zfill(1000000000)",
        "profile.replace('', 'x' * 1000000)",
        "profile.center(1000000000)",
        "profile | indent(1000000000)",
        "1000000 ** 1000000",
        "9 ** 9 ** 9 ** 9",
        "[1] | tojson(indent=1000000000)",
        "'{:1000000000}'.format(1)",
        "'{:.1000000000f}'.format(1.0)",
        "parts | list | shorten(0, end='x' * 1000000)",
        "[[[[1] * 1000] * 1000] * 1000] * 1000",
        "[[[[1] * 1000] * 1000] * 1000] * 1000 | tojson",
        "('x' * 100000) | regex_replace('.*[^x]|x', 'y')",
        r"range(99999) | map('string') | map('regex_search', '(\\w+)\\d(\\w+)') | list",
        &deep,
        &long_list,
        &states,
    ] {
        let begun = Instant::now();
        let compiled = match Expression::compile(expression) {
            Ok(compiled) => compiled,
            Err(refused) => {
                assert!(expression.starts_with("((("), "{expression}: {refused}");
                continue;
            }
        };
        let given = compiled.json(&sample());
        let length = given.map_or(0, |json| json.len());
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(20), "{expression} took {took:?}");
        assert!(length < 17_000_000, "{expression} gave {length} bytes");
    }
}
