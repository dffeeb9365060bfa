//! What a parsed pattern requires of an engine.

use crate::syntax::{Assertion, Node, RepeatKind, SetItem};

/// Whether the linear engine can match it exactly.
///
/// `last`: nothing after the node can match a character, so that a `$` in it can only hold at the very end of the
/// name.
pub(crate) fn is_linear(node: &Node, last: bool) -> bool {
    match node {
        Node::Assertion(Assertion::EndOrFinalNewline) => last,
        Node::Literal { .. } | Node::Any { .. } | Node::Set(_) | Node::Assertion(_) => true,
        Node::Group(body) | Node::Capture(body) => is_linear(body, last),
        Node::Atomic(_)
        | Node::Look { .. }
        | Node::BackReference { .. }
        | Node::Conditional { .. } => false,
        Node::Repeat {
            body, max, kind, ..
        } => *kind != RepeatKind::Possessive && is_linear(body, last && matches!(max, Some(0 | 1))),
        Node::Sequence(nodes) => {
            let mut last = last;
            nodes.iter().rev().all(|node| {
                let linear = is_linear(node, last);
                last &= matches!(node, Node::Assertion(_));
                linear
            })
        }
        Node::Alternation(branches) => branches.iter().all(|branch| is_linear(branch, last)),
    }
}

/// Whether `holds` is true of an assertion in it.
pub(crate) fn any_assertion(node: &Node, holds: fn(Assertion) -> bool) -> bool {
    match node {
        Node::Assertion(assertion) => holds(*assertion),
        Node::Literal { .. } | Node::Any { .. } | Node::Set(_) | Node::BackReference { .. } => {
            false
        }
        Node::Group(body)
        | Node::Capture(body)
        | Node::Atomic(body)
        | Node::Look { body, .. }
        | Node::Repeat { body, .. } => any_assertion(body, holds),
        Node::Conditional { yes, no, .. } => any_assertion(yes, holds) || any_assertion(no, holds),
        Node::Sequence(nodes) | Node::Alternation(nodes) => {
            nodes.iter().any(|node| any_assertion(node, holds))
        }
    }
}

/// About how many automaton states it needs when every counted repetition is expanded.
pub(crate) fn weight(node: &Node) -> u64 {
    match node {
        Node::Literal { .. } | Node::Assertion(_) | Node::BackReference { .. } => 1,
        Node::Any { .. } => 10,
        Node::Set(set) => {
            let wide = set.negated
                || set.items.iter().any(|item| match *item {
                    SetItem::Range(_, high) => high > 0x7F,
                    SetItem::Category { ascii, negated, .. } => !ascii || negated,
                });
            if wide { 300 } else { 2 }
        }
        Node::Group(body) | Node::Capture(body) | Node::Atomic(body) | Node::Look { body, .. } => {
            weight(body).saturating_add(1)
        }
        Node::Conditional { yes, no, .. } => weight(yes).saturating_add(weight(no)),
        Node::Repeat { body, min, max, .. } => {
            let times = max.unwrap_or(min.saturating_add(1)).max(1);
            (weight(body).saturating_add(1)).saturating_mul(u64::from(times))
        }
        Node::Sequence(nodes) | Node::Alternation(nodes) => nodes
            .iter()
            .fold(1, |sum: u64, node| sum.saturating_add(weight(node))),
    }
}

/// Splits off the literal text at the beginning of every match.
pub(crate) fn split_prefix(node: Node) -> (String, Node) {
    let nodes = match node {
        Node::Sequence(nodes) => nodes,
        node => vec![node],
    };
    let mut prefix = String::new();
    let mut rest = nodes.into_iter().peekable();
    // A match begins at the start of the name anyway.
    while rest
        .next_if(|node| {
            matches!(
                node,
                Node::Assertion(Assertion::Start | Assertion::StartOfLine)
            )
        })
        .is_some()
    {}
    while let Some(c) = rest.peek().and_then(literal) {
        prefix.push(c);
        rest.next();
    }
    (prefix, Node::Sequence(rest.collect()))
}

fn literal(node: &Node) -> Option<char> {
    match node {
        Node::Literal {
            code,
            case: crate::syntax::Case::Exact,
        } => char::from_u32(*code),
        _ => None,
    }
}

/// Whether it looks back beyond its own beginning.
pub(crate) fn looks_back(node: &Node) -> bool {
    any_assertion(node, |assertion| {
        matches!(
            assertion,
            Assertion::Start | Assertion::StartOfLine | Assertion::WordBoundary { .. }
        )
    })
}
