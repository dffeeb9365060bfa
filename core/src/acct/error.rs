//! Where something stands in an acct file, and what is wrong there.

use std::fmt;
use std::sync::Arc;

use evbus_report::foreign_text;

/// A place in a text. Both numbers count from 1; the column counts characters, not bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

/// A file and, where one is known, the place in it. Prints as `FILE:LINE:COLUMN` or `FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file as the operator named it.
    pub file: Arc<str>,
    /// The place; `None` means the file as a whole.
    pub position: Option<Position>,
}

impl Location {
    /// The file as a whole.
    pub fn whole(file: &Arc<str>) -> Self {
        Self {
            file: Arc::clone(file),
            position: None,
        }
    }

    /// A place in the file; none where what was read has no text, as in an encrypted file.
    pub fn at(file: &Arc<str>, position: impl Into<Option<Position>>) -> Self {
        Self {
            file: Arc::clone(file),
            position: position.into(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match self.position {
            Some(Position { line, column }) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// One fault of an acct file. Prints one sentence:
/// `FILE:LINE:COLUMN: KEY: found X, expected Y; do Z`.
///
/// The message never holds a value a plugin would get, because such a value may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {}{}{message}", key, if key.is_empty() { "" } else { ": " })]
pub struct AcctError {
    location: Location,
    key: String,
    message: String,
}

impl AcctError {
    /// A fault at a place. `key` is the dotted path of the key from the top of the file, empty where
    /// there is none; `message` reads "found X, expected Y; do Z".
    pub fn new(location: Location, key: &str, message: &str) -> Self {
        // A quoted key can hold escape sequences; a terminal must not obey them, and a log line must
        // stay one line.
        let printable = |text: &str| foreign_text::shown(text).into_owned();
        Self {
            location,
            key: printable(key),
            message: printable(message),
        }
    }

    /// The fault with its place moved.
    pub(crate) fn moved(mut self, moved: impl Fn(Position) -> Position) -> Self {
        self.location.position = self.location.position.map(moved);
        self
    }

    /// Where the fault is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The dotted path of the key from the top of the file; empty where there is none.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The sentence without place and key.
    pub fn message(&self) -> &str {
        &self.message
    }
}
