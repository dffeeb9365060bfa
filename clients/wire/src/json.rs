//! Reads JSON text one token at a time, for writers that turn it into another form in one pass.
//!
//! This is the only lexer of JSON in the project. Its tokens are exactly those of JSON; what is above them, such as where
//! a comma may stand, is for the callers to check. Numbers keep all their digits and strings their lone
//! surrogates, which a tree of `serde_json` cannot represent.

use std::str;

use crate::MAX_DEPTH;
use crate::mapping::next_special;

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
    /// Any other number.
    Float(JsonFloat<'a>),
    /// A string.
    String(JsonString<'a>),
}

/// A number with a fraction or an exponent, as it is in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonFloat<'a>(&'a str);

impl JsonFloat<'_> {
    /// Its value; infinite if it is too large.
    pub fn value(self) -> f64 {
        float(self.0)
    }
}

/// The value of a number; infinite if it is too large.
pub(crate) fn float(number: &str) -> f64 {
    // Rust reads every number of JSON.
    number.parse().unwrap_or(f64::NAN)
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
    /// position in `out` and the surrogate.
    pub fn decode(self, out: &mut String, lone: impl FnMut(usize, u16)) {
        decode(self.raw, out, lone);
    }
}

/// As [`JsonString::decode`], of what is between the quotes of a string.
pub(crate) fn decode(raw: &str, out: &mut String, mut lone: impl FnMut(usize, u16)) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let mut after = &rest.as_bytes()[at + 1..];
        // Its escapes were valid when it became a token.
        if let Some(decoded) = unescape(&mut after) {
            out.push(decoded.unwrap_or_else(|half| {
                lone(out.len(), half);
                char::REPLACEMENT_CHARACTER
            }));
        }
        rest = &rest[rest.len() - after.len()..];
    }
    out.push_str(rest);
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

    /// The whole text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The next token; none at the end of the text.
    ///
    /// # Errors
    ///
    /// One sentence: there is no token.
    pub fn take(&mut self) -> Result<Option<JsonToken<'a>>, String> {
        let kind = self.step().map_err(|expected| self.fault(expected))?;
        let text = self.lexeme(kind);
        Ok(Some(match kind {
            JsonKind::End => return Ok(None),
            JsonKind::OpenObject => JsonToken::OpenObject,
            JsonKind::CloseObject => JsonToken::CloseObject,
            JsonKind::OpenArray => JsonToken::OpenArray,
            JsonKind::CloseArray => JsonToken::CloseArray,
            JsonKind::Comma => JsonToken::Comma,
            JsonKind::Colon => JsonToken::Colon,
            JsonKind::Null => JsonToken::Null,
            JsonKind::True => JsonToken::Bool(true),
            JsonKind::False => JsonToken::Bool(false),
            JsonKind::Integer => JsonToken::Integer(text),
            JsonKind::Float => JsonToken::Float(JsonFloat(text)),
            JsonKind::String => JsonToken::String(JsonString {
                raw: text,
                escaped: false,
            }),
            JsonKind::Escaped => JsonToken::String(JsonString {
                raw: text,
                escaped: true,
            }),
        }))
    }

    /// Goes on to the next token, of which [`lexeme`](Self::lexeme) gives the text: a token that is returned in
    /// one piece is copied by pieces, for which the processor waits.
    pub(crate) fn step(&mut self) -> Result<JsonKind, Expected> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.start = self.at;
        let Some(first) = bytes.get(self.at) else {
            return Ok(JsonKind::End);
        };
        let kind = match first {
            b'{' => JsonKind::OpenObject,
            b'}' => JsonKind::CloseObject,
            b'[' => JsonKind::OpenArray,
            b']' => JsonKind::CloseArray,
            b',' => JsonKind::Comma,
            b':' => JsonKind::Colon,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => return self.number(),
            _ => {
                let rest = &bytes[self.at..];
                let literal = LITERALS.iter().find(|(word, _)| rest.starts_with(word));
                let (word, kind) = literal.ok_or(Expected::Value)?;
                self.at += word.len();
                return Ok(*kind);
            }
        };
        self.at += 1;
        Ok(kind)
    }

    /// The text of the last token, which was of this kind; of a string what is between its quotes.
    #[inline]
    pub(crate) fn lexeme(&self, kind: JsonKind) -> &'a str {
        match kind {
            JsonKind::String | JsonKind::Escaped => &self.text[self.start + 1..self.at - 1],
            _ => &self.text[self.start..self.at],
        }
    }

    /// One sentence about what is not where the last token begins.
    #[cold]
    pub(crate) fn fault(&self, expected: Expected) -> String {
        let expected = match expected {
            Expected::Value => "a value",
            Expected::Number => "a number",
            Expected::ClosingQuote => "the string's closing quote",
            Expected::ValidEscapes => "a string with valid escapes",
            Expected::NoControlCharacters => "a string without control characters",
            Expected::CommaOrBracket => "a comma or a closing bracket",
            Expected::Key => "a key in double quotes",
            Expected::Colon => "a colon",
            Expected::End => "the end",
            Expected::FewerLevels => {
                return format!("it is nested more than {MAX_DEPTH} levels deep");
            }
        };
        format!("it is not JSON: expected {expected} at byte {}", self.start)
    }

    fn number(&mut self) -> Result<JsonKind, Expected> {
        let rest = &self.text.as_bytes()[self.at..];
        let digits = |from: usize| {
            let after = rest.get(from..).unwrap_or_default();
            let count = after.iter().take_while(|byte| byte.is_ascii_digit());
            from + count.count()
        };
        let begin = usize::from(rest.first() == Some(&b'-'));
        let integer = match rest.get(begin) {
            Some(b'0') => begin + 1,
            _ => digits(begin),
        };
        let mut end = integer;
        let mut is_whole = end > begin;
        if rest.get(end) == Some(&b'.') {
            let from = end + 1;
            end = digits(from);
            is_whole &= end > from;
        }
        if let Some(b'e' | b'E') = rest.get(end) {
            let sign = matches!(rest.get(end + 1), Some(b'+' | b'-'));
            let from = end + 1 + usize::from(sign);
            end = digits(from);
            is_whole &= end > from;
        }
        // No two numbers follow each other without anything between them.
        let goes_on = matches!(
            rest.get(end),
            Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
        );
        if !is_whole || goes_on {
            return Err(Expected::Number);
        }
        self.at += end;
        Ok(if end == integer {
            JsonKind::Integer
        } else {
            JsonKind::Float
        })
    }

    #[inline]
    fn string(&mut self) -> Result<JsonKind, Expected> {
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        let mut kind = JsonKind::String;
        loop {
            end = next_special(bytes, end).ok_or(Expected::ClosingQuote)?;
            match bytes[end] {
                b'"' => break,
                b'\\' => {
                    let mut after = &bytes[end + 1..];
                    if unescape(&mut after).is_none() {
                        return Err(Expected::ValidEscapes);
                    }
                    end = bytes.len() - after.len();
                    kind = JsonKind::Escaped;
                }
                _ => return Err(Expected::NoControlCharacters),
            }
        }
        self.at = end + 1;
        Ok(kind)
    }
}

