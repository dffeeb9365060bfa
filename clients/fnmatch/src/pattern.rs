//! One pattern: its parts, and the match of one name against them.

use crate::class::Class;

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// This character.
    Literal(char),
    /// `?`: any one character.
    AnyChar,
    /// `[...]`: one character of a class.
    Class(Class),
    /// `*`: any run of characters, the empty one too. Never follows another `Star`.
    Star,
}

impl Token {
    /// Whether this token matches the single character `c`. Not called for a `Star`.
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::AnyChar | Self::Star => true,
            Self::Class(class) => class.contains(c),
        }
    }
}

/// A parsed pattern, with the meaning of `CPython`'s `fnmatch.fnmatchcase`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<[Token]>);

impl Pattern {
    /// Parses `text`. Every text is a pattern: what does not form a class is literal.
    pub fn parse(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let last_close = chars.iter().rposition(|&c| c == ']');
        let mut tokens = Vec::with_capacity(chars.len());
        let mut at = 0;
        while let Some(&c) = chars.get(at) {
            at += 1;
            match c {
                '*' if tokens.last() == Some(&Token::Star) => {}
                '*' => tokens.push(Token::Star),
                '?' => tokens.push(Token::AnyChar),
                '[' => match class_body(&chars, at, last_close) {
                    Some(body) => {
                        at += body.len() + 1;
                        tokens.push(Token::Class(Class::parse(body)));
                    }
                    None => tokens.push(Token::Literal('[')),
                },
                _ => tokens.push(Token::Literal(c)),
            }
        }
        Self(tokens.into_boxed_slice())
    }

    /// The parts, in order.
    pub fn tokens(&self) -> &[Token] {
        &self.0
    }

    /// Whether the whole of `name` matches.
    ///
    /// Only the last `*` met ever needs to be tried again, because an earlier one that took less
    /// already led here. So the time is at most the product of the two lengths, and nothing is
    /// allocated.
    pub fn is_match(&self, name: &str) -> bool {
        let mut rest = name.chars();
        let mut at = 0;
        let mut last_star = None;
        loop {
            let before = rest.clone();
            match self.0.get(at) {
                Some(Token::Star) => {
                    at += 1;
                    if at == self.0.len() {
                        return true;
                    }
                    last_star = Some((at, before));
                    continue;
                }
                Some(token) => match rest.next() {
                    Some(c) if token.takes(c) => {
                        at += 1;
                        continue;
                    }
                    Some(_) => {}
                    // A longer `*` would leave even less for this token.
                    None => return false,
                },
                None if rest.as_str().is_empty() => return true,
                None => {}
            }
            let Some((after_star, star_end)) = &mut last_star else {
                return false;
            };
            star_end.next();
            at = *after_star;
            rest = star_end.clone();
        }
    }
}

/// The text between a `[` that ends before `start` and its `]`, or `None` if it is not closed.
///
/// A `]` that comes first, or right after `!`, belongs to the class. With the position of the pattern's last `]`, an
/// unclosed `[` costs nothing, however many there are.
fn class_body(chars: &[char], start: usize, last_close: Option<usize>) -> Option<&[char]> {
    let mut from = start;
    for skipped in ['!', ']'] {
        if chars.get(from) == Some(&skipped) {
            from += 1;
        }
    }
    if last_close? < from {
        return None;
    }
    let length = chars[from..].iter().position(|&c| c == ']')?;
    Some(&chars[start..from + length])
}
