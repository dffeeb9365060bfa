//! Faults of the text itself, put into words an operator can act on.

use std::ops::Range;

use saphyr_parser::{Marker, ScanError};

use super::Position;

/// A fault without its file: where, and the sentence.
pub(super) type Fault = (Position, String);

const TAB: &str =
    "found a tab character, expected spaces; YAML allows tabs only inside quotes and comments";

/// The parser's columns count from 0, ours from 1.
pub(super) fn position(marker: &Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

/// The first control character that YAML forbids in a text.
pub(super) fn control_character(text: &str) -> Option<Fault> {
    let allowed = ['\t', '\n', '\r', '\u{85}'];
    let (at, found) = text
        .char_indices()
        .find(|(_, c)| c.is_control() && !allowed.contains(c))?;
    let message = format!(
        "found the control character U+{:04X}, expected text; remove it, or write it as an escape in double quotes",
        u32::from(found)
    );
    Some((position_of(text, at), message))
}

/// The position of the character that begins at byte `at`.
pub(super) fn position_of(text: &str, at: usize) -> Position {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

/// A scalar's place in the text, in characters.
pub(super) struct ScalarSpan {
    pub(super) chars: Range<usize>,
    /// Quoted or a block: everything inside is content.
    pub(super) verbatim: bool,
}

/// The first tab that is neither inside a quoted or block scalar nor inside a comment: `PyYAML` refuses
/// such a tab, the parser lets some of them pass. `scalars` are in the order of the text.
pub(super) fn stray_tab(text: &str, scalars: &[ScalarSpan]) -> Option<Position> {
    if !text.contains('\t') {
        return None;
    }
    let mut scalars = scalars.iter().peekable();
    let mut comment = false;
    let mut previous = '\n';
    let mut place = Position { line: 1, column: 0 };
    for (index, c) in text.chars().enumerate() {
        place.column += 1;
        while scalars.next_if(|span| span.chars.end <= index).is_some() {}
        let scalar = scalars.peek().filter(|span| span.chars.contains(&index));
        match c {
            '\n' => {
                comment = false;
                place = Position {
                    line: place.line + 1,
                    column: 0,
                };
            }
            '#' if scalar.is_none() && previous.is_whitespace() => comment = true,
            '\t' if !comment && !scalar.is_some_and(|span| span.verbatim) => return Some(place),
            _ => {}
        }
        previous = c;
    }
    None
}

/// A refusal of the parser, with what usually causes it.
pub(super) fn refusal(text: &str, error: &ScanError) -> Fault {
    let at = position(error.marker());
    let line = text.lines().nth(at.line - 1).unwrap_or_default();
    if let Some(column) = tab_at_fault(line, at.column) {
        return (Position { column, ..at }, TAB.to_owned());
    }
    let info = error.info();
    let message = match first_sign(line, at.column) {
        Some(sign @ '*') if info.contains("unknown anchor") => format!(
            "found `{sign}` at the beginning of a word, which refers to an anchor that does not exist, expected a quoted pattern; write '*' and patterns that begin with it in quotes"
        ),
        Some(sign) => format!(
            "found `{sign}` at the beginning of a word, where it has a meaning of its own, expected a quoted pattern or value; put the word in quotes"
        ),
        None => format!(
            "found text that is not YAML ({info}), expected `key: value` with even indentation; check quotes, colons and indentation here and on the line before"
        ),
    };
    (at, message)
}

/// The sentence for a tab where only spaces may stand.
pub(super) fn tab_fault(at: Position) -> Fault {
    (at, TAB.to_owned())
}

/// The column of a tab in the indentation, or in the blanks up to the refused character.
fn tab_at_fault(line: &str, column: usize) -> Option<usize> {
    let chars: Vec<char> = line.chars().collect();
    let blank = |c: &char| matches!(c, ' ' | '\t');
    let indentation = chars.iter().take_while(|c| blank(c)).count();
    let refused = (column - 1).min(chars.len());
    let word_end = chars[..refused].iter().rposition(|c| !blank(c));
    let blanks = word_end.map_or(0, |index| index + 1)..=refused;
    (0..indentation)
        .chain(blanks)
        .find(|&index| chars.get(index) == Some(&'\t'))
        .map(|index| index + 1)
}

/// The indicator that begins the refused word or the line's key, where quotes are what is missing.
fn first_sign(line: &str, column: usize) -> Option<char> {
    let mut chars = line.chars().skip(column.saturating_sub(2));
    let before = if column > 1 { chars.next() } else { None };
    let refused = chars.next().filter(|c| "*&!%@`".contains(*c));
    // `[ab]*:` is refused right behind the bracket; what lacks quotes begins with the line's key.
    let key = line.trim_start().trim_start_matches("- ").trim_start();
    key.chars()
        .next()
        .filter(|c| "[{".contains(*c) && before.is_some_and(|c| "]}".contains(c)))
        .or(refused)
}
