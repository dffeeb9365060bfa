//! The render pipe: what templates render to, and how they fail.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{AcctSource, RenderPipe};

/// A directory with an acct file and something to include.
fn directory(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir_all(inner.join("deep")).unwrap();
    fs::write(dir.path().join("outside.yml"), "o: 1").unwrap();
    fs::write(inner.join("acct.yml"), text).unwrap();
    fs::write(inner.join("deep/part.yml"), "in: {{ 6 * 7 }}\n").unwrap();
    fs::write(inner.join("broken.yml"), "a: 1\nb: {{ missing.name }}\n").unwrap();
    std::os::unix::fs::symlink("../outside.yml", inner.join("link.yml")).unwrap();
    dir
}

fn read(text: &str, pipe: &str) -> Result<Value, String> {
    let dir = directory(text);
    let inner = dir.path().join("inner");
    AcctSource::new(inner.join("acct.yml"))
        .render_pipe(pipe.parse().unwrap())
        .document()
        .map(|document| serde_json::from_slice(&document.to_json().unwrap()).unwrap())
        .map_err(|errors| {
            let base = format!("{}/", inner.display());
            errors[0].to_string().replace(&base, "")
        })
}

#[track_caller]
fn check(text: &str, expected: &Value) {
    assert_eq!(read(text, "jinja|yaml").as_ref(), Ok(expected), "{text}");
}

#[track_caller]
fn check_fault(text: &str, pipe: &str, expected: &str) {
    assert_eq!(read(text, pipe), Err(expected.to_owned()), "{text}");
}

#[test]
fn templates_come_to_what_jinja2_makes_of_them() {
    check(
        "a: {{ True }}\nb: {{ None }}\nc: {{ {'x': 1, 'n': none} }}",
        &json!({"a": true, "b": "None", "c": {"x": 1, "n": "None"}}),
    );
    check(
        "{%- do range(1) %}{% set ns = namespace(n=0) %}{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{% set ns.n = ns.n + i %}{% endfor %}a: {{ ns.n }}",
        &json!({"a": 3}),
    );
    check(
        "a: {{ 'abc' | b64encode }}\nb: {{ 'YWJj' | b64decode }}\nc: {{ params }}",
        &json!({"a": "YWJj", "b": "abc", "c": {}}),
    );
    check(
        "a: {{ 'x-y'.upper().split('-') | join('+') }}\nb: {{ x | default('d') }}",
        &json!({"a": "X+Y", "b": "d"}),
    );
    check(
        "{% macro m(n) %}{{ n }}: {{ n * 2 }}{% endmacro %}{{ m(3) }}",
        &json!({"3": 6}),
    );
    check(
        "{% include 'deep/part.yml' %}\nmore: {% include 'none' ignore missing %}",
        &json!({"in": 42, "more": null}),
    );
    check(
        "{% raw %}a: '{{ b }}'{% endraw %}",
        &json!({"a": "{{ b }}"}),
    );
    check(
        "a: {{ [1, 'it\\'s', 2.0, (1,)] | list | length }}",
        &json!({"a": 4}),
    );
}

#[test]
fn a_template_sees_the_environment_but_not_the_key() {
    check(
        "a: {{ env.CARGO_PKG_NAME }}\nb: {{ env('CARGO_PKG_NAME') }}\nc: {{ env('EVBUS_NONE', 'd') }}\nd: {{ env.ACCT_KEY is defined }}",
        &json!({"a": "evbus-acct", "b": "evbus-acct", "c": "d", "d": false}),
    );
    check_fault(
        "a: 1\nb: {{ env.EVBUS_NONE }}\n",
        "jinja|yaml",
        "acct.yml:2:7: undefined name `env.EVBUS_NONE`; set it in the template, use the filter `default`, or read an environment variable with `env`",
    );
}

