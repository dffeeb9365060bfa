//! Expressions and templates about an event: whatever an operator writes, and whatever an event holds.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use evbus_expression::{
    Expression, MAX_JSON, MAX_TEXT, Sample, SyntaxFault, Template, is_template,
};

use crate::same::{depth, is_json};

/// Long enough for a busy machine and a build with instrumentation; the limits allow some hundredths of a second.
const LIMIT: Duration = Duration::from_secs(10);

/// In every text of the samples, and in no word of a message.
const MARKER: &str = "zqxj";

/// The longest message, in bytes, beside what it repeats of the expression.
const MAX_MESSAGE: usize = 400;

/// Bodies, of each kind that expressions treat in its own way.
const BODIES: [&str; 4] = [
    r#"{"id":"zqxj-1","success":true,"retcode":2,"fun":"zqxj.apply","fun_args":["zqxj","a=b"],"return":{"zqxj_|-a":{"result":false,"duration":1.5,"comment":"zqxj"}}}"#,
    r#"{"tags":{"type":"zqxj","n":3},"message":{"id":"zqxj-2","list":[1,"zqxj",{"password":"zqxj"}],"none":null,"text":"zqxj äöü 漢字 🎉\nzqxj\r\n"},"run_name":"zqxj"}"#,
    r#"{"empty":"","list":[],"map":{},"big":18446744073709551615,"huge":1e300,"tiny":-5e-324,"zqxj":{"zqxj":[[["zqxj"]]]},"0":0}"#,
    r#""zqxj {} %s ${ zqxj }""#,
];

static SAMPLES: LazyLock<[Sample; 4]> = LazyLock::new(|| {
    BODIES.map(|body| {
        let tags = [("type", "zqxj"), ("zqxj", "x")];
        Sample::new(
            [7; 16],
            1_764_547_200_123_456_789,
            "salt/job/zqxj/ret/äzqxj",
            body.as_bytes(),
            &tags,
        )
    })
});

/// Checks one input: the first byte chooses the event, and whether the text after it is an expression or a template.
///
/// # Panics
///
/// Compiling or evaluating it breaks a promise.
pub fn check(input: &[u8]) {
    let Some((choice, text)) = input.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    if repeats(text) {
        return;
    }
    let begun = Instant::now();
    let sample = &SAMPLES[usize::from(choice / 2) % SAMPLES.len()];
    if choice % 2 == 0 {
        check_template(text, sample);
    } else {
        check_expression(text, sample);
    }
    let took = begun.elapsed();
    assert!(took < LIMIT, "it took {took:?}");
}

/// Whether something may be repeated: the engine does not count the items of a list times a number, so `[0] * 100000000`
/// takes seconds. docs/EXPRESSIONS.md says so.
fn repeats(text: &str) -> bool {
    text.replace("**", "").contains('*')
}

fn check_template(source: &str, sample: &Sample) {
    let template = match Template::compile(source) {
        Ok(template) => template,
        Err(fault) => return check_syntax_fault(source, &fault),
    };
    let text = template.text(sample);
    assert_eq!(template.text(sample), text, "the second time");
    match &text {
        Ok(text) => assert!(
            text.len() <= MAX_TEXT + source.len(),
            "{} bytes",
            text.len()
        ),
        Err(fault) => check_message(source, &fault.to_string()),
    }
    if let Some(constant) = template.constant() {
        assert_eq!(text.as_deref(), Ok(constant));
        // What has no value of an event in it has `${` only where two signs stand for one.
        assert_eq!(constant, source.replace("$${", "${"));
        assert_eq!(is_template(constant), is_template(source));
    }
    assert!(source.contains(template.prefix()) || source.contains("$${"));
}

fn check_expression(source: &str, sample: &Sample) {
    let expression = match Expression::compile(source) {
        Ok(expression) => expression,
        Err(fault) => return check_syntax_fault(source, &fault),
    };
    let json = expression.json(sample);
    assert_eq!(expression.json(sample), json, "the second time");
    match &json {
        Ok(json) => {
            assert!(json.len() <= 2 * MAX_JSON, "{} bytes", json.len());
            let is_shallow = depth(json.as_bytes()) <= evbus_wire::MAX_DEPTH;
            assert!(!is_shallow || is_json(json.as_bytes()), "{}", json);
        }
        Err(fault) => check_message(source, &fault.to_string()),
    }
    let is_true = expression.is_true(sample);
    assert_eq!(expression.is_true(sample), is_true, "the second time");
    if let Err(fault) = is_true {
        check_message(source, &fault.to_string());
    }
}

fn check_syntax_fault(source: &str, fault: &SyntaxFault) {
    check_message(source, &fault.message);
    let line = source.split('\n').nth(fault.line - 1);
    let line = line.expect("it is a line of the text");
    assert!(
        fault.column <= line.chars().count() + 1,
        "{fault} of {line:?}"
    );
}

/// A message is one line, and has no value of the event.
fn check_message(source: &str, message: &str) {
    assert!(!message.contains(['\n', '\r']), "{message:?}");
    assert!(message.len() <= MAX_MESSAGE + source.len(), "{message}");
    if !source.to_lowercase().contains(MARKER) {
        assert!(!message.to_lowercase().contains(MARKER), "{message}");
    }
}
