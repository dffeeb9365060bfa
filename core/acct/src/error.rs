//! What is wrong in an acct file, and where.

use evbus_jinja::{Location, Position, TemplateError};
use evbus_report::foreign_text;

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

impl From<TemplateError> for AcctError {
    fn from(error: TemplateError) -> Self {
        Self::new(error.location().clone(), "", error.message())
    }
}