/// A token of JSON without what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonKind {
    OpenObject,
    CloseObject,
    OpenArray,
    CloseArray,
    Comma,
    Colon,
    Null,
    True,
    False,
    /// A number without fraction and exponent.
    Integer,
    /// Any other number.
    Float,
    /// A string without escapes.
    String,
    /// A string with escapes.
    Escaped,
    /// There is no further token.
    End,
}

/// What should be where a text turns out not to be JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Value,
    Number,
    ClosingQuote,
    ValidEscapes,
    NoControlCharacters,
    CommaOrBracket,
    Key,
    Colon,
    End,
    /// Not so many containers in each other.
    FewerLevels,
}

const LITERALS: [(&[u8], JsonKind); 3] = [
    (b"null", JsonKind::Null),
    (b"true", JsonKind::True),
    (b"false", JsonKind::False),
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
                "{:-12345678901234567890}",
                Ok("OpenObject Colon Integer(\"-12345678901234567890\") CloseObject"),
            ),
            (
                "1.5 -1e400",
                Ok("Float(JsonFloat(\"1.5\")) Float(JsonFloat(\"-1e400\"))"),
            ),
            (
                r#""ä\"""#,
                Ok(r#"String(JsonString { raw: "ä\\\"", escaped: true })"#),
            ),
            ("1 nul", Err("it is not JSON: expected a value at byte 2")),
            ("1 -", Err("it is not JSON: expected a number at byte 2")),
            ("01", Err("it is not JSON: expected a number at byte 0")),
            ("1.", Err("it is not JSON: expected a number at byte 0")),
            ("1.e5", Err("it is not JSON: expected a number at byte 0")),
            ("-1e+", Err("it is not JSON: expected a number at byte 0")),
            (
                "\"\n\"",
                Err("it is not JSON: expected a string without control characters at byte 0"),
            ),
            (
                "\"a",
                Err("it is not JSON: expected the string's closing quote at byte 0"),
            ),
            (
                r#""\ud8x0""#,
                Err("it is not JSON: expected a string with valid escapes at byte 0"),
            ),
            (
                r#""\"#,
                Err("it is not JSON: expected a string with valid escapes at byte 0"),
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
