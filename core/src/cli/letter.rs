//! A dead letter as JSON, with its body.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use evbus::store::deadletters::DeadLetter;
use serde::Serialize;
use serde_json::value::RawValue;

/// The output of `evbus deadletters show`.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    #[serde(flatten)]
    letter: &'a DeadLetter,
    #[serde(flatten)]
    body: Body<'a>,
}

/// One key and its value.
#[derive(Serialize)]
enum Body<'a> {
    #[serde(rename = "body")]
    Json(Box<RawValue>),
    #[serde(rename = "body")]
    Text(&'a str),
    #[serde(rename = "body_base64")]
    Bytes(String),
}

impl<'a> Shown<'a> {
    pub(super) fn new(letter: &'a DeadLetter) -> Self {
        Self {
            letter,
            body: Body::new(&letter.content_type, &letter.body),
        }
    }
}

impl<'a> Body<'a> {
    fn new(content_type: &str, body: &'a [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(body) else {
            return Self::Bytes(BASE64_STANDARD.encode(body));
        };
        (content_type == "application/json")
            .then(|| on_one_line(text))
            .flatten()
            .map_or(Self::Text(text), Self::Json)
    }
}

/// JSON as it was written, number for number, on one line.
fn on_one_line(text: &str) -> Option<Box<RawValue>> {
    // Strings have no raw line ends, so these are all between the values.
    RawValue::from_string(text.replace(['\n', '\r'], " ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_text_or_base64() {
        for (content_type, body, expected) in [
            (
                "application/json",
                &b"{\n\"n\": 1234567890123456789012345678901234567890.10}"[..],
                r#"{"body":{ "n": 1234567890123456789012345678901234567890.10}}"#,
            ),
            ("application/json", b"{cut", r#"{"body":"{cut"}"#),
            ("text/plain", b"12\n", r#"{"body":"12\n"}"#),
            (
                "application/msgpack",
                b"\x81\xff",
                r#"{"body_base64":"gf8="}"#,
            ),
        ] {
            let json = serde_json::to_string(&Body::new(content_type, body));
            assert_eq!(json.expect("it is JSON"), expected);
        }
    }
}
