//! Whether the names, filters and tests of an expression exist, so that a slip is found before there is an event.

use std::ops::Range;

use minijinja::ErrorKind;

use crate::engine::ENGINE;
use crate::{NAMES, SyntaxFault};

/// Finds the first name, filter or test that does not exist.
pub(crate) fn check(
    expression: &minijinja::Expression<'static, 'static>,
    source: &str,
) -> Result<(), SyntaxFault> {
    let used = expression.undeclared_variables(false);
    let is_known = |name: &str| NAMES.contains(&name) || ENGINE.globals().any(|(it, _)| it == name);
    for word in words(source) {
        let text = &source[word.range.clone()];
        let message = match word.role {
            Role::Name if used.contains(text) && !is_known(text) => {
                let similar = similar(text)
                    .map_or(String::new(), |known| format!("; did you mean `{known}`?"));
                format!(
                    "unknown name `{text}`, expected one of: {}{similar}",
                    NAMES.join(", ")
                )
            }
            Role::Filter if is_missing(&format!("'' | {text}"), ErrorKind::UnknownFilter) => {
                format!("unknown filter `{text}`; check its spelling")
            }
            Role::Test if is_missing(&format!("'' is {text}"), ErrorKind::UnknownTest) => {
                format!("unknown test `{text}`; check its spelling")
            }
            _ => continue,
        };
        return Err(SyntaxFault::at(source, word.range.start, message));
    }
    Ok(())
}

fn similar(name: &str) -> Option<&'static str> {
    let distance = |known: &&str| strsim::damerau_levenshtein(known, name);
    let nearest = NAMES.into_iter().min_by_key(distance)?;
    (distance(&nearest) <= 2).then_some(nearest)
}

/// Whether the engine does not know what a short expression uses; it has no other way to be asked.
fn is_missing(expression: &str, kind: ErrorKind) -> bool {
    let evaluated = (ENGINE.compile_expression(expression)).and_then(|it| it.eval(()));
    evaluated.is_err_and(|error| error.kind() == kind)
}

#[derive(Debug, PartialEq)]
enum Role {
    Name,
    Filter,
    Test,
    /// An attribute, or the name of an argument.
    Other,
}

struct Word {
    range: Range<usize>,
    role: Role,
}

/// The words of an expression outside of its texts, and what each is.
fn words(source: &str) -> Vec<Word> {
    let bytes = source.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
    let mut words: Vec<Word> = Vec::new();
    // The last sign or word before a word.
    let mut before = "";
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        if byte == b'"' || byte == b'\'' {
            while let Some(&inner) = bytes.get(at) {
                at += if inner == b'\\' { 2 } else { 1 };
                if inner == byte {
                    break;
                }
            }
            before = "\"";
        } else if is_word(byte) {
            while bytes.get(at).is_some_and(|byte| is_word(*byte)) {
                at += 1;
            }
            let text = &source[start..at];
            if !byte.is_ascii_digit() {
                let negated = text == "not" && before == "is";
                let role = match before {
                    "|" => Role::Filter,
                    "is" if !negated => Role::Test,
                    "." => Role::Other,
                    _ => Role::Name,
                };
                words.push(Word {
                    range: start..at,
                    role,
                });
                if negated {
                    continue;
                }
            }
            before = text;
        } else if !byte.is_ascii_whitespace() {
            before = source.get(start..at).unwrap_or_default();
        }
    }
    words
}
