//! How many characters a part of a pattern matches: Python allows only look-behind of a fixed width.

use super::Node;

/// Python's `MAXWIDTH`: stands for "without bound".
const MAX: u128 = 1 << 64;

/// Fewest and most characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width {
    pub(super) min: u128,
    pub(super) max: u128,
}

impl Width {
    const NONE: Self = Self { min: 0, max: 0 };
    const ONE: Self = Self { min: 1, max: 1 };

    fn either(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    fn then(self, other: Self) -> Self {
        Self {
            min: (self.min + other.min).min(MAX),
            max: (self.max + other.max).min(MAX),
        }
    }
}

/// The width of a node; `groups` holds the widths of the closed groups by number.
pub(super) fn width(node: &Node, groups: &[Option<Width>]) -> Width {
    match node {
        Node::Literal { .. } | Node::Any { .. } | Node::Set(_) => Width::ONE,
        Node::Assertion(_) | Node::Look { .. } => Width::NONE,
        Node::Capture(body) | Node::Group(body) | Node::Atomic(body) => width(body, groups),
        // The parser accepts a reference only after its group is closed.
        Node::BackReference { group, .. } => {
            groups.get(*group).copied().flatten().unwrap_or(Width::NONE)
        }
        Node::Conditional { yes, no, .. } => width(yes, groups).either(width(no, groups)),
        Node::Repeat { body, min, max, .. } => {
            let body = width(body, groups);
            Width {
                min: (body.min * u128::from(*min)).min(MAX),
                max: match max {
                    None if body.max > 0 => MAX,
                    None => 0,
                    Some(max) => (body.max * u128::from(*max)).min(MAX),
                },
            }
        }
        Node::Sequence(nodes) => nodes
            .iter()
            .fold(Width::NONE, |sum, node| sum.then(width(node, groups))),
        Node::Alternation(nodes) => nodes
            .iter()
            .map(|node| width(node, groups))
            .reduce(Width::either)
            .unwrap_or(Width::NONE),
    }
}
