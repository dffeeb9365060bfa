//! Cleans text of plugins, far systems and the dynamic linker before the host shows or keeps it.
//!
//! Such text may be arbitrarily long, and may contain line ends and terminal sequences that could forge lines of the
//! log. All such text passes through [`line()`] when it enters the host; everything that the host writes for people,
//! including names from the acct file, passes through [`message`] last.

use std::borrow::Cow;

/// A longer text of a plugin is truncated.
pub const MAX_BYTES: usize = 16 * 1024;

/// One line of at most `max` bytes without control characters; a note at the end says if it was truncated.
pub fn line(text: &str, max: usize) -> Cow<'_, str> {
    // A text from another process was truncated there, and its note must not be cut off.
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

/// Where a text was truncated, if it was.
pub fn cut_at(text: &str) -> Option<usize> {
    if !text.ends_with(" bytes)") {
        return None;
    }
    text.rfind(" (cut: it has ")
}

/// Room for what is said behind a text that was cut.
const SAID: usize = 64;

/// A text with its unclean characters escaped as in Rust: `\n`, `\u{202e}`. For names, which must stay recognizable,
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

/// Like [`shown`], for at most about `max` bytes of a text; a note at the end says if it was truncated.
pub fn message(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max.saturating_add(SAID) {
        return shown(text);
    }
    let beginning = shown(&text[..text.floor_char_boundary(max)]);
    format!("{beginning} (cut: it has {} bytes)", text.len()).into()
}

/// Whether a character could end a line, control a terminal, reverse text, or be invisible.
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
