//! The statement `{% hub.idem.event.put(...) %}`, which Idem documents but Jinja does not have.

use std::sync::LazyLock;

use regex::Regex;

use evbus_jinja::Position;

/// Turns an expression into a statement of Jinja.
const DO: &str = "do ";

/// Comments and raw blocks, which are not changed, and then the statement.
static STATEMENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?s)\{#.*?#\}|\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}|\{%[-+]?\s*(hub)\s*\.",
    )
    // A test of this module compiles the expression.
    .expect("it is a regular expression")
});

/// Where `do` was inserted into a text: positions in the result.
#[derive(Debug, Default)]
pub(super) struct Insertions(Vec<Position>);

impl Insertions {
    /// The position in the original text.
    pub(super) fn original(&self, position: Position) -> Position {
        let before = (self.0.iter())
            .filter(|at| at.line == position.line && at.column < position.column)
            .count();
        Position {
            line: position.line,
            column: position.column - (before * DO.len()).min(position.column - 1),
        }
    }
}

/// Turns each call of the hub that is a statement by itself into a `do` statement.
pub(super) fn with_do(text: &str) -> (String, Insertions) {
    let mut out = String::with_capacity(text.len() + 64);
    let mut insertions = Insertions::default();
    let mut copied = 0;
    for found in STATEMENT.captures_iter(text) {
        if let Some(hub) = found.get(1) {
            out.push_str(&text[copied..hub.start()]);
            copied = hub.start();
            insertions.0.push(end_of(&out));
            out.push_str(DO);
        }
    }
    out.push_str(&text[copied..]);
    (out, insertions)
}

fn end_of(text: &str) -> Position {
    let last = text.rfind('\n').map_or(0, |end| end + 1);
    Position {
        line: text.matches('\n').count() + 1,
        column: text[last..].chars().count() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_alone_becomes_a_statement_and_nothing_else_changes() {
        for (text, expected) in [
            (
                "{%- hub.idem.event.put(1) %}",
                "{%- do hub.idem.event.put(1) %}",
            ),
            ("a\n{%hub .x() -%}b", "a\n{%do hub .x() -%}b"),
            (
                "{% set x = hub.y() %}{{ hub.y() }}",
                "{% set x = hub.y() %}{{ hub.y() }}",
            ),
            ("{# {% hub.x() %} #}", "{# {% hub.x() %} #}"),
            (
                "{% raw %}{% hub.x() %}{% endraw %}",
                "{% raw %}{% hub.x() %}{% endraw %}",
            ),
            ("{% hubs.x() %}", "{% hubs.x() %}"),
        ] {
            assert_eq!(with_do(text).0, expected);
        }
    }

    #[test]
    fn places_are_those_of_the_text_as_it_was() {
        let (text, map) = with_do("x\n  {% hub.a() %}{% hub.b(é) %}");
        let column = text.lines().nth(1).and_then(|line| line.find("hub.b"));
        let found = Position {
            line: 2,
            column: column.expect("it is there") + 1,
        };
        assert_eq!(
            map.original(found),
            Position {
                line: 2,
                column: 19
            }
        );
        let first = Position { line: 1, column: 1 };
        assert_eq!(map.original(first), first);
    }
}
