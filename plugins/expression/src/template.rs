//! Text with expressions in it: `jobs/${ parts[4] }.log`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::{Expression, Fault, Subject, SyntaxFault};

const START: &str = "${";

/// Whether a text has an expression in it, or the sign for a literal `${`.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains(START)
}

/// Text with expressions in it, compiled. Text without any is a constant, and costs nothing for an event. Clones share
/// what was compiled; two are equal if their texts are.
#[derive(Clone)]
pub struct Template(Arc<Compiled>);

struct Compiled {
    source: String,
    parts: Vec<Part>,
    /// The whole text, if no expression is in it.
    constant: Option<String>,
}

enum Part {
    Text(String),
    Expression(Expression),
}

impl Template {
    /// Compiles a text: `${ EXPRESSION }` is replaced by the expression's value, `$${` stands for `${`.
    ///
    /// # Errors
    ///
    /// An expression has no end, or cannot be compiled; the place is that in the text.
    pub fn compile(source: &str) -> Result<Self, SyntaxFault> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut at = 0;
        while let Some(found) = source[at..].find(START) {
            let start = at + found;
            if source[..start].ends_with('$') && start > at {
                text.push_str(&source[at..start - 1]);
                text.push_str(START);
                at = start + START.len();
                continue;
            }
            text.push_str(&source[at..start]);
            let inner = start + START.len();
            let end = end_of(source, inner).ok_or_else(|| {
                let message =
                    "`${` without a `}` that ends it; write `$${` if `${` is meant literally";
                SyntaxFault::at(source, start, message)
            })?;
            let expression = Expression::compile(&source[inner..end])
                .map_err(|fault| moved(source, inner, fault))?;
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Expression(expression));
            at = end + 1;
        }
        text.push_str(&source[at..]);
        let constant = parts.is_empty().then(|| text.clone());
        if constant.is_none() && !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self(Arc::new(Compiled {
            source: source.to_owned(),
            parts,
            constant,
        })))
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// What it gives for every event, if there is no expression in it.
    pub fn constant(&self) -> Option<&str> {
        self.0.constant.as_deref()
    }

    /// The text before the first expression.
    pub fn prefix(&self) -> &str {
        match (&self.0.constant, self.0.parts.first()) {
            (Some(text), _) | (None, Some(Part::Text(text))) => text,
            _ => "",
        }
    }

    /// What the only expression is, if there is nothing else in it.
    pub fn sole_expression(&self) -> Option<&str> {
        match &self.0.parts[..] {
            [Part::Expression(expression)] => Some(expression.source().trim()),
            _ => None,
        }
    }

    /// What it gives for an event.
    ///
    /// # Errors
    ///
    /// An expression has no value for the event, or one other than text, a number or a boolean, or the text is longer than
    /// [`MAX_TEXT`](crate::MAX_TEXT).
    pub fn text<S: Subject>(&self, subject: &S) -> Result<Cow<'_, str>, Fault> {
        if let Some(constant) = &self.0.constant {
            return Ok(Cow::Borrowed(constant));
        }
        let mut text = String::new();
        for part in &self.0.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Expression(expression) => expression.append_text(subject, &mut text)?,
            }
        }
        Ok(Cow::Owned(text))
    }
}

/// Where the `}` is that ends the expression which begins at a place.
fn end_of(source: &str, start: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            b'"' | b'\'' => {
                at += 1;
                while *bytes.get(at)? != byte {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The place of a fault of an expression, in the text around it.
fn moved(source: &str, offset: usize, fault: SyntaxFault) -> SyntaxFault {
    let start = SyntaxFault::at(source, offset, "");
    SyntaxFault {
        column: if fault.line == 1 {
            start.column + fault.column - 1
        } else {
            fault.column
        },
        line: start.line + fault.line - 1,
        message: fault.message,
    }
}

impl fmt::Debug for Template {
    // It may hold anything that an operator has written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(..)")
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Template {}
