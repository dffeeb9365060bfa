//! Writes a body as Python's `str` does, in one pass over its JSON text.

use std::fmt::Write as _;
use std::sync::LazyLock;

use evbus_wire::{JsonString, JsonToken, JsonTokens};
use regex::Regex;

/// The characters that `repr` escapes or counts: quotes, backslashes, and those for which `str.isprintable` is false.
/// The crate has Unicode 16; newer characters count as unprintable.
static NOTEWORTHY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"[['"\\\p{C}\p{Z}]--[ ]]"#)
        // The tests of this module compile it.
        .expect("it is a regular expression")
});

/// The result of Python's `str(json.loads(json))`.
///
/// Intended for text that the event layer has checked. For other text it returns an error or some text; it never
/// panics, and is not recursive.
///
/// A string that is the whole body has no quotes. Half a surrogate pair, which cannot be encoded there, becomes
/// U+FFFD.
///
/// # Errors
///
/// One sentence about the part that is not JSON.
pub(super) fn str_of_json(json: &[u8]) -> Result<String, String> {
    let mut tokens = JsonTokens::new(json)?;
    let mut out = String::with_capacity(json.len() + json.len() / 8 + 16);
    let mut is_first = true;
    while let Some(token) = tokens.take()? {
        match token {
            JsonToken::OpenObject => out.push('{'),
            JsonToken::CloseObject => out.push('}'),
            JsonToken::OpenArray => out.push('['),
            JsonToken::CloseArray => out.push(']'),
            JsonToken::Comma => out.push_str(", "),
            JsonToken::Colon => out.push_str(": "),
            JsonToken::Null => out.push_str("None"),
            JsonToken::Bool(true) => out.push_str("True"),
            JsonToken::Bool(false) => out.push_str("False"),
            // Integers have no limit, and there is one zero.
            JsonToken::Integer("-0") => out.push('0'),
            JsonToken::Integer(digits) => out.push_str(digits),
            JsonToken::Float(number) => out.push_str(&python_float(number.value())),
            JsonToken::String(string) => {
                let text = Text::of(string);
                if is_first {
                    return Ok(text.decoded);
                }
                text.quote(&mut out);
            }
        }
        is_first = false;
    }
    Ok(out)
}

/// A number as Python writes it: the shortest digits that read back as the same, with an exponent
/// where Python has one.
pub fn python_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let parts = scientific
        .split_once('e')
        .and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?)));
    match parts {
        Some((digits, exponent)) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        Some(_) if value.fract() == 0.0 => format!("{value}.0"),
        Some(_) => value.to_string(),
        // A number too large for Python's floats, and for ours.
        None => scientific.to_ascii_lowercase(),
    }
}

/// A JSON string, decoded.
struct Text {
    /// With U+FFFD for each lone surrogate.
    decoded: String,
    /// The positions of these, and the surrogates.
    lone: Vec<(usize, u16)>,
}

impl Text {
    fn of(string: JsonString<'_>) -> Self {
        let mut text = Self {
            decoded: String::new(),
            lone: Vec::new(),
        };
        let lone = &mut text.lone;
        string.decode(&mut text.decoded, |at, half| lone.push((at, half)));
        text
    }

    /// Writes it as `repr` does.
    fn quote(&self, out: &mut String) {
        let quote = if self.decoded.contains('\'') && !self.decoded.contains('"') {
            '"'
        } else {
            '\''
        };
        out.push(quote);
        let mut from = 0;
        for &(at, unit) in &self.lone {
            escape_into(&self.decoded[from..at], quote, out);
            let _ = write!(out, "\\u{unit:04x}");
            from = at + char::REPLACEMENT_CHARACTER.len_utf8();
        }
        escape_into(&self.decoded[from..], quote, out);
        out.push(quote);
    }
}

fn escape_into(text: &str, quote: char, out: &mut String) {
    let mut copied = 0;
    for found in NOTEWORTHY.find_iter(text) {
        out.push_str(&text[copied..found.start()]);
        copied = found.end();
        for c in found.as_str().chars() {
            // Writing to a String cannot fail.
            let _ = match (c, u32::from(c)) {
                ('\\', _) => write!(out, "\\\\"),
                ('\n', _) => write!(out, "\\n"),
                ('\r', _) => write!(out, "\\r"),
                ('\t', _) => write!(out, "\\t"),
                ('\'' | '"', _) if c == quote => write!(out, "\\{c}"),
                ('\'' | '"', _) => write!(out, "{c}"),
                (_, code @ ..0x100) => write!(out, "\\x{code:02x}"),
                (_, code @ ..0x1_0000) => write!(out, "\\u{code:04x}"),
                (_, code) => write!(out, "\\U{code:08x}"),
            };
        }
    }
    out.push_str(&text[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_python_prints() {
        for (json, expected) in [
            (r#""FINISHED""#, "FINISHED"),
            (r#"{"a":[1,2.5,null,true]}"#, "{'a': [1, 2.5, None, True]}"),
            (
                r#"["it's", "say \"x\" it's", "tab\t\\"]"#,
                r#"["it's", 'say "x" it\'s', 'tab\t\\']"#,
            ),
            (" [ ] ", "[]"),
            (
                "[1e16, 1e-5, -0.0, 1e400, -0]",
                "[1e+16, 1e-05, -0.0, inf, 0]",
            ),
            (
                r#"["\u00a0\u200b\udb40\udc01\ud800x"]"#,
                r"['\xa0\u200b\U000e0001\ud800x']",
            ),
            (r#""\ud800\ud83c\udf89""#, "\u{fffd}\u{1f389}"),
        ] {
            assert_eq!(str_of_json(json.as_bytes()).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for json in [
            &b"nul"[..],
            b"[\"a]",
            b"\"\\",
            b"[\"\\u12\"]",
            b"[\"\\u\xc3\xa9\xc3\xa9\"]",
            b"[1-2.0]",
            b"\xff",
        ] {
            assert!(str_of_json(json).is_err(), "{json:?}");
        }
    }
}
