//! A tree without what changes nothing but trips the engines: groups that only group, pieces that
//! are always empty, and repeated assertions, which `fancy-regex` refuses.

use crate::syntax::{Node, RepeatKind};

/// The same pattern, simpler. Group numbers stay as they are.
pub(crate) fn simplify(node: Node) -> Node {
    let inner = |body: Box<Node>| Box::new(simplify(*body));
    match node {
        Node::Literal { .. }
        | Node::Any { .. }
        | Node::Set(_)
        | Node::Assertion(_)
        | Node::BackReference { .. } => node,
        Node::Group(body) => simplify(*body),
        Node::Capture(body) => Node::Capture(inner(body)),
        Node::Atomic(body) => Node::Atomic(inner(body)),
        Node::Look {
            behind,
            negated,
            body,
        } => Node::Look {
            behind,
            negated,
            body: inner(body),
        },
        Node::Conditional { group, yes, no } => conditional(group, inner(yes), inner(no)),
        Node::Repeat {
            body,
            min,
            max,
            kind,
        } => repeat(inner(body), min, max, kind),
        Node::Sequence(nodes) => sequence(nodes),
        Node::Alternation(branches) => {
            Node::Alternation(branches.into_iter().map(simplify).collect())
        }
    }
}

fn empty() -> Node {
    Node::Sequence(Vec::new())
}

fn is_empty(node: &Node) -> bool {
    matches!(node, Node::Sequence(nodes) if nodes.is_empty())
}

/// Whether it matches no character and always has the same result at the same position.
fn only_asserts(node: &Node) -> bool {
    match node {
        Node::Look { .. } | Node::Assertion(_) => true,
        Node::Atomic(body) => only_asserts(body),
        Node::Sequence(nodes) | Node::Alternation(nodes) => nodes.iter().all(only_asserts),
        _ => false,
    }
}

fn conditional(group: usize, yes: Box<Node>, no: Box<Node>) -> Node {
    if is_empty(&yes) && is_empty(&no) {
        return empty();
    }
    Node::Conditional { group, yes, no }
}

fn sequence(nodes: Vec<Node>) -> Node {
    let mut flat = Vec::with_capacity(nodes.len());
    for node in nodes {
        match simplify(node) {
            Node::Sequence(nodes) => flat.extend(nodes),
            node => flat.push(node),
        }
    }
    if flat.len() == 1 {
        flat.remove(0)
    } else {
        Node::Sequence(flat)
    }
}

fn repeat(body: Box<Node>, min: u32, max: Option<u32>, kind: RepeatKind) -> Node {
    if is_empty(&body) {
        return empty();
    }
    if !only_asserts(&body) || max == Some(0) {
        return Node::Repeat {
            body,
            min,
            max,
            kind,
        };
    }
    // A repetition at the same position has the same result.
    match (min, kind) {
        (1.., _) => *body,
        (0, RepeatKind::Greedy) => Node::Alternation(vec![*body, empty()]),
        (0, RepeatKind::Lazy) => Node::Alternation(vec![empty(), *body]),
        (0, RepeatKind::Possessive) => {
            Node::Atomic(Box::new(Node::Alternation(vec![*body, empty()])))
        }
    }
}
