//! Escapes in JSON strings.

/// Takes what follows a backslash in a JSON string from the front of `rest`: the character that the
/// escape stands for, or half of a surrogate pair without its other half. `None` if it is not an
/// escape.
///
/// The part taken is ASCII.
pub fn unescape(rest: &mut &[u8]) -> Option<Result<char, u16>> {
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
