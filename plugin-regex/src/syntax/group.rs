//! Groups: everything that begins with `(`.

use super::flags::{FlagGroup, Flags, is_flag, parse_flags};
use super::parser::Parser;
use super::source::Token;
use super::width::width;
use super::{Node, SyntaxError};

/// Reads a group whose `(`, at `start`, has been read; `None` for a comment or for flags of the
/// whole pattern, which are allowed only if `may_set_flags`.
pub(super) fn parse_group(
    parser: &mut Parser,
    start: usize,
    may_set_flags: bool,
) -> Result<Option<Node>, SyntaxError> {
    if !parser.source.take('?') {
        return capture(parser, start, None).map(Some);
    }
    let node = match parser.source.next() {
        Some(Token::Char('P')) => python_extension(parser, start)?,
        Some(Token::Char(':')) => Node::Group(Box::new(body(parser, start)?)),
        Some(Token::Char('>')) => Node::Atomic(Box::new(body(parser, start)?)),
        Some(Token::Char('#')) => {
            return comment(parser, start).map(|()| None);
        }
        Some(Token::Char('=')) => look_ahead(parser, start, false)?,
        Some(Token::Char('!')) => look_ahead(parser, start, true)?,
        Some(Token::Char('<')) => match parser.source.next() {
            Some(Token::Char('=')) => look_behind(parser, start, false)?,
            Some(Token::Char('!')) => look_behind(parser, start, true)?,
            _ => return Err(unknown(start)),
        },
        Some(Token::Char('(')) => conditional(parser, start)?,
        Some(Token::Char(c)) if c == '-' || is_flag(c) => match parse_flags(parser, c)? {
            FlagGroup::Global if may_set_flags => return Ok(None),
            FlagGroup::Global => {
                return Err(SyntaxError::new(
                    start,
                    "flags of the whole pattern must stand at its start; for a part write \
                     `(?i:...)`",
                ));
            }
            FlagGroup::Scoped(flags) => scoped(parser, start, flags)?,
        },
        _ => return Err(unknown(start)),
    };
    Ok(Some(node))
}

fn unknown(start: usize) -> SyntaxError {
    SyntaxError::new(
        start,
        "this is not a known kind of group; known are `(?:`, `(?P<name>`, `(?P=name)`, `(?=`, \
         `(?!`, `(?<=`, `(?<!`, `(?>`, `(?(1)`, `(?#` and flags",
    )
}

/// Reads what is in a group, and its `)`.
fn body(parser: &mut Parser, start: usize) -> Result<Node, SyntaxError> {
    let body = parser.alternation()?;
    close(parser, start)?;
    Ok(body)
}

fn close(parser: &mut Parser, start: usize) -> Result<(), SyntaxError> {
    if parser.source.take(')') {
        return Ok(());
    }
    Err(SyntaxError::new(
        start,
        "the group that begins here is not closed by `)`; write `\\(` for a literal parenthesis",
    ))
}

fn capture(parser: &mut Parser, start: usize, name: Option<String>) -> Result<Node, SyntaxError> {
    let number = parser.groups.len();
    if let Some(name) = name {
        if let Some(other) = parser.names.get(&name) {
            return Err(SyntaxError::new(
                start,
                format!("the group name `{name}` is already used by group {other}"),
            ));
        }
        parser.names.insert(name, number);
    }
    parser.groups.push(None);
    let body = body(parser, start)?;
    parser.groups[number] = Some(width(&body, &parser.groups));
    Ok(Node::Capture(Box::new(body)))
}

fn scoped(parser: &mut Parser, start: usize, flags: Flags) -> Result<Node, SyntaxError> {
    let outer = std::mem::replace(&mut parser.flags, flags);
    let body = body(parser, start)?;
    parser.flags = outer;
    Ok(Node::Group(Box::new(body)))
}

