//! Reads JSON text one token at a time, for writers that turn it into another form in one pass.
//!
//! This is the only lexer of JSON in the project. It takes text that `serde_json` has accepted before; it does not
//! check the grammar above the tokens. Numbers keep all their digits and strings their lone surrogates, which
//! a tree of `serde_json` cannot represent.

use std::str;

/// A token of JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum JsonToken<'a> {
    /// `{`
    OpenObject,
    /// `}`
    CloseObject,
    /// `[`
    OpenArray,
    /// `]`
    CloseArray,
    /// `,`
    Comma,
    /// `:`
    Colon,
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without fraction and exponent, which may be longer than any integer type.
    Integer(&'a str),
    /// Any other number; infinite if it is too large.
    Float(f64),
    /// A string.
    String(JsonString<'a>),
}

/// A string, as it is between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonString<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> JsonString<'a> {
    /// The string, if it has no escapes.
    pub fn plain(self) -> Option<&'a str> {
        (!self.escaped).then_some(self.raw)
    }

    /// Appends the string to `out`, with U+FFFD for each lone surrogate. Calls `lone` for these, with the
    /// position in `out` and the surrogate. Returns whether all escapes were valid.
    pub fn decode(self, out: &mut String, mut lone: impl FnMut(usize, u16)) -> bool {
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
            out.push_str(&rest[..at]);
            let mut after = &rest.as_bytes()[at + 1..];
            let Some(decoded) = unescape(&mut after) else {
                return false;
            };
            out.push(decoded.unwrap_or_else(|half| {
                lone(out.len(), half);
                char::REPLACEMENT_CHARACTER
            }));
            rest = &rest[rest.len() - after.len()..];
        }
        out.push_str(rest);
        true
    }
}

/// The tokens of a JSON text.
#[derive(Debug)]
pub struct JsonTokens<'a> {
    text: &'a str,
    /// Where the last token begins.
    start: usize,
    /// Where the rest begins.
    at: usize,
}

impl<'a> JsonTokens<'a> {
    /// The tokens of `json`.
    ///
    /// # Errors
    ///
    /// One sentence: it is not UTF-8.
    pub fn new(json: &'a [u8]) -> Result<Self, String> {
        let text = str::from_utf8(json)
            .map_err(|error| format!("it is not UTF-8 after byte {}", error.valid_up_to()))?;
        Ok(Self {
            text,
            start: 0,
            at: 0,
        })
    }

    /// The next token; none at the end of the text.
    ///
    /// # Errors
    ///
    /// One sentence: there is no token.
    #[inline]
    pub fn take(&mut self) -> Result<Option<JsonToken<'a>>, String> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.start = self.at;
        let Some(first) = bytes.get(self.at) else {
            return Ok(None);
        };
        let (token, length) = match first {
            b'{' => (JsonToken::OpenObject, 1),
            b'}' => (JsonToken::CloseObject, 1),
            b'[' => (JsonToken::OpenArray, 1),
            b']' => (JsonToken::CloseArray, 1),
            b',' => (JsonToken::Comma, 1),
            b':' => (JsonToken::Colon, 1),
            b'"' => self.string()?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => {
                let rest = &bytes[self.at..];
                let literal = LITERALS.iter().find(|(word, _)| rest.starts_with(word));
                let (word, token) = literal.ok_or_else(|| self.fault("a value"))?;
                (*token, word.len())
            }
        };
        self.at += length;
        Ok(Some(token))
    }

    /// One sentence: `expected` is not where the last token begins.
    pub fn fault(&self, expected: &str) -> String {
        format!("it is not JSON: expected {expected} at byte {}", self.start)
    }

    fn number(&self) -> Result<(JsonToken<'a>, usize), String> {
        let rest = &self.text[self.at..];
        let length = rest
            .bytes()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let text = &rest[..length];
        let digits = text.strip_prefix('-').unwrap_or(text);
        let token = if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            JsonToken::Integer(text)
        } else {
            JsonToken::Float(text.parse().map_err(|_| self.fault("a number"))?)
        };
        Ok((token, length))
    }

    fn string(&self) -> Result<(JsonToken<'a>, usize), String> {
        let bytes = self.text.as_bytes();
        let begin = self.at + 1;
        let mut end = begin;
        let mut escaped = false;
        loop {
            let rest = bytes.get(end..).unwrap_or_default();
            let found = memchr::memchr2(b'"', b'\\', rest)
                .ok_or_else(|| self.fault("the string's closing quote"))?;
            end += found;
            if bytes[end] == b'"' {
                break;
            }
            escaped = true;
            end += 2;
        }
        let raw = &self.text[begin..end];
        Ok((
            JsonToken::String(JsonString { raw, escaped }),
            end + 1 - self.at,
        ))
    }
}

