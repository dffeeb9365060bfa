//! What is wrong with an expression, or with an event that it is evaluated for.

use std::error::Error as _;
use std::fmt;

use minijinja::{Error, ErrorKind};

use crate::words::{is_name, reason};
use crate::{MAX_STEPS, NAMES};

/// An expression or a template that cannot be compiled. Displayed as `line L, column C: MESSAGE`.
///
/// The message has names and words of the engine, and no text of the operator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxFault {
    /// The line of the text, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there, and what to do.
    pub message: String,
}

impl SyntaxFault {
    /// The fault at a place of a text.
    pub(crate) fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }

    pub(crate) fn of(error: &Error, text: &str) -> Self {
        let offset = error.range().map_or(0, |range| range.start);
        let detail = error.detail().unwrap_or_default();
        let message = format!(
            "found text that is not a Jinja expression{}; expected one such as `tags.type` or `profile | topic`",
            reason(detail)
        );
        Self::at(text, offset, message)
    }
}

impl fmt::Display for SyntaxFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
        } = self;
        write!(f, "line {line}, column {column}: {message}")
    }
}

impl std::error::Error for SyntaxFault {}

/// Why an expression has no value for an event, in one line. It has names, types and numbers, and no value of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(String);

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(crate) fn of(error: &Error, source: &str) -> Self {
        let mut innermost = error;
        while let Some(cause) = innermost.source() {
            if let Some(ours) = cause.downcast_ref::<Ours>() {
                return Self::new(ours.0.clone());
            }
            match cause.downcast_ref() {
                Some(cause) => innermost = cause,
                None => break,
            }
        }
        let range = innermost.range().and_then(|range| source.get(range));
        // The engine gives `.b.c` for the part of `a.b.c` that an undefined `a.b` ends, and the filter of `a.b | f`.
        let is_ours = |name: &&str| NAMES.contains(&name.split('.').next().unwrap_or_default());
        let named = range.filter(|name| is_name(name)).filter(is_ours);
        let within = named.map_or(String::new(), |name| format!(" in `{name}`"));
        Self::new(match innermost.kind() {
            ErrorKind::OutOfFuel => format!(
                "step limit exceeded: more than {MAX_STEPS} steps, or 64 bytes of data for each"
            ),
            ErrorKind::UndefinedError => match named {
                Some(name) => format!(
                    "undefined name `{name}`; use the filter `default`, or the test `is defined`"
                ),
                None => {
                    "undefined value; use the filter `default`, or the test `is defined`".to_owned()
                }
            },
            ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod => {
                format!(
                    "found a filter, test, function or method that does not exist{within}; check its spelling"
                )
            }
            kind => format!(
                "it cannot be evaluated ({kind}){within}; check types and arguments, and that every name has a value"
            ),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// A message of this crate within an error of the engine.
#[derive(Debug)]
struct Ours(String);

impl fmt::Display for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Ours {}

/// An error with a message that contains no value.
pub(crate) fn ours(message: impl Into<String>) -> Error {
    Error::from(ErrorKind::InvalidOperation).with_source(Ours(message.into()))
}
