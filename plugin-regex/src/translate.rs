//! A Python pattern in the engines' syntax.
//!
//! There are two engines. `regex` runs in linear time and knows neither look-around nor
//! back-references; `fancy-regex` knows both and backtracks. A pattern goes to the first if its
//! meaning can be kept there.

use std::fmt::Write as _;

use crate::syntax::{Assertion, Node, RepeatKind};
use crate::unicode::{word_class, write_literal, write_set};

/// Which engine the text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Linear,
    Backtracking,
}

/// The node as a pattern without anchors, which can be embedded anywhere.
pub(crate) fn translate(node: &Node, engine: Engine) -> String {
    let mut out = String::new();
    write(&mut out, node, engine, Place::Branch);
    out
}

/// The context of a piece, which decides whether it needs a group around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Alone between `(`, `|` and `)`, or at the ends.
    Branch,
    /// Between other pieces.
    Sequence,
    /// Before a quantifier.
    Repeated,
}

fn write(out: &mut String, node: &Node, engine: Engine, place: Place) {
    match node {
        Node::Literal { code, case } => write_literal(out, *code, *case),
        Node::Any { newline: true } => out.push_str("(?s:.)"),
        Node::Any { newline: false } => out.push('.'),
        Node::Set(set) => write_set(out, set),
        Node::Assertion(assertion) => out.push_str(&assertion_text(*assertion, engine)),
        Node::Group(body) => write(out, body, engine, place),
        Node::Capture(body) => match engine {
            // Captures are not used.
            Engine::Linear => write(out, body, engine, place),
            Engine::Backtracking => enclose(out, "(", body, engine),
        },
        Node::Atomic(body) => enclose(out, "(?>", body, engine),
        Node::Look {
            behind,
            negated,
            body,
        } => {
            let open = match (behind, negated) {
                (false, false) => "(?=",
                (false, true) => "(?!",
                (true, false) => "(?<=",
                (true, true) => "(?<!",
            };
            enclose(out, open, body, engine);
        }
        Node::BackReference { group, case } => {
            let flag = if *case == crate::syntax::Case::Exact {
                ""
            } else {
                "i"
            };
            // In a group, so that a digit after it is not taken for part of the number. Writing
            // to a String cannot fail.
            let _ = write!(out, r"(?{flag}:\{group})");
        }
        Node::Conditional { group, yes, no } => {
            let _ = write!(out, "(?({group})");
            enclose(out, "(?:", yes, engine);
            out.push('|');
            enclose(out, "(?:", no, engine);
            out.push(')');
        }
        Node::Repeat {
            body,
            min,
            max,
            kind,
        } => write_repeat(out, body, (*min, *max), *kind, engine, place),
        Node::Sequence(nodes) => grouped(out, place == Place::Repeated, |out| {
            for node in nodes {
                write(out, node, engine, Place::Sequence);
            }
        }),
        Node::Alternation(branches) => grouped(out, place > Place::Branch, |out| {
            for (i, branch) in branches.iter().enumerate() {
                if i > 0 {
                    out.push('|');
                }
                // A branch that is itself an alternation may stay open: `|` is associative.
                write(out, branch, engine, Place::Branch);
            }
        }),
    }
}

fn enclose(out: &mut String, open: &str, body: &Node, engine: Engine) {
    out.push_str(open);
    write(out, body, engine, Place::Branch);
    out.push(')');
}

fn grouped(out: &mut String, group: bool, inner: impl FnOnce(&mut String)) {
    if group {
        out.push_str("(?:");
    }
    inner(out);
    if group {
        out.push(')');
    }
}

fn write_repeat(
    out: &mut String,
    body: &Node,
    (min, max): (u32, Option<u32>),
    kind: RepeatKind,
    engine: Engine,
    place: Place,
) {
    if kind == RepeatKind::Possessive {
        out.push_str("(?>");
    }
    grouped(
        out,
        place == Place::Repeated && kind != RepeatKind::Possessive,
        |out| {
            if kind == RepeatKind::Possessive {
                // As in CPython, even a single turn is not tried in another way.
                enclose(out, "(?>", body, engine);
            } else {
                write(out, body, engine, Place::Repeated);
            }
            match (min, max) {
                (0, None) => out.push('*'),
                (1, None) => out.push('+'),
                (0, Some(1)) => out.push('?'),
                (min, None) => _ = write!(out, "{{{min},}}"),
                (min, Some(max)) => _ = write!(out, "{{{min},{max}}}"),
            }
            if kind == RepeatKind::Lazy {
                out.push('?');
            }
        },
    );
    if kind == RepeatKind::Possessive {
        out.push(')');
    }
}

fn assertion_text(assertion: Assertion, engine: Engine) -> String {
    match (assertion, engine) {
        (Assertion::Start, _) => r"\A".to_owned(),
        (Assertion::StartOfLine, _) => "(?m:^)".to_owned(),
        (Assertion::EndOfLine, _) => "(?m:$)".to_owned(),
        // `is_linear` sends a `$` here only if nothing can follow it.
        (Assertion::End, _) | (Assertion::EndOrFinalNewline, Engine::Linear) => r"\z".to_owned(),
        (Assertion::EndOrFinalNewline, Engine::Backtracking) => r"(?=\n?\z)".to_owned(),
        // Neither engine has Python's word characters: the linear one is used only for ASCII names, for which all
        // agree.
        (Assertion::WordBoundary { negated, .. }, Engine::Linear) => {
            if negated { r"(?-u:\B)" } else { r"(?-u:\b)" }.to_owned()
        }
        (Assertion::WordBoundary { negated, ascii }, Engine::Backtracking) => {
            let w = word_class(ascii);
            if negated {
                // Python has no `\B` in an empty text.
                format!(r"(?:(?<={w})(?={w})|(?<!{w})(?!{w})(?!\A\z))")
            } else {
                format!("(?:(?<={w})(?!{w})|(?<!{w})(?={w}))")
            }
        }
    }
}
