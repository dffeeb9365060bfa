//! What Python's `str` makes of a body, in one pass over its JSON text.

use std::fmt::Write as _;
use std::sync::LazyLock;

use evbus_wire::unescape;
use regex::Regex;

/// What `repr` of a text looks at: quotes, backslashes, and what `str.isprintable` denies. The
/// version of Unicode is the crate's, 16; a character that is newer is taken for unprintable.
static NOTEWORTHY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"[['"\\\p{C}\p{Z}]--[ ]]"#)
        // A test of this module compiles it.
        .expect("it is a regular expression")
});

/// What Python's `str` makes of the value that `json.loads` makes of `json`.
///
/// Made for text that the event layer has checked: other text gives an error or some text, and
/// never a panic. Does not recurse.
///
/// A text that is the whole body stands without quotes. Half a surrogate pair, which cannot be
/// encoded there, becomes U+FFFD.
///
/// # Errors
///
/// One sentence about what is not JSON.
pub(super) fn str_of_json(json: &[u8]) -> Result<String, String> {
    let json = std::str::from_utf8(json)
        .map_err(|error| format!("it is not UTF-8 after byte {}", error.valid_up_to()))?;
    let mut rest = json.trim_start_matches([' ', '\t', '\r', '\n']);
    let mut out = String::with_capacity(rest.len() + rest.len() / 8 + 16);
    if rest.starts_with('"') {
        return Text::take(&mut rest).map(|text| text.decoded);
    }
    while let Some(first) = rest.bytes().next() {
        match first {
            b'"' => Text::take(&mut rest)?.quote(&mut out),
            b'-' | b'0'..=b'9' => number(&mut rest, &mut out)?,
            _ => {
                let (token, written) = TOKENS
                    .iter()
                    .find(|(token, _)| rest.starts_with(token))
                    .ok_or_else(|| format!("it is not JSON: expected a value at {first:#04x}"))?;
                out.push_str(written);
                rest = &rest[token.len()..];
            }
        }
    }
    Ok(out)
}

/// JSON's tokens that are neither texts nor numbers, and what Python writes for them.
const TOKENS: [(&str, &str); 13] = [
    (",", ", "),
    (":", ": "),
    ("{", "{"),
    ("}", "}"),
    ("[", "["),
    ("]", "]"),
    ("null", "None"),
    ("true", "True"),
    ("false", "False"),
    (" ", ""),
    ("\n", ""),
    ("\t", ""),
    ("\r", ""),
];

fn number(rest: &mut &str, out: &mut String) -> Result<(), String> {
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c)))
        .unwrap_or(rest.len());
    let text = &rest[..end];
    *rest = &rest[end..];
    if text.contains(['.', 'e', 'E']) {
        let value = text
            .parse()
            .map_err(|_| "it is not JSON: expected a number".to_owned())?;
        out.push_str(&python_float(value));
    } else {
        // Integers have no limit, and there is one zero.
        out.push_str(if text == "-0" { "0" } else { text });
    }
    Ok(())
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

/// A JSON text.
struct Text {
    /// With U+FFFD for each lone surrogate.
    decoded: String,
    /// Where these are, and what they were.
    lone: Vec<(usize, u16)>,
}

impl Text {
    /// Takes a text, from its opening quote to its closing one.
    fn take(rest: &mut &str) -> Result<Self, String> {
        let mut text = Self {
            decoded: String::new(),
            lone: Vec::new(),
        };
        let fault = || "it is not JSON: expected a closed string with valid escapes".to_owned();
        *rest = &rest[1..];
        loop {
            let end = rest.find(['"', '\\']).ok_or_else(fault)?;
            text.decoded.push_str(&rest[..end]);
            let ends = rest[end..].starts_with('"');
            *rest = &rest[end + 1..];
            if ends {
                return Ok(text);
            }
            text.escape(rest).ok_or_else(fault)?;
        }
    }

    /// Takes what follows a backslash.
    fn escape(&mut self, rest: &mut &str) -> Option<()> {
        let mut after = rest.as_bytes();
        let c = unescape(&mut after)?.unwrap_or_else(|half| {
            self.lone.push((self.decoded.len(), half));
            char::REPLACEMENT_CHARACTER
        });
        self.decoded.push(c);
        *rest = &rest[rest.len() - after.len()..];
        Some(())
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
