//! What a scalar means: the YAML 1.1 rules of `PyYAML`'s `SafeLoader`, which wrote the acct files in use.
//!
//! So `yes`, `on` and `1_000` are not text here although YAML 1.2 would say so, and `1e5`, `0o17` and
//! `-.5` are text although it would not. Dates stay the text they were
//! written as, and so do the values `=` and `<<`, for which `SafeLoader` has no meaning either.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use regex::Regex;
use serde_json::Number;
use zeroize::Zeroizing;

use super::node::{Foreign, Value};

// The expressions are PyYAML's implicit resolvers, verbatim.
static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?
        |\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?
        |[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN)",
    )
});
static INT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"[-+]?0b[0-1_]+
        |[-+]?0[0-7_]+
        |[-+]?(?:0|[1-9][0-9_]*)
        |[-+]?0x[0-9a-fA-F_]+
        |[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+",
    )
});

/// Without padding, which is checked separately, and with bits after the last byte, which Python ignores.
const STANDARD_LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn pattern(alternatives: &str) -> Regex {
    // The expressions are constant; the tests of this module compile them all.
    Regex::new(&format!("(?x)^(?:{alternatives})$")).expect("a constant expression compiles")
}

/// The value of a plain, untagged scalar.
///
/// # Errors
///
/// The message for a number without digits (`0x_`), which `PyYAML` refuses as well.
pub(crate) fn plain(text: &str) -> Result<Value, String> {
    // In Python, `$` also matches before a final line break. Plain text has none, but the tag `!` makes any text
    // plain.
    let line = text.strip_suffix('\n').unwrap_or(text);
    if let "" | "~" | "null" | "Null" | "NULL" = line {
        return Ok(Value::Null);
    }
    if is_boolean(line) {
        return boolean(text).map(Value::Bool).ok_or_else(|| {
            "found a boolean followed by a line end, expected only the boolean; quote it if it is text"
                .to_owned()
        });
    }
    // Skips the expressions for ordinary words, which are the most frequent.
    if line.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        let without_digits = || {
            "found a number without digits, expected digits after the prefix; quote it if it is text"
                .to_owned()
        };
        if FLOAT.is_match(line) {
            return float(text).ok_or_else(without_digits);
        }
        if INT.is_match(line) {
            return int(text).ok_or_else(without_digits);
        }
    }
    Ok(Value::text(text))
}

/// The value of a scalar with an explicit tag: `tag` is `int` for `!!int`.
///
/// # Errors
///
/// The message for a tag `SafeLoader` does not know or whose text does not fit it.
pub(crate) fn tagged(tag: &str, text: &str) -> Result<Value, String> {
    let (value, expected) = match tag {
        "str" | "timestamp" | "python/unicode" => return Ok(Value::text(text)),
        "null" => return Ok(Value::Null),
        "binary" => (
            base64(text).map(|bytes| Value::NotJson(Foreign::Binary(bytes))),
            "base64",
        ),
        "bool" => (boolean(text).map(Value::Bool), "true or false"),
        "int" => (int(text), "a whole number"),
        "float" => (float(text), "a number"),
        "seq" | "map" | "omap" | "pairs" | "set" => {
            return Err(format!(
                "found the tag `!!{tag}` on a plain value, expected no tag or one of !!str, !!int, !!float, !!bool, !!null; remove the tag"
            ));
        }
        // The message does not repeat the tag: it may be a password that begins with `!`.
        _ => return Err(super::syntax::unknown_tag()),
    };
    value.ok_or_else(|| {
        format!(
            "found a value that does not fit its tag `!!{tag}`, expected {expected}; correct it or remove the tag"
        )
    })
}