/// `(?P<name>...)` and `(?P=name)`.
fn python_extension(parser: &mut Parser, start: usize) -> Result<Node, SyntaxError> {
    let offset = parser.source.offset() + 1;
    if parser.source.take('<') {
        let name = parser.source.take_until('>', "group name")?;
        check_name(&name, offset)?;
        return capture(parser, start, Some(name));
    }
    if parser.source.take('=') {
        let name = parser.source.take_until(')', "group name")?;
        check_name(&name, offset)?;
        let group = named_group(parser, &name, offset)?;
        parser.reference(group, offset)?;
        return Ok(Node::BackReference {
            group,
            case: parser.flags.case(),
        });
    }
    Err(unknown(start))
}

fn named_group(parser: &Parser, name: &str, offset: usize) -> Result<usize, SyntaxError> {
    parser
        .names
        .get(name)
        .copied()
        .ok_or_else(|| SyntaxError::new(offset, format!("no earlier group is named `{name}`")))
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c == '_' || unicode_ident::is_xid_start(c))
        && chars.all(unicode_ident::is_xid_continue)
}

fn check_name(name: &str, offset: usize) -> Result<(), SyntaxError> {
    if is_identifier(name) {
        return Ok(());
    }
    Err(SyntaxError::new(
        offset,
        format!(
            "the group name `{name}` must consist of letters, digits and `_`, and must not begin with a digit"
        ),
    ))
}

fn comment(parser: &mut Parser, start: usize) -> Result<(), SyntaxError> {
    loop {
        match parser.source.next() {
            Some(Token::Char(')')) => return Ok(()),
            Some(_) => {}
            None => {
                return Err(SyntaxError::new(
                    start,
                    "the comment that begins here is not closed by `)`",
                ));
            }
        }
    }
}

fn look_ahead(parser: &mut Parser, start: usize, negated: bool) -> Result<Node, SyntaxError> {
    Ok(Node::Look {
        behind: false,
        negated,
        body: Box::new(body(parser, start)?),
    })
}

fn look_behind(parser: &mut Parser, start: usize, negated: bool) -> Result<Node, SyntaxError> {
    let outer = parser.look_behind_from;
    parser.look_behind_from = outer.or(Some(parser.groups.len()));
    let body = body(parser, start)?;
    parser.look_behind_from = outer;
    let width = width(&body, &parser.groups);
    if width.min != width.max {
        return Err(SyntaxError::new(
            start,
            "a look-behind must have a fixed width, but the alternatives or repetitions in this one differ in width",
        ));
    }
    Ok(Node::Look {
        behind: true,
        negated,
        body: Box::new(body),
    })
}

/// `(?(1)yes|no)`.
fn conditional(parser: &mut Parser, start: usize) -> Result<Node, SyntaxError> {
    let offset = parser.source.offset();
    let name = parser.source.take_until(')', "group name or number")?;
    let group = if is_identifier(&name) {
        named_group(parser, &name, offset)?
    } else {
        let group = group_number(&name).filter(|&n| n > 0).ok_or_else(|| {
            SyntaxError::new(
                offset,
                format!("expected a group name or number here, found `{name}`"),
            )
        })?;
        parser.forward_references.push((group, offset));
        group
    };
    parser.reference_in_look_behind(group, offset)?;
    let yes = parser.nested_sequence()?;
    let no = if parser.source.take('|') {
        parser.nested_sequence()?
    } else {
        Node::Sequence(Vec::new())
    };
    if parser.source.peek() == Some(Token::Char('|')) {
        return Err(SyntaxError::new(
            parser.source.offset(),
            "a condition has at most two branches; put alternatives into a group, as in \
             `(?(1)(?:a|b)|c)`",
        ));
    }
    close(parser, start)?;
    Ok(Node::Conditional {
        group,
        yes: Box::new(yes),
        no: Box::new(no),
    })
}

/// What Python's `int()` accepts: white space around it, a sign, single underscores between digits.
fn group_number(text: &str) -> Option<usize> {
    let digits = text.trim();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    digits
        .split('_')
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.replace('_', ""))?
        .parse()
        .ok()
}
