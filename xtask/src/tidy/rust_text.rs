//! Tells the code of a Rust file from its comments and texts.

use std::ops::Range;

/// The parts of a Rust source text. Each is as long as the whole, with blanks instead of the other part and of what is
/// in quotes, so that positions are the same in all.
#[derive(Debug)]
pub(super) struct RustText {
    pub(super) code: String,
    pub(super) comments: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Code,
    Comment,
    Quoted,
}

impl RustText {
    pub(super) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut parts = vec![Part::Code; bytes.len()];
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (part, end) = if rest.starts_with(b"//") {
                (Part::Comment, at + length_to(rest, b"\n"))
            } else if rest.starts_with(b"/*") {
                (Part::Comment, at + block_comment(rest))
            } else if rest[0] == b'"' {
                (Part::Quoted, at + quoted(bytes, at))
            } else if rest[0] == b'\'' {
                (Part::Quoted, at + character(text, at))
            } else {
                (Part::Code, at + 1)
            };
            parts[at..end].fill(part);
            at = end;
        }
        let only = |wanted: Part| {
            text.char_indices()
                .map(|(at, c)| match c {
                    '\n' => c,
                    _ if parts[at] == wanted => c,
                    _ => ' ',
                })
                .collect()
        };
        Self {
            code: only(Part::Code),
            comments: only(Part::Comment),
        }
    }
}

fn length_to(rest: &[u8], end: &[u8]) -> usize {
    rest.windows(end.len())
        .position(|window| window == end)
        .unwrap_or(rest.len())
}

/// Block comments nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of the literal that begins with the quote at `at`. A preceding `r`, with or without hashes, makes it a
/// raw one.
fn quoted(bytes: &[u8], at: usize) -> usize {
    let before = &bytes[..at];
    let hashes = before.iter().rev().take_while(|b| **b == b'#').count();
    let rest = &bytes[at + 1..];
    if before.get(at.wrapping_sub(hashes + 1)) == Some(&b'r') {
        let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
        return (1 + length_to(rest, &end) + end.len()).min(bytes.len() - at);
    }
    let mut escaped = false;
    for (index, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 2,
            _ => {}
        }
    }
    bytes.len() - at
}

/// The length of the character literal at `at`, or 1 if the quote belongs to a lifetime.
fn character(text: &str, at: usize) -> usize {
    let inside: Range<usize> = at + 1..text.len();
    let mut rest = text[inside].char_indices();
    match rest.next() {
        Some((_, '\\')) => {
            // The escaped character may be a quote itself.
            rest.next();
            rest.find(|(_, c)| *c == '\'')
                .map_or(1, |(index, _)| index + 2)
        }
        Some(_) => match rest.next() {
            Some((index, '\'')) => index + 2,
            _ => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: &str, comments: &str) {
        let parts = RustText::of(text);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&parts.code), code, "code of {text}");
        assert_eq!(words(&parts.comments), comments, "comments of {text}");
        assert_eq!(parts.code.lines().count(), text.lines().count());
    }

    #[test]
    fn comments_are_told_from_code() {
        check("a // b\nc", "a c", "// b");
        check("a /* b /* c */ d */ e", "a e", "/* b /* c */ d */");
        check("/// \"a\nb", "b", "/// \"a");
        check("a / b", "a / b", "");
    }

    #[test]
    fn texts_are_neither() {
        check("a(\"b // \\\" c\") d", "a( ) d", "");
        check("a(r\"b\\\") d", "a(r ) d", "");
        check("a(r#\"b \" // c\"#) d", "a(r# ) d", "");
        check("a(br##\"b\"#\"##) d", "a(br## ) d", "");
        check("\"never ends", "", "");
    }

    #[test]
    fn characters_are_told_from_lifetimes() {
        check("a('\"') b // c", "a( ) b", "// c");
        check("a('\\'') b", "a( ) b", "");
        check("a('\\u{2f}') b", "a( ) b", "");
        check("fn a<'b>(c: &'b str) // d", "fn a< b>(c: & b str)", "// d");
        check("a('ä') b", "a( ) b", "");
    }
}
