//! What a backslash and the characters after it mean, outside and inside `[...]`.

use super::parser::Parser;
use super::source::Source;
use super::{Assertion, Case, Category, CharSet, Node, SetItem, SyntaxError};

/// Reads the rest of an escape outside a class; `c` is the character after the backslash.
pub(super) fn parse_escape(parser: &mut Parser, c: char) -> Result<Node, SyntaxError> {
    let start = parser.source.offset() - 2;
    let ascii = parser.flags.ascii;
    let node = match c {
        'A' => Node::Assertion(Assertion::Start),
        'Z' => Node::Assertion(Assertion::End),
        'b' | 'B' => Node::Assertion(Assertion::WordBoundary {
            negated: c == 'B',
            ascii,
        }),
        '1'..='9' => return numeric(parser, c, start),
        _ => {
            if let Some(item) = category(c, ascii) {
                Node::Set(CharSet {
                    negated: false,
                    items: vec![item],
                    case: Case::Exact,
                })
            } else {
                Node::Literal {
                    code: code_point(&mut parser.source, c, start)?,
                    case: parser.flags.case(),
                }
            }
        }
    };
    Ok(node)
}

/// Reads the rest of an escape inside a class.
pub(super) fn parse_class_escape(parser: &mut Parser, c: char) -> Result<SetItem, SyntaxError> {
    let start = parser.source.offset() - 2;
    if let Some(item) = category(c, parser.flags.ascii) {
        return Ok(item);
    }
    let code = match c {
        'b' => 0x08,
        '0'..='7' => {
            let digits = format!("{c}{}", parser.source.take_while(2, is_octal));
            octal(&digits, start)?
        }
        _ => code_point(&mut parser.source, c, start)?,
    };
    Ok(SetItem::Range(code, code))
}

fn category(c: char, ascii: bool) -> Option<SetItem> {
    let category = match c.to_ascii_lowercase() {
        'd' => Category::Digit,
        's' => Category::Space,
        'w' => Category::Word,
        _ => return None,
    };
    Some(SetItem::Category {
        category,
        negated: c.is_ascii_uppercase(),
        ascii,
    })
}

/// `\1`: an octal escape if three octal digits follow, else a back-reference.
fn numeric(parser: &mut Parser, first: char, start: usize) -> Result<Node, SyntaxError> {
    let mut digits = String::from(first);
    digits += &parser.source.take_while(1, |c| c.is_ascii_digit());
    if digits.len() == 2 && digits.chars().all(is_octal) {
        let third = parser.source.take_while(1, is_octal);
        if !third.is_empty() {
            digits += &third;
            return Ok(Node::Literal {
                code: octal(&digits, start)?,
                case: parser.flags.case(),
            });
        }
    }
    // At most two decimal digits.
    let group = digits
        .bytes()
        .fold(0, |n, d| n * 10 + usize::from(d - b'0'));
    parser.reference(group, start)?;
    Ok(Node::BackReference {
        group,
        case: parser.flags.case(),
    })
}

/// Escapes that mean one character and are the same inside and outside a class.
fn code_point(source: &mut Source, c: char, start: usize) -> Result<u32, SyntaxError> {
    let code = match c {
        'a' => 0x07,
        'f' => 0x0C,
        'n' => 0x0A,
        'r' => 0x0D,
        't' => 0x09,
        'v' => 0x0B,
        'x' => hex(source, c, 2, start)?,
        'u' => hex(source, c, 4, start)?,
        'U' => hex(source, c, 8, start)?,
        'N' => named(source, start)?,
        '0' => {
            let digits = format!("0{}", source.take_while(2, is_octal));
            octal(&digits, start)?
        }
        c if c.is_ascii_alphanumeric() => {
            return Err(SyntaxError::new(
                start,
                format!(
                    "`\\{c}` has no meaning here; write `\\\\{c}` for a backslash and `{c}`, or \
                     only `{c}`"
                ),
            ));
        }
        c => u32::from(c),
    };
    Ok(code)
}

fn hex(source: &mut Source, c: char, digits: usize, start: usize) -> Result<u32, SyntaxError> {
    let text = source.take_while(digits, |c| c.is_ascii_hexdigit());
    u32::from_str_radix(&text, 16)
        .ok()
        .filter(|&code| text.len() == digits && code <= u32::from(char::MAX))
        .ok_or_else(|| {
            SyntaxError::new(
                start,
                format!(
                    "`\\{c}` needs {digits} hexadecimal digits of a character up to 10ffff, \
                     found `{text}`"
                ),
            )
        })
}

fn octal(digits: &str, start: usize) -> Result<u32, SyntaxError> {
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|&code| code <= 0o377)
        .ok_or_else(|| {
            SyntaxError::new(
                start,
                format!("the octal escape `\\{digits}` is above `\\377`, the largest one"),
            )
        })
}

fn is_octal(c: char) -> bool {
    matches!(c, '0'..='7')
}

/// `\N{EM DASH}`.
fn named(source: &mut Source, start: usize) -> Result<u32, SyntaxError> {
    if !source.take('{') {
        return Err(SyntaxError::new(
            start,
            "`\\N` needs a character name, as in `\\N{EM DASH}`",
        ));
    }
    let name = source.take_until('}', "character name")?;
    unicode_names2::character(&name)
        .filter(|&c| is_python_name(&name, c) && crate::unicode::known_to_python(c))
        .map(u32::from)
        .ok_or_else(|| {
            SyntaxError::new(
                start,
                format!("no character of Unicode 14 is named `{name}`"),
            )
        })
}

/// The crate's lookup also accepts names with different spacing, which Python refuses; both accept formal aliases.
fn is_python_name(name: &str, c: char) -> bool {
    let normal = |text: &str| text.replace([' ', '-', '_'], "").to_ascii_uppercase();
    let official = unicode_names2::name(c).map(|official| official.to_string());
    match official {
        Some(official) if normal(&official) == normal(name) => official.eq_ignore_ascii_case(name),
        _ => true,
    }
}
