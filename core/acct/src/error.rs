//! What is wrong in an acct file, and where.

use evbus_jinja::{Location, Position, TemplateError};
use evbus_report::foreign_text;

/// One fault of an acct file. Displayed as one line: `FILE:LINE:COLUMN: KEY: MESSAGE`.
///
/// The message never contains a value of the file, because such a value may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {}{}{message}", key, if key.is_empty() { "" } else { ": " })]
pub struct AcctError {
    location: Location,
    key: String,
    message: String,
}

impl AcctError {
    /// A fault at a location. `key` is the dotted path of the key from the top of the file, or empty;
    /// `message` says what is wrong and what to do.
    pub fn new(location: Location, key: &str, message: &str) -> Self {
        // A quoted key may contain escape sequences. A terminal must not obey them, and a log line must stay one line.
        let printable = |text: &str| foreign_text::shown(text).into_owned();
        Self {
            location,
            key: printable(key),
            message: printable(message),
        }
    }

    /// The fault with its position translated.
    pub(crate) fn moved(mut self, moved: impl Fn(Position) -> Position) -> Self {
        self.location.position = self.location.position.map(moved);
        self
    }

    /// Puts faults of one file into the order of the file; those of the whole file come first.
    pub fn sort(faults: &mut [Self]) {
        let place = |fault: &Self| fault.location.position.map(|at| (at.line, at.column));
        faults.sort_by_key(place);
    }

    /// Where the fault is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The dotted path of the key from the top of the file; empty if the fault concerns no key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The message without location and key.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<TemplateError> for AcctError {
    fn from(error: TemplateError) -> Self {
        Self::new(error.location().clone(), "", error.message())
    }
}
