//! Faults of the text itself, put into words an operator can act on.

use libyaml_safer::{Error, Mark};

use evbus_jinja::{Position, position_of};

/// A fault without its file: where, and the sentence.
pub(crate) type Fault = (Position, String);

const TAB: &str =
    "found a tab character in the indentation, expected spaces; indent with spaces only";

/// The sentence for a `:` without a key.
pub(crate) const NO_KEY: &str =
    "missing key before the `:`; write the key, or \"\" for an empty one";

/// The first character that YAML forbids in a text.
pub(crate) fn control_character(text: &str) -> Option<Fault> {
    let allowed = ['\t', '\n', '\r', '\u{85}'];
    let forbidden =
        |c: char| c.is_control() && !allowed.contains(&c) || matches!(c, '\u{fffe}' | '\u{ffff}');
    let (at, found) = text.char_indices().find(|(_, c)| forbidden(*c))?;
    let message = format!(
        "found the control character U+{:04X}, expected text; remove it, or write it as an escape in double quotes",
        u32::from(found)
    );
    Some((position_of(text, at), message))
}

/// A refusal of the parser, with what usually causes it. `place` gives the position of a mark; lines that
/// the sentence names are those that `moved` gives.
///
/// The parser's own words are constants, so that they hold nothing of the text.
pub(crate) fn refusal(
    text: &str,
    error: &Error,
    mut place: impl FnMut(&Mark) -> Position,
    moved: &dyn Fn(Position) -> Position,
) -> Fault {
    let problem = error.problem();
    let context = error.context().unwrap_or_default();
    let start = error.context_mark().map(|mark| place(&mark));
    let found = error.problem_mark().map(|mark| place(&mark));
    let found = found.unwrap_or(Position { line: 1, column: 1 });
    // A quote, an alias or a key is corrected where it begins; its end may be far away.
    let at = match (context, start) {
        (
            "while scanning a quoted scalar"
            | "while scanning an alias"
            | "while scanning a tag"
            | "while scanning a simple key",
            Some(start),
        ) => start,
        _ => found,
    };
    let line = text.split('\n').nth(found.line - 1).unwrap_or_default();
    if line.chars().nth(found.column - 1) == Some('\t') {
        return (found, TAB.to_owned());
    }
    let line = text.split('\n').nth(at.line - 1).unwrap_or_default();
    let message = match first_sign(line, at.column) {
        _ if line.chars().nth(at.column - 1) == Some(':')
            && matches!(
                problem,
                "did not find expected key" | "did not find expected node content"
            ) =>
        {
            NO_KEY.to_owned()
        }
        Some('*') => unknown_alias(),
        _ if context == "while scanning a tag" => {
            let tag: String = line.chars().skip(at.column - 1).collect();
            let is_standard = ["!!", "!<tag:yaml.org,2002:"]
                .iter()
                .any(|start| tag.starts_with(start));
            if is_standard {
                unended_tag()
            } else {
                unknown_tag()
            }
        }
        Some(sign) => format!(
            "found an unquoted `{sign}` at the start of a word, where it has a special meaning; put the pattern or value in quotes"
        ),
        None => {
            let reason = match start {
                None => problem.to_owned(),
                Some(start) if start.line == at.line => format!("{context}, {problem}"),
                Some(start) => format!(
                    "{context} that begins on line {}, {problem}",
                    moved(start).line
                ),
            };
            format!(
                "found text that is not YAML ({reason}), expected `key: value` with consistent indentation; check quotes, colons and indentation here and on the line before"
            )
        }
    };
    (at, message)
}

/// The sentence for a `*` that does not begin an alias, or whose anchor does not exist.
pub(crate) fn unknown_alias() -> String {
    "found an unquoted `*` at the start of a word, which refers to an anchor that does not exist; put '*' and patterns that start with it in quotes".to_owned()
}

/// The sentence for a text that the parser cannot handle.
pub(crate) fn unreadable() -> String {
    "found unreadable text after this place, expected YAML; check quotes, brackets and indentation there".to_owned()
}

/// The sentence for a tag without a meaning; it omits the tag, because a password may begin with `!`.
pub(crate) fn unknown_tag() -> String {
    "found a word that starts with `!`, which is an unknown tag; remove it, or put the word or pattern that contains the `!` in quotes".to_owned()
}

/// The sentence for a standard tag followed by characters that no tag can have.
fn unended_tag() -> String {
    "missing space after a tag; add one, or put the word that starts with `!` in quotes".to_owned()
}

/// The special character that begins the refused word or the line's key, if it needs quotes.
fn first_sign(line: &str, column: usize) -> Option<char> {
    let mut chars = line.chars().skip(column.saturating_sub(2));
    let before = if column > 1 { chars.next() } else { None };
    let refused = chars.next().filter(|c| "*&!%@`".contains(*c));
    // `[ab]*:` is refused after the bracket, but it is the key at the beginning of the line that needs quotes.
    let key = line.trim_start().trim_start_matches("- ").trim_start();
    key.chars()
        .next()
        .filter(|c| "[{".contains(*c) && before.is_some_and(|c| "]}".contains(c)))
        .or(refused)
}