const LITERALS: [(&[u8], JsonToken<'static>); 3] = [
    (b"null", JsonToken::Null),
    (b"true", JsonToken::Bool(true)),
    (b"false", JsonToken::Bool(false)),
];

/// Takes what follows a backslash in a string from the front of `rest`: the character that the escape
/// stands for, or half of a surrogate pair without its other half. `None` if it is not an escape.
///
/// The part taken is ASCII.
fn unescape(rest: &mut &[u8]) -> Option<Result<char, u16>> {
    let (&kind, after) = rest.split_first()?;
    *rest = after;
    Some(Ok(match kind {
        b'"' | b'\\' | b'/' => char::from(kind),
        b'b' => '\x08',
        b'f' => '\x0c',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(rest),
        _ => return None,
    }))
}

/// What follows `\u`: one code unit, or two that are a pair.
fn unicode(rest: &mut &[u8]) -> Option<Result<char, u16>> {
    let first = code_unit(rest)?;
    let mut units = [first, 0];
    let mut after = *rest;
    let mut len = 1;
    if (0xd800..0xdc00).contains(&first) && after.starts_with(b"\\u") {
        after = &after[2..];
        let second = code_unit(&mut after)?;
        if (0xdc00..0xe000).contains(&second) {
            units[1] = second;
            len = 2;
            *rest = after;
        }
    }
    let decoded = char::decode_utf16(units[..len].iter().copied()).next()?;
    Some(decoded.map_err(|error| error.unpaired_surrogate()))
}

fn code_unit(rest: &mut &[u8]) -> Option<u16> {
    let digits = rest.get(..4)?;
    *rest = &rest[4..];
    digits.iter().try_fold(0_u16, |value, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(value << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_its_tokens_and_nothing_else_is_one() {
        let tokens = |text: &str| {
            let mut tokens = JsonTokens::new(text.as_bytes()).expect("it is UTF-8");
            std::iter::from_fn(|| tokens.take().transpose())
                .map(|token| token.map(|token| format!("{token:?}")))
                .collect::<Result<Vec<_>, _>>()
                .map(|tokens| tokens.join(" "))
        };
        for (text, expected) in [
            (" ", Ok("")),
            (
                "[null,\ttrue , false]",
                Ok("OpenArray Null Comma Bool(true) Comma Bool(false) CloseArray"),
            ),
            (
                "{:-012345678901234567890}",
                Ok("OpenObject Colon Integer(\"-012345678901234567890\") CloseObject"),
            ),
            ("1.5 -1e400", Ok("Float(1.5) Float(-inf)")),
            (
                r#""ä\"""#,
                Ok(r#"String(JsonString { raw: "ä\\\"", escaped: true })"#),
            ),
            ("1 nul", Err("it is not JSON: expected a value at byte 2")),
            ("1 -", Err("it is not JSON: expected a number at byte 2")),
            (
                r#""\"#,
                Err("it is not JSON: expected the string's closing quote at byte 0"),
            ),
        ] {
            let found = tokens(text);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        }
        assert!(JsonTokens::new(b"\"\xff\"").is_err());
    }

    #[test]
    fn an_escape_is_its_character_and_what_follows_stays() {
        for (text, expected, left) in [
            ("n!", Some(Ok('\n')), "!"),
            ("\"\"", Some(Ok('"')), "\""),
            ("u00e9x", Some(Ok('é')), "x"),
            ("ud83c\\udf89x", Some(Ok('🎉')), "x"),
            ("ud83cx", Some(Err(0xd83c)), "x"),
            ("ud83c\\u0041", Some(Err(0xd83c)), "\\u0041"),
            ("udf89", Some(Err(0xdf89)), ""),
        ] {
            let mut rest = text.as_bytes();
            assert_eq!(unescape(&mut rest), expected, "{text}");
            assert_eq!(rest, left.as_bytes(), "{text}");
        }
        for text in ["", "x", "u12", "u+123", "ud83c\\u12"] {
            assert_eq!(unescape(&mut text.as_bytes()), None, "{text}");
        }
    }
}
