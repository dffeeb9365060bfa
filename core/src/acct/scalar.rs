//! What a scalar means: the YAML 1.1 rules of `PyYAML`'s `SafeLoader`, which wrote the acct files in use.
//!
//! So `yes`, `on` and `1_000` are not text here although YAML 1.2 would say so, and `1e5`, `0o17` and
//! `-.5` are text although it would not. Dates stay the text they were
//! written as, and so do the values `=` and `<<`, for which `SafeLoader` has no meaning either.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde_json::Number;
use zeroize::Zeroizing;

use super::node::{Foreign, Value};

// The expressions are PyYAML's implicit resolvers, word for word.
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

fn pattern(alternatives: &str) -> Regex {
    // Constant expressions; every test of this module compiles both.
    Regex::new(&format!("(?x)^(?:{alternatives})$")).expect("a constant expression compiles")
}

/// The value of a plain, untagged scalar.
///
/// # Errors
///
/// The message for a number without digits (`0x_`), which `PyYAML` refuses as well.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    if let "" | "~" | "null" | "Null" | "NULL" = text {
        return Ok(Value::Null);
    }
    if let Some(value) = boolean(text) {
        return Ok(Value::Bool(value));
    }
    // Cheap refusal of ordinary words, which are nearly everything.
    if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        if FLOAT.is_match(text) {
            return Ok(float(text));
        }
        if INT.is_match(text) {
            return int(text);
        }
    }
    Ok(Value::text(text))
}

/// The value of a scalar with an explicit tag: `tag` is `int` for `!!int`.
///
/// # Errors
///
/// The message for a tag `SafeLoader` does not know or whose text does not fit it.
pub(super) fn tagged(tag: &str, text: &str) -> Result<Value, String> {
    let unfit = |expected: &str| {
        Err(format!(
            "found a value tagged `!!{tag}` that is not one, expected {expected}; correct it or remove the tag"
        ))
    };
    match tag {
        "str" | "timestamp" => Ok(Value::text(text)),
        "binary" => match base64(text) {
            Some(bytes) => Ok(Value::NotJson(Foreign::Binary(bytes))),
            None => unfit("base64"),
        },
        "null" => Ok(Value::Null),
        "bool" => match boolean(text) {
            Some(value) => Ok(Value::Bool(value)),
            None => unfit("true or false"),
        },
        "int" if INT.is_match(text) => int(text),
        "int" => unfit("a whole number"),
        "float" if FLOAT.is_match(text) => Ok(float(text)),
        "float" if text.parse::<f64>().is_ok() => Ok(float(text)),
        "float" => unfit("a number"),
        _ => Err(format!(
            "found the tag `!!{tag}` on a plain value, expected none or one of !!str, !!int, !!float, !!bool, !!null; remove the tag"
        )),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Binary, hexadecimal, octal with a leading 0 behind a sign, base 60 with colons, or decimal.
fn int(text: &str) -> Result<Value, String> {
    // Idem's reader takes the leading zeros away before PyYAML could take them for a sign of octal;
    // it overlooks those behind a sign.
    let text = match text.trim_start_matches('0') {
        decimal if text.starts_with(['+', '-']) || decimal.starts_with(['b', 'x']) => text,
        "" => "0",
        decimal => decimal,
    };
    let text = text.replace('_', "");
    let (negative, digits) = unsigned(&text);
    let (digits, radix) = if let Some(digits) = digits.strip_prefix("0b") {
        (digits, 2)
    } else if let Some(digits) = digits.strip_prefix("0x") {
        (digits, 16)
    } else if digits.starts_with('0') {
        (digits, 8)
    } else {
        (digits, 10)
    };
    if digits.is_empty() {
        return Err(
            "found a number without digits, expected some after the prefix; quote it if it is text"
                .into(),
        );
    }
    // Only digits of the radix are left, so what does not fit i128 is too long, nothing else.
    let magnitude = digits.split(':').try_fold(0_i128, |sum, part| {
        let part = i128::from_str_radix(part, radix).ok()?;
        sum.checked_mul(60)?.checked_add(part)
    });
    let number = magnitude
        .map(|magnitude| if negative { -magnitude } else { magnitude })
        .and_then(Number::from_i128);
    Ok(number.map_or(Value::NotJson(Foreign::TooBig), Value::Number))
}

fn float(text: &str) -> Value {
    let text = text.replace('_', "").to_ascii_lowercase();
    let (negative, digits) = unsigned(&text);
    // Base 60 where there are colons; `.inf` and `.nan` do not parse and are not finite either.
    let magnitude = digits.split(':').try_fold(0.0, |sum: f64, part| {
        part.parse::<f64>().ok().map(|part| sum * 60.0 + part)
    });
    let magnitude = magnitude.unwrap_or(match digits {
        ".inf" => f64::INFINITY,
        _ => f64::NAN,
    });
    finite(if negative { -magnitude } else { magnitude })
}

/// The value of a floating point number.
pub(super) fn finite(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::NotJson(Foreign::NotFinite(number)), Value::Number)
}

fn base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text: Zeroizing<String> = Zeroizing::new(text.split_whitespace().collect());
    STANDARD.decode(text.as_bytes()).ok().map(Zeroizing::new)
}

/// Splits a sign off: whether it is a minus, and the rest.
fn unsigned(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}
