//! Text in the different notations of YAML.

use std::fmt::Write as _;

use crate::random::Random;

/// `text` in one of its spellings in YAML. `is_flow`: between braces or brackets.
pub(crate) fn yaml(text: &str, is_flow: bool, random: &mut Random) -> String {
    match random.below(3) {
        0 if is_plain(text, is_flow) => text.to_owned(),
        1 if is_printable(text) => format!("'{}'", text.replace('\'', "''")),
        _ => double_quoted(text),
    }
}

/// Whether the text needs no quotes.
fn is_plain(text: &str, is_flow: bool) -> bool {
    let special = if is_flow { "[]{}," } else { "" };
    let other_type = ["yes", "no", "on", "off", "true", "false", "null"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && is_printable(text)
        && !text.contains([' ', ':', '#'])
        && !text.contains(|c| special.contains(c))
        && !other_type.contains(&text.to_ascii_lowercase().as_str())
}

/// Whether the text needs no escapes.
fn is_printable(text: &str) -> bool {
    // Unlike the host, pop-evbus does not render its files as Jinja templates.
    let is_template = ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark));
    !is_template && !text.contains(needs_escape)
}

fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn double_quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if needs_escape(c) || c == '{' => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
