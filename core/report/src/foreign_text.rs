//! Text of plugins, far systems and the dynamic linker, before the host shows or keeps it.
//!
//! Such text may be as long as memory, and may hold line ends and terminal sequences, with which it
//! could forge lines of the log. Whatever of it enters the host passes through [`line()`]; what the host writes for
//! people, names of the acct file among it, passes through [`message`] last.

use std::borrow::Cow;

/// A longer text of a plugin is cut.
pub const MAX_BYTES: usize = 16 * 1024;

/// One line of at most `max` bytes without control characters; what is cut is said behind it.
pub fn line(text: &str, max: usize) -> Cow<'_, str> {
    // A text that comes out of another process has been cut there, and says so behind its beginning.
    if text.len() <= max.saturating_add(SAID) {
        return if text.contains(is_unclean) {
            text.replace(is_unclean, " ").into()
        } else {
            text.into()
        };
    }
    let beginning = text[..text.floor_char_boundary(max)].replace(is_unclean, " ");
    format!("{beginning} (cut: it has {} bytes)", text.len()).into()
}

/// Where a text was cut, if it was.
pub fn cut_at(text: &str) -> Option<usize> {
    if !text.ends_with(" bytes)") {
        return None;
    }
    text.rfind(" (cut: it has ")
}

/// Room for what is said behind a text that was cut.
const SAID: usize = 64;

/// A text with its unclean characters as Rust writes them: `\n`, `\u{202e}`. For names, which are to be known again,
/// and for whole messages.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unclean) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unclean(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown.into()
}

/// The same of at most about `max` bytes of a text; what is cut is said behind it.
pub fn message(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max.saturating_add(SAID) {
        return shown(text);
    }
    let beginning = shown(&text[..text.floor_char_boundary(max)]);
    format!("{beginning} (cut: it has {} bytes)", text.len()).into()
}

/// Whether a character could end a line, mean something to a terminal, turn text around, or be there without being
/// seen.
pub fn is_unclean(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_one_line_of_bounded_length() {
        for (text, expected) in [
            ("", ""),
            ("no route to host", "no route to host"),
            ("a\nERROR forged\r\x1b[31m", "a ERROR forged  [31m"),
            ("a\u{2028}b\u{85}c", "a b c"),
            ("a\u{202e}b\u{200b}c\u{2066}d\u{feff}e", "a b c d e"),
        ] {
            assert_eq!(line(text, MAX_BYTES), expected, "{text:?}");
        }
        let long = line(&"\u{e9}\n".repeat(40_000_000), MAX_BYTES).into_owned();
        assert!(long.len() <= MAX_BYTES + SAID, "{}", long.len());
        assert!(long.ends_with("(cut: it has 120000000 bytes)"), "{long}");
        assert!(!long.contains('\n'));
        assert_eq!(line(&long, MAX_BYTES), long, "it is cut once");
    }

    #[test]
    fn what_cannot_be_seen_is_shown_where_a_text_is_shown_as_it_is() {
        for (text, expected) in [
            (
                "caf\u{e9} \u{65e5}\u{672c} C:\\n",
                "caf\u{e9} \u{65e5}\u{672c} C:\\n",
            ),
            ("a\nERROR forged\r\x1b[31m", r"a\nERROR forged\r\u{1b}[31m"),
            ("a\u{202e}b\u{200b}", r"a\u{202e}b\u{200b}"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }
}
