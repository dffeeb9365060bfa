//! Positions in texts and files.

use std::fmt;
use std::sync::Arc;

/// A position in a text. Both numbers count from 1; the column counts characters, not bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

/// A file and, if known, the position in it. Displayed as `FILE:LINE:COLUMN` or `FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file as the operator named it.
    pub file: Arc<str>,
    /// The position; `None` means the file as a whole.
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

    /// A place in the file; pass `None` if there is no text, as in an encrypted file.
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

/// The position of the character that begins at byte `at`.
pub fn position_of(text: &str, at: usize) -> Position {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}
