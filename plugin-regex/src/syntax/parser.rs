//! Sequences, alternations and repetitions.

use std::collections::HashMap;

use super::class::parse_class;
use super::escape::parse_escape;
use super::flags::Flags;
use super::group::parse_group;
use super::source::{Source, Token};
use super::width::Width;
use super::{Assertion, Node, RepeatKind, SyntaxError};

/// Longest pattern, in bytes.
const MAX_LENGTH: usize = 64 * 1024;

/// The deepest nesting of groups; limits the recursion of everything that walks a tree.
const MAX_NESTING: usize = 100;

/// Python's `MAXREPEAT`; a count must be below.
const MAX_REPEAT: u64 = 4_294_967_295;

/// Parses a pattern as `CPython` 3.11's `re.compile` would parse it.
///
/// # Errors
///
/// What Python refuses, and patterns longer than 64 KiB or nested deeper than 100 groups.
pub(crate) fn parse(pattern: &str) -> Result<Node, SyntaxError> {
    if pattern.len() > MAX_LENGTH {
        return Err(SyntaxError {
            offset: 0,
            message: format!(
                "the pattern has {} bytes; at most {MAX_LENGTH} are allowed",
                pattern.len()
            ),
        });
    }
    let mut parser = Parser {
        source: Source::new(pattern)?,
        flags: Flags::default(),
        groups: vec![None],
        names: HashMap::new(),
        look_behind_from: None,
        forward_references: Vec::new(),
        nesting: 0,
    };
    let node = parser.alternation()?;
    if parser.source.peek().is_some() {
        return Err(SyntaxError::new(
            parser.source.offset(),
            "this `)` does not close a group; write `\\)` for a literal parenthesis",
        ));
    }
    match parser
        .forward_references
        .iter()
        .find(|(group, _)| *group >= parser.groups.len())
    {
        Some((group, offset)) => Err(SyntaxError::new(
            *offset,
            format!(
                "group {group} does not exist; the pattern has {}",
                parser.groups.len() - 1
            ),
        )),
        None => Ok(node),
    }
}

/// The state of a parse.
pub(super) struct Parser {
    pub(super) source: Source,
    /// In force here.
    pub(super) flags: Flags,
    /// The width of every group by number, `None` while it is open; 0 is the whole pattern.
    pub(super) groups: Vec<Option<Width>>,
    pub(super) names: HashMap<String, usize>,
    /// Inside a look-behind: the number of groups there were before the outermost one.
    pub(super) look_behind_from: Option<usize>,
    /// Groups that conditions refer to by number, with positions: they may open later.
    pub(super) forward_references: Vec<(usize, usize)>,
    nesting: usize,
}

impl Parser {
    /// Reads `a|b|c` up to a `)` or the end.
    pub(super) fn alternation(&mut self) -> Result<Node, SyntaxError> {
        let whole = self.nesting == 0;
        self.enter()?;
        let mut branches = vec![self.sequence(whole)?];
        while self.source.take('|') {
            branches.push(self.sequence(false)?);
        }
        self.nesting -= 1;
        Ok(if branches.len() == 1 {
            branches.remove(0)
        } else {
            Node::Alternation(branches)
        })
    }

    /// Reads one branch of a condition.
    pub(super) fn nested_sequence(&mut self) -> Result<Node, SyntaxError> {
        self.enter()?;
        let node = self.sequence(false)?;
        self.nesting -= 1;
        Ok(node)
    }

    fn enter(&mut self) -> Result<(), SyntaxError> {
        if self.nesting > MAX_NESTING {
            return Err(SyntaxError::new(
                self.source.offset(),
                format!("groups are nested deeper than {MAX_NESTING} here"),
            ));
        }
        self.nesting += 1;
        Ok(())
    }

    /// Reads one branch up to a `|`, a `)` or the end.
    fn sequence(&mut self, may_set_flags: bool) -> Result<Node, SyntaxError> {
        let mut nodes = Vec::new();
        while let Some(token) = self.source.peek() {
            if matches!(token, Token::Char('|' | ')')) {
                break;
            }
            let start = self.source.offset();
            self.source.next();
            let node = match token {
                Token::Char(' ' | '\t' | '\n' | '\r' | '\x0B' | '\x0C') if self.flags.verbose => {
                    continue;
                }
                Token::Char('#') if self.flags.verbose => {
                    while !matches!(self.source.next(), None | Some(Token::Char('\n'))) {}
                    continue;
                }
                Token::Escape(c) => parse_escape(self, c)?,
                Token::Char('[') => parse_class(self)?,
                Token::Char('.') => Node::Any {
                    newline: self.flags.dot_all,
                },
                Token::Char('^') => Node::Assertion(if self.flags.multi_line {
                    Assertion::StartOfLine
                } else {
                    Assertion::Start
                }),
                Token::Char('$') => Node::Assertion(if self.flags.multi_line {
                    Assertion::EndOfLine
                } else {
                    Assertion::EndOrFinalNewline
                }),
                Token::Char('(') => {
                    match parse_group(self, start, may_set_flags && nodes.is_empty())? {
                        Some(node) => node,
                        None => continue,
                    }
                }
                Token::Char(c @ ('*' | '+' | '?' | '{')) => match self.quantifier(c, start)? {
                    Some((min, max)) => self.repeat(nodes.pop(), min, max, start)?,
                    None => self.literal(c),
                },
                Token::Char(c) => self.literal(c),
            };
            nodes.push(node);
        }
        Ok(if nodes.len() == 1 {
            nodes.remove(0)
        } else {
            Node::Sequence(nodes)
        })
    }