#[test]
fn a_text_loses_its_last_line_end_only_as_a_template() {
    let text = "a: |\n  t\n";
    check(text, &json!({"a": "t"}));
    assert_eq!(read(text, "yaml"), Ok(json!({"a": "t\n"})));
    assert_eq!(
        read("a: 1\r\nb: '2'\r\n", "yaml"),
        Ok(json!({"a": 1, "b": "2"}))
    );
}

#[test]
fn the_pipe_is_the_named_one_or_that_of_the_first_line() {
    assert_eq!(read("a: '{{ b }}'", "yaml"), Ok(json!({"a": "{{ b }}"})));
    assert_eq!(
        read("#!yaml\na: '{{ b }}'", "jinja|yaml"),
        Ok(json!({"a": "{{ b }}"}))
    );
    assert_eq!(
        read("#! jinja | json\n{\"a\": {{ 1 + 1 }}}", "yaml"),
        Ok(json!({"a": 2}))
    );
    assert_eq!(
        read(
            "{\"a\": [1e5, -0.5, 18446744073709551615, \"\\ud83d\\ude00\", null, true]}",
            "json"
        ),
        Ok(json!({"a": [1e5, -0.5, 18_446_744_073_709_551_615_u64, "\u{1f600}", null, true]}))
    );
    check_fault(
        "#!toml\na = 1\n",
        "yaml",
        "acct.yml:1:1: unknown render pipe in the first line, expected jinja|yaml, yaml, jinja|json or json; correct or remove the line",
    );
    for wrong in [
        "",
        "jinja",
        "yaml|jinja",
        "toml",
        "jinja|jinja|jinja|jinja|jinja|jinja|jinja|jinja|jinja|yaml",
    ] {
        assert!(wrong.parse::<RenderPipe>().is_err(), "{wrong}");
    }
    assert_eq!(
        "jinja | json".parse::<RenderPipe>().unwrap().to_string(),
        "jinja|json"
    );
}