/// The words that are booleans without a tag.
fn is_boolean(text: &str) -> bool {
    matches!(
        text,
        "yes"
            | "Yes"
            | "YES"
            | "true"
            | "True"
            | "TRUE"
            | "on"
            | "On"
            | "ON"
            | "no"
            | "No"
            | "NO"
            | "false"
            | "False"
            | "FALSE"
            | "off"
            | "Off"
            | "OFF"
    )
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// Binary, hexadecimal, octal with a leading 0 after a sign, base 60 with colons, or decimal: the result of
/// `construct_yaml_int`.
fn int(text: &str) -> Option<Value> {
    let written = text;
    // Idem's reader removes leading zeros, so that PyYAML does not read octal, but not zeros after a sign.
    let text = match text.trim_start_matches('0') {
        "" if !text.is_empty() => "0",
        decimal if !text.starts_with("0b") && !text.starts_with("0x") => decimal,
        _ => text,
    };
    let text = text.replace('_', "");
    let (negative, digits) = unsigned(&text);
    let magnitude = if let Some(digits) = digits.strip_prefix("0b") {
        whole(digits, 2)
    } else if let Some(digits) = digits.strip_prefix("0x") {
        whole(digits, 16)
    } else if digits != "0" && digits.starts_with('0') {
        whole(digits, 8)
    } else {
        base60(digits)
    };
    let number = match magnitude? {
        Whole::Small(magnitude) => Number::from_i128(if negative { -magnitude } else { magnitude }),
        Whole::Big => None,
    };
    Some(number.map_or_else(
        || Value::NotJson(Foreign::TooBig(Zeroizing::new(written.to_owned()))),
        Value::Number,
    ))
}

enum Whole {
    Small(i128),
    /// It is too large.
    Big,
}

/// The result of Python's `int` for a text.
fn whole(text: &str, radix: u32) -> Option<Whole> {
    let (negative, digits) = unsigned(text.trim());
    let prefix = match radix {
        2 => "0b",
        8 => "0o",
        16 => "0x",
        _ => "",
    };
    let digits = match digits.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => &digits[prefix.len()..],
        _ => digits,
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    // All characters are digits of the radix, so the only possible error is overflow.
    Some(match i128::from_str_radix(digits, radix) {
        Ok(number) => Whole::Small(if negative { -number } else { number }),
        Err(_) => Whole::Big,
    })
}

fn base60(text: &str) -> Option<Whole> {
    text.split(':')
        .map(|part| whole(part, 10))
        .try_fold(Whole::Small(0), |sum, part| {
            Some(match (sum, part?) {
                (Whole::Small(sum), Whole::Small(part)) => sum
                    .checked_mul(60)
                    .and_then(|sum| sum.checked_add(part))
                    .map_or(Whole::Big, Whole::Small),
                _ => Whole::Big,
            })
        })
}

/// The result of `construct_yaml_float` for a text.
fn float(text: &str) -> Option<Value> {
    let text = text.replace('_', "").to_lowercase();
    let (negative, digits) = unsigned(&text);
    let magnitude = match digits {
        ".inf" => f64::INFINITY,
        ".nan" => f64::NAN,
        // Base 60 if there are colons, added up from the last part, as Python does.
        digits if digits.contains(':') => {
            let (mut sum, mut base) = (0.0, 1.0);
            for part in digits.rsplit(':') {
                sum += decimal(part)? * base;
                base *= 60.0;
            }
            sum
        }
        digits => decimal(digits)?,
    };
    Some(finite(if negative { -magnitude } else { magnitude }))
}

fn decimal(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// The value of a floating point number.
pub(crate) fn finite(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::NotJson(Foreign::NotFinite(number)), Value::Number)
}

/// The result of Python's `base64.decodebytes` for a text: it skips characters outside the alphabet, and stops after
/// complete padding.
fn base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if !text.is_ascii() {
        return None;
    }
    let mut digits = Zeroizing::new(Vec::with_capacity(text.len() + 3));
    let mut padding = 0;
    for byte in text.bytes() {
        if byte == b'=' {
            let place = digits.len() % 4;
            if place >= 2 {
                padding += 1;
                if place + padding >= 4 {
                    break;
                }
            }
        } else if byte.is_ascii_alphanumeric() || b"+/".contains(&byte) {
            padding = 0;
            digits.push(byte);
        }
    }
    let place = digits.len() % 4;
    if place == 1 || place > 1 && place + padding < 4 {
        return None;
    }
    STANDARD_LENIENT
        .decode(digits.as_slice())
        .ok()
        .map(Zeroizing::new)
}

/// Splits off a sign: whether it is a minus, and the rest.
fn unsigned(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}
