//! A compiled expression.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use minijinja::value::{Value, ValueKind};

use crate::engine::ENGINE;
use crate::names::Names;
use crate::{Fault, Subject, SyntaxFault, json, spelling, text};

/// The longest expression, in bytes.
const MAX_SOURCE: usize = 8 * 1024;
/// The engine compiles what is nested, and long sums are, by calling itself. No expression of that length needs more.
const STACK: usize = 64 * 1024 * 1024;

/// A Jinja expression, compiled: `tags.env == "prod"`. Clones share what was compiled; two are equal if their texts are.
#[derive(Clone)]
pub struct Expression(Arc<Compiled>);

struct Compiled {
    source: String,
    code: minijinja::Expression<'static, 'static>,
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// It is not an expression, or has a name, filter or test that does not exist.
    pub fn compile(source: &str) -> Result<Self, SyntaxFault> {
        if source.len() > MAX_SOURCE {
            let message = format!("the expression is longer than {MAX_SOURCE} bytes; shorten it");
            return Err(SyntaxFault::at(source, 0, message));
        }
        let compile = || {
            let code = (ENGINE.compile_expression_owned(source.to_owned()))
                .map_err(|error| SyntaxFault::of(&error, source))?;
            spelling::check(&code, source)?;
            Ok(code)
        };
        let compiled = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let thread = thread.spawn_scoped(scope, compile).ok()?;
            thread.join().ok()
        });
        let unfit = || SyntaxFault::at(source, 0, "the engine of expressions cannot compile it");
        Ok(Self(Arc::new(Compiled {
            source: source.to_owned(),
            code: compiled.unwrap_or_else(|| Err(unfit()))?,
        })))
    }

    /// The text that it was compiled from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether it is true of an event, as Python sees truth.
    ///
    /// # Errors
    ///
    /// It has no value for the event.
    pub fn is_true<S: Subject>(&self, subject: &S) -> Result<bool, Fault> {
        self.value(subject, |value| Ok(value.is_true()))
    }

    /// Its value for an event, as text. A text is as it is, a number or a boolean as JSON has it.
    ///
    /// # Errors
    ///
    /// It has no value for the event, or one other than text, a number or a boolean, or too long a text.
    pub fn text<S: Subject>(&self, subject: &S) -> Result<String, Fault> {
        let mut text = String::new();
        self.append_text(subject, &mut text)?;
        Ok(text)
    }

    /// Its value for an event, as JSON. Keys of other kinds become texts as in Python's `json`.
    ///
    /// # Errors
    ///
    /// It has no value for the event, or one that JSON cannot represent, or one of more than [`MAX_JSON`](crate::MAX_JSON)
    /// bytes.
    pub fn json<S: Subject>(&self, subject: &S) -> Result<String, Fault> {
        self.value(subject, json::written)
    }

    pub(crate) fn append_text<S: Subject>(
        &self,
        subject: &S,
        text: &mut String,
    ) -> Result<(), Fault> {
        self.value(subject, |value| text::append(value, text))
    }

    /// Evaluates it for an event and makes something of its value, which may be evaluated only then.
    fn value<S: Subject, T>(
        &self,
        subject: &S,
        make: impl FnOnce(&Value) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let names = Arc::new(Names::new(subject.clone()));
        let root = Value::from_dyn_object(Arc::clone(&names));
        let evaluate = || {
            let value = (self.0.code.eval(root).and_then(valid))
                .map_err(|error| Fault::of(&error, self.source()))?;
            if value.is_undefined() {
                return Err(self.undefined());
            }
            make(&value)
        };
        // Whoever asks has the event in his hands, and must not lose it by a fault of the engine.
        let evaluated = catch_unwind(AssertUnwindSafe(evaluate));
        if let Some(why) = names.unread() {
            return Err(Fault::new(why));
        }
        evaluated.unwrap_or_else(|_| Err(Fault::new("the engine of expressions panicked")))
    }

    fn undefined(&self) -> Fault {
        let source = self.source().trim();
        let name = if crate::words::is_name(source) {
            format!("undefined name `{source}`")
        } else {
            "undefined value".to_owned()
        };
        Fault::new(format!(
            "{name}; use the filter `default`, or the test `is defined`"
        ))
    }
}

/// The engine looks at what it uses; this may be the result.
pub(crate) fn valid(value: Value) -> Result<Value, minijinja::Error> {
    if value.kind() != ValueKind::Invalid {
        return Ok(value);
    }
    let mut items = Value::from(vec![value]).try_iter()?.checked();
    items.next().unwrap_or(Ok(Value::UNDEFINED))
}

impl fmt::Debug for Expression {
    // It may hold anything that an operator has written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expression(..)")
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Expression {}