#[test]
fn faults_of_a_template_say_where_and_what() {
    let mut wrong = Vec::new();
    for (text, expected) in [
        (
            "a: 1\nb: {{ b.c }}\n",
            "acct.yml:2:7: undefined name `b.c`; set it in the template, use the filter `default`, or read an environment variable with `env`",
        ),
        (
            "b: {{ hub.OPT }}",
            "acct.yml:1:7: found the name `hub`, which exists only in Idem; remove it from the template",
        ),
        (
            "a: {% if %}",
            "acct.yml:1:10: found text that is not a Jinja template (unexpected end of block); put {% raw %} and {% endraw %} around text that is not to be rendered, or use the render pipe yaml",
        ),
        (
            "a: {{ 1 | vault }}",
            "acct.yml:1:11: found a name that is not a filter, test or function of Jinja2 (filter vault is unknown); check its spelling",
        ),
        (
            "a: {{ 'hunter2' + 1 }}",
            "acct.yml:1:7: found an expression that cannot be evaluated (invalid operation); check types and arguments",
        ),
        (
            "{% for i in range(999999999) %}{% endfor %}",
            "acct.yml:1:13: found a range of more than 100000 numbers; check its bounds",
        ),
        (
            "a: 1\n{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "the template does not end or produces too much: more than 1000000 steps or 64 MiB of data; check its loops and ranges",
        ),
        (
            "{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}",
            "macros or includes call each other more than 100 levels deep; check where they end",
        ),
        ("a: {{ 'x' * 999999999999 }}", "check"),
        (
            "{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}a: {{ ns.x }}",
            "the template does not end or produces too much",
        ),
        (
            "a: {% set s = 'y' * 4000 %}{% for i in range(5000) %}{{ s }}{% endfor %}",
            "the template renders to more than 16 MiB; check its loops and ranges",
        ),
        (
            "a: {{ '*' | b64decode }}",
            "found a value that b64decode cannot decode, expected base64 text; correct the value",
        ),
        (
            "{% include '../outside.yml' %}",
            "found a template outside the directory of the file that includes it, expected one in that directory or below; move it there",
        ),
        (
            "{% include '/etc/passwd' %}",
            "found a template outside the directory of the file that includes it, expected one in that directory or below; move it there",
        ),
        (
            "{% include 'link.yml' %}",
            "found a template outside the directory of the file that includes it, expected one in that directory or below; move it there",
        ),
        (
            "{% include 'gone.yml' %}",
            "expected it next to the file; check its name",
        ),
        (
            "x: 1\n{% include 'broken.yml' %}",
            "broken.yml:2:7: undefined name `missing.name`; set it in the template, use the filter `default`, or read an environment variable with `env`",
        ),
    ] {
        let got = read(text, "jinja|yaml").expect_err(text);
        if !got.contains(expected) || got.contains("hunter2") {
            wrong.push(format!("{text}\nexpected {expected}\ngot      {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_wrong_with_a_rendered_text_is_told_where_the_template_has_it() {
    // The loop turns one line into three, so the keys are further down in the result.
    let text = "{% for n in [1, 2, 3] %}\nk{{ n }}: 1\n{% endfor %}\nlast: 1\nlast: 2\n";
    check_fault(
        text,
        "jinja|yaml",
        "acct.yml:5:1: last: duplicate key, first on line 4; rename or remove one of the two",
    );
    let text = "{# a\ncomment #}\na: {{ '[' }}\n";
    let got = read(text, "jinja|yaml").expect_err(text);
    assert!(got.starts_with("acct.yml:3:"), "{got}");
    let text = "{% set n = 1 %}\nkafka:\n  idem-*:\n    evbus: {queue: {events: {{ n - 1 }}}}\n";
    let dir = directory(text);
    let acct = AcctSource::new(dir.path().join("inner/acct.yml"))
        .load()
        .unwrap();
    let fault = acct.sections()[0].entries().unwrap_err()[0].to_string();
    assert!(fault.contains("acct.yml:4:"), "{fault}");
    assert!(
        fault.contains("kafka.idem-*.evbus.queue.events: found a number"),
        "{fault}"
    );
}

#[test]
fn json_is_read_with_places_and_strictly() {
    check_fault(
        "{\"a\": 1,\n \"a\": 2}",
        "json",
        "acct.yml:2:7: a: duplicate key; rename or remove one of the two",
    );
    check_fault(
        "{\"p\": {\"x\": [{\"a\": 1, \"a\": 2}]}}",
        "json",
        "acct.yml:1:28: p.x[0].a: duplicate key; rename or remove one of the two",
    );
    check_fault(
        "{\"a\": tru}",
        "json",
        "acct.yml:1:10: found text that is not JSON (expected ident), expected a JSON object; check quotes, commas and brackets",
    );
    let deep = "[".repeat(200) + &"]".repeat(200);
    check_fault(
        &deep,
        "json",
        "acct.yml:1:102: found values nested more than 100 levels deep, expected fewer; check brackets",
    );
    let dir = directory("{\"kafka\": {\"i\":\n  {\"evbus\": {\"ordered\": 3}}}}");
    let acct = AcctSource::new(dir.path().join("inner/acct.yml"))
        .render_pipe(RenderPipe::json())
        .load()
        .unwrap();
    let fault = acct.sections()[0].entries().unwrap_err()[0].to_string();
    assert!(
        fault.contains("acct.yml:2:25: kafka.i.evbus.ordered: found a number"),
        "{fault}"
    );
}

#[test]
fn a_yaml_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let inner = vec![format!("*a{}", n - 1); 9].join(", ");
        text = format!("{text}a{n}: &a{n} [{inner}]\n");
    }
    let got = read(&text, "jinja|yaml").expect_err("it is a bomb");
    assert!(
        got.contains("the aliases expand to more than 64 MiB"),
        "{got}"
    );
}
