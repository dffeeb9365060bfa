//! The pattern as tokens, and the position of an error in it.

/// A pattern that Python would refuse, or that exceeds this plugin's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Position in the pattern, in characters from 0.
    pub(crate) offset: usize,
    /// What was found and what was expected; without the position.
    pub(crate) message: String,
}

impl SyntaxError {
    pub(super) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
        }
    }
}

/// One character, or a backslash with the character after it.
///
/// Python reads every part of a pattern in these units, comments and group names included, so an
/// escaped `)` does not end a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Char(char),
    Escape(char),
}

impl Token {
    pub(super) fn push_to(self, text: &mut String) {
        match self {
            Self::Char(c) => text.push(c),
            Self::Escape(c) => text.extend(['\\', c]),
        }
    }
}

/// Reads a pattern token by token.
#[derive(Debug)]
pub(super) struct Source {
    chars: Vec<char>,
    next: usize,
}

impl Source {
    /// # Errors
    ///
    /// The pattern ends in a single backslash.
    pub(super) fn new(pattern: &str) -> Result<Self, SyntaxError> {
        let chars: Vec<char> = pattern.chars().collect();
        let trailing = chars.iter().rev().take_while(|&&c| c == '\\').count();
        if trailing % 2 == 1 {
            return Err(SyntaxError {
                offset: chars.len() - 1,
                message:
                    "the pattern ends in a single backslash; write \\\\ for a literal backslash"
                        .to_owned(),
            });
        }
        Ok(Self { chars, next: 0 })
    }

    /// Position of the next token, in characters.
    pub(super) fn offset(&self) -> usize {
        self.next
    }

    /// Goes back to a position returned by [`Self::offset`].
    pub(super) fn seek(&mut self, offset: usize) {
        self.next = offset;
    }

    pub(super) fn peek(&self) -> Option<Token> {
        match *self.chars.get(self.next)? {
            '\\' => self.chars.get(self.next + 1).map(|&c| Token::Escape(c)),
            c => Some(Token::Char(c)),
        }
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.peek()?;
        self.next += match token {
            Token::Char(_) => 1,
            Token::Escape(_) => 2,
        };
        Some(token)
    }

    /// Takes the next token if it is this plain character.
    pub(super) fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(Token::Char(c));
        if found {
            self.next += 1;
        }
        found
    }

    /// Takes up to `most` plain characters for which `accept` is true.
    pub(super) fn take_while(&mut self, most: usize, accept: fn(char) -> bool) -> String {
        let mut taken = String::new();
        while taken.len() < most
            && let Some(Token::Char(c)) = self.peek()
            && accept(c)
        {
            taken.push(c);
            self.next += 1;
        }
        taken
    }

    /// Takes a name up to and including the terminator.
    ///
    /// # Errors
    ///
    /// No terminator, or nothing before it.
    pub(super) fn take_until(
        &mut self,
        terminator: char,
        what: &str,
    ) -> Result<String, SyntaxError> {
        let start = self.offset();
        let mut name = String::new();
        loop {
            match self.next() {
                None => {
                    return Err(SyntaxError::new(
                        start,
                        format!("the {what} that begins here is not closed by `{terminator}`"),
                    ));
                }
                Some(Token::Char(c)) if c == terminator => break,
                Some(token) => token.push_to(&mut name),
            }
        }
        if name.is_empty() {
            return Err(SyntaxError::new(
                start,
                format!("expected a {what} here, found none"),
            ));
        }
        Ok(name)
    }
}
