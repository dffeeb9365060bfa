//! Which words of the engine may be shown: those that are surely its own, because what an operator writes may be a secret.

/// Words and dots: no part of a name can be a secret.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || "._".contains(c))
}

/// The words that the engine itself uses in messages about a template. A sentence with any other word repeats a part
/// of the template, such as a password with braces in it.
const VOCABULARY: [&str; 35] = [
    "after",
    "argument",
    "arguments",
    "assign",
    "be",
    "block",
    "call",
    "cannot",
    "character",
    "comment",
    "data",
    "empty",
    "end",
    "expected",
    "expression",
    "float",
    "function",
    "identifier",
    "in",
    "input",
    "integer",
    "invalid",
    "keyword",
    "large",
    "loop",
    "number",
    "of",
    "or",
    "raw",
    "start",
    "statement",
    "string",
    "template",
    "unexpected",
    "variable",
];

/// The engine's reason in brackets, if it is made of its own words.
pub fn reason(detail: &str) -> String {
    let mut words = detail.split(|c: char| !c.is_alphanumeric() && c != '_');
    if !detail.is_empty() && words.all(|word| word.is_empty() || VOCABULARY.contains(&word)) {
        format!(" ({detail})")
    } else {
        String::new()
    }
}
