//! What is wrong in a template, and where.

use evbus_report::foreign_text;

use crate::{Location, Position};

/// The first fault of a template. Displayed as one line: `FILE:LINE:COLUMN: MESSAGE`.
///
/// The message never contains a value, because a value may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {message}")]
pub struct TemplateError {
    location: Location,
    message: String,
}

impl TemplateError {
    pub(crate) fn new(location: Location, message: &str) -> Self {
        Self {
            location,
            // A template's name may contain escape sequences, and a log line must stay one line.
            message: foreign_text::shown(message).into_owned(),
        }
    }

    /// The fault with its place moved.
    #[must_use]
    pub fn moved(mut self, moved: impl Fn(Position) -> Position) -> Self {
        self.location.position = self.location.position.map(moved);
        self
    }

    /// Where the fault is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The message without its location.
    pub fn message(&self) -> &str {
        &self.message
    }
}