    fn literal(&self, c: char) -> Node {
        Node::Literal {
            code: u32::from(c),
            case: self.flags.case(),
        }
    }

    /// Reads a quantifier that begins with `c`; `None` if the `{` is a plain character.
    fn quantifier(
        &mut self,
        c: char,
        start: usize,
    ) -> Result<Option<(u32, Option<u32>)>, SyntaxError> {
        match c {
            '*' => return Ok(Some((0, None))),
            '+' => return Ok(Some((1, None))),
            '?' => return Ok(Some((0, Some(1)))),
            _ => {}
        }
        if self.source.peek() == Some(Token::Char('}')) {
            return Ok(None);
        }
        let after_brace = self.source.offset();
        let is_digit = |c: char| c.is_ascii_digit();
        let low = self.source.take_while(usize::MAX, is_digit);
        let high = if self.source.take(',') {
            self.source.take_while(usize::MAX, is_digit)
        } else {
            low.clone()
        };
        if !self.source.take('}') {
            self.source.seek(after_brace);
            return Ok(None);
        }
        let min = Self::count(&low, start)?.unwrap_or(0);
        let max = Self::count(&high, start)?;
        if max.is_some_and(|max| max < min) {
            return Err(SyntaxError::new(
                start,
                format!("the minimum count {min} is greater than the maximum, {high}"),
            ));
        }
        Ok(Some((min, max)))
    }

    fn count(digits: &str, start: usize) -> Result<Option<u32>, SyntaxError> {
        if digits.is_empty() {
            return Ok(None);
        }
        digits
            .parse()
            .ok()
            .filter(|&count| u64::from(count) < MAX_REPEAT)
            .map(Some)
            .ok_or_else(|| {
                SyntaxError::new(
                    start,
                    format!("the repetition count is {MAX_REPEAT} or more; it must be lower"),
                )
            })
    }

    /// Wraps the node before a quantifier.
    fn repeat(
        &mut self,
        body: Option<Node>,
        min: u32,
        max: Option<u32>,
        start: usize,
    ) -> Result<Node, SyntaxError> {
        let body = match body {
            None | Some(Node::Assertion(_)) => {
                return Err(SyntaxError::new(
                    start,
                    "there is nothing to repeat before this quantifier; write a backslash before it for the literal character",
                ));
            }
            Some(Node::Repeat { .. }) => {
                return Err(SyntaxError::new(
                    start,
                    "a quantifier follows a quantifier; put the repetition into a group, as in \
                     `(?:a*)*`",
                ));
            }
            Some(body) => body,
        };
        if self.flags.template {
            return Err(SyntaxError::new(
                start,
                "repetitions are not allowed with the flag `t`; remove the flag",
            ));
        }
        let kind = if self.source.take('?') {
            RepeatKind::Lazy
        } else if self.source.take('+') {
            RepeatKind::Possessive
        } else {
            RepeatKind::Greedy
        };
        Ok(Node::Repeat {
            body: Box::new(body),
            min,
            max,
            kind,
        })
    }

    /// Checks that a back-reference may refer to this group here.
    pub(super) fn reference(&self, group: usize, offset: usize) -> Result<(), SyntaxError> {
        if group >= self.groups.len() {
            return Err(SyntaxError::new(
                offset,
                format!("group {group} does not exist before this reference to it"),
            ));
        }
        if self.groups[group].is_none() {
            return Err(SyntaxError::new(
                offset,
                format!("group {group} is still open here; refer to it after its `)`"),
            ));
        }
        self.reference_in_look_behind(group, offset)
    }

    /// Checks that a look-behind, if this is in one, may refer to this group.
    pub(super) fn reference_in_look_behind(
        &self,
        group: usize,
        offset: usize,
    ) -> Result<(), SyntaxError> {
        let Some(outside) = self.look_behind_from else {
            return Ok(());
        };
        if group >= outside || self.groups.get(group).copied().flatten().is_none() {
            return Err(SyntaxError::new(
                offset,
                format!(
                    "a look-behind may refer only to groups closed before it, but group {group} is not"
                ),
            ));
        }
        Ok(())
    }
}
