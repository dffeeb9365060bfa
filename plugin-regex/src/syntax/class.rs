//! Character classes: `[...]`.

use super::escape::parse_class_escape;
use super::parser::Parser;
use super::source::Token;
use super::{CharSet, Node, SetItem, SyntaxError};

/// Reads a class whose `[` has been read.
///
/// Nothing nests in it and `&&`, `--`, `~~`, `||` are plain characters, as in Python 3.11.
pub(super) fn parse_class(parser: &mut Parser) -> Result<Node, SyntaxError> {
    let start = parser.source.offset() - 1;
    let negated = parser.source.take('^');
    let mut items = Vec::new();
    loop {
        let item_start = parser.source.offset();
        let token = next(parser, start)?;
        // A `]` in first position is a member.
        if token == Token::Char(']') && !items.is_empty() {
            break;
        }
        let low = item(parser, token)?;
        if !parser.source.take('-') {
            items.push(low);
            continue;
        }
        let token = next(parser, start)?;
        if token == Token::Char(']') {
            items.push(low);
            items.push(SetItem::Range(u32::from('-'), u32::from('-')));
            break;
        }
        match (low, item(parser, token)?) {
            (SetItem::Range(low, _), SetItem::Range(high, _)) if low <= high => {
                items.push(SetItem::Range(low, high));
            }
            _ => {
                return Err(SyntaxError::new(
                    item_start,
                    "a range in `[...]` must run from one character to the same or a later one; \
                     write `\\-` for a literal hyphen",
                ));
            }
        }
    }
    Ok(Node::Set(CharSet {
        negated,
        items,
        case: parser.flags.case(),
    }))
}

fn next(parser: &mut Parser, start: usize) -> Result<Token, SyntaxError> {
    parser.source.next().ok_or_else(|| {
        SyntaxError::new(
            start,
            "the character class that begins here is not closed by `]`; write `\\[` for a literal bracket",
        )
    })
}

fn item(parser: &mut Parser, token: Token) -> Result<SetItem, SyntaxError> {
    match token {
        Token::Char(c) => Ok(SetItem::Range(u32::from(c), u32::from(c))),
        Token::Escape(c) => parse_class_escape(parser, c),
    }
}
